// The identity that the application signs in with.

param name string
param location string
param kubernetesIssuerUrl string
param kubernetesNamespace string
param kubernetesServiceAccount string

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
}

// Lets the pods of this service account, and no others, sign in as the identity.
resource pods 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = if (kubernetesIssuerUrl != '') {
  parent: identity
  name: 'kubernetes'
  properties: {
    issuer: kubernetesIssuerUrl
    subject: 'system:serviceaccount:${kubernetesNamespace}:${kubernetesServiceAccount}'
    audiences: [
      'api://AzureADTokenExchange'
    ]
  }
}

output resourceId string = identity.id
output clientId string = identity.properties.clientId
output principalId string = identity.properties.principalId

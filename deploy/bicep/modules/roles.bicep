// Who may do what with the event hub, and with nothing else in the namespace.

param namespaceName string
param eventHubName string
param senderPrincipalId string
param receiverPrincipalId string

// Azure Event Hubs Data Sender
var sender = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '2b629674-e913-4c01-ae53-ef4638d8f975')
// Azure Event Hubs Data Receiver
var receiver = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'a638d3c7-ab3a-418d-83e6-5f17a39d4fde')

resource namespace 'Microsoft.EventHub/namespaces@2026-01-01' existing = {
  name: namespaceName
}

resource eventHub 'Microsoft.EventHub/namespaces/eventhubs@2026-01-01' existing = {
  parent: namespace
  name: eventHubName
}

resource applicationSends 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: eventHub
  name: guid(eventHub.id, senderPrincipalId, sender)
  properties: {
    roleDefinitionId: sender
    principalId: senderPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource clusterReceives 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: eventHub
  name: guid(eventHub.id, receiverPrincipalId, receiver)
  properties: {
    roleDefinitionId: receiver
    principalId: receiverPrincipalId
    principalType: 'ServicePrincipal'
  }
}

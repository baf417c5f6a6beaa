// Namespace, event hub, and the consumer group of the data connection.

param namespaceName string
param location string
param disableLocalAuth bool
param eventHubName string
param partitionCount int
param retentionHours int
param throughputUnits int
param maximumThroughputUnits int
param logAnalyticsWorkspaceId string

resource namespace 'Microsoft.EventHub/namespaces@2026-01-01' = {
  name: namespaceName
  location: location
  sku: {
    name: 'Standard'
    tier: 'Standard'
    capacity: throughputUnits
  }
  properties: {
    disableLocalAuth: disableLocalAuth
    isAutoInflateEnabled: maximumThroughputUnits > throughputUnits
    maximumThroughputUnits: maximumThroughputUnits > throughputUnits ? maximumThroughputUnits : 0
    minimumTlsVersion: '1.2'
  }
}

resource eventHub 'Microsoft.EventHub/namespaces/eventhubs@2026-01-01' = {
  parent: namespace
  name: eventHubName
  properties: {
    partitionCount: partitionCount
    retentionDescription: {
      cleanupPolicy: 'Delete'
      retentionTimeInHours: retentionHours
    }
  }
}

// Of the data connection alone: two readers in one group would each see a part.
resource consumerGroup 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2026-01-01' = {
  parent: eventHub
  name: 'data-explorer'
  properties: {}
}

// For an application that cannot sign in with an identity.
resource sendRule 'Microsoft.EventHub/namespaces/eventhubs/authorizationRules@2026-01-01' = if (!disableLocalAuth) {
  parent: eventHub
  name: 'application'
  properties: {
    rights: [
      'Send'
    ]
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (logAnalyticsWorkspaceId != '') {
  scope: namespace
  name: 'log-analytics'
  properties: {
    workspaceId: logAnalyticsWorkspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output namespaceName string = namespace.name
output namespaceHost string = split(replace(namespace.properties.serviceBusEndpoint, 'https://', ''), ':')[0]
output eventHubName string = eventHub.name
output eventHubId string = eventHub.id
output consumerGroupName string = consumerGroup.name

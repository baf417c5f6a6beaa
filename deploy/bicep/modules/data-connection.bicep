// The way from the event hub into the table.

param clusterName string
param databaseName string
param location string
param eventHubId string
param consumerGroupName string

@allowed([
  'GZip'
  'None'
])
param compression string

resource cluster 'Microsoft.Kusto/clusters@2025-02-14' existing = {
  name: clusterName
}

resource database 'Microsoft.Kusto/clusters/databases@2025-02-14' existing = {
  parent: cluster
  name: databaseName
}

// No system properties of the event hub: with GZip the cluster would refuse each event.
// JSON is one record a line; MULTIJSON would discard a whole event for one malformed record.
resource connection 'Microsoft.Kusto/clusters/databases/dataConnections@2025-02-14' = {
  parent: database
  name: 'application-logs'
  location: location
  kind: 'EventHub'
  properties: {
    eventHubResourceId: eventHubId
    consumerGroup: consumerGroupName
    tableName: 'PipelineLogs'
    mappingRuleName: 'PipelineLogsMapping'
    dataFormat: 'JSON'
    compression: compression
    databaseRouting: 'Single'
    managedIdentityResourceId: cluster.id
  }
}

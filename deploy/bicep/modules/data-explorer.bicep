// Cluster, database, the scripts of observability/adx, and who may read.

param clusterName string
param location string
param clusterSku string
param clusterInstances int
param databaseName string
param logReaders array
param ingestionOperators array
param logAnalyticsWorkspaceId string

// A script may only create, alter and add. What follows the mark clears a cache that lasts five minutes.
var table = split(loadTextContent('../../../observability/adx/table.kql'), '// Streaming ingestion caches')[0]
var policies = loadTextContent('../../../observability/adx/policies.kql')
var functions = loadTextContent('../../../observability/adx/functions.kql')

resource cluster 'Microsoft.Kusto/clusters@2025-02-14' = {
  name: clusterName
  location: location
  sku: {
    name: clusterSku
    tier: startsWith(clusterSku, 'Dev') ? 'Basic' : 'Standard'
    capacity: clusterInstances
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    enableStreamingIngest: true
    enableDiskEncryption: true
    // A cluster that stops by itself reports nothing, not even that it stopped.
    enableAutoStop: false
  }
}

resource database 'Microsoft.Kusto/clusters/databases@2025-02-14' = {
  parent: cluster
  name: databaseName
  location: location
  kind: 'ReadWrite'
  // The table has policies of its own, in policies.kql; these are for what else is created here.
  properties: {
    softDeletePeriod: 'P30D'
    hotCachePeriod: 'P7D'
  }
}

// The cluster refuses two changes at the same time as a conflict, so from here on one follows the other.
resource tableScript 'Microsoft.Kusto/clusters/databases/scripts@2025-02-14' = {
  parent: database
  name: 'table'
  properties: {
    scriptContent: table
    continueOnErrors: false
  }
}

resource policiesScript 'Microsoft.Kusto/clusters/databases/scripts@2025-02-14' = {
  parent: database
  name: 'policies'
  properties: {
    scriptContent: policies
    continueOnErrors: false
  }
  dependsOn: [
    tableScript
  ]
}

resource functionsScript 'Microsoft.Kusto/clusters/databases/scripts@2025-02-14' = {
  parent: database
  name: 'functions'
  properties: {
    scriptContent: functions
    continueOnErrors: false
  }
  dependsOn: [
    policiesScript
  ]
}

// Lets the data connection sign in with the identity of the cluster.
resource identityScript 'Microsoft.Kusto/clusters/databases/scripts@2025-02-14' = {
  parent: database
  name: 'identity'
  properties: {
    scriptContent: '.alter-merge database [\'${databaseName}\'] policy managed_identity "[{\\"ObjectId\\": \\"system\\", \\"AllowedUsages\\": \\"DataConnection\\"}]"'
    continueOnErrors: false
  }
  dependsOn: [
    functionsScript
  ]
}

@batchSize(1)
resource readers 'Microsoft.Kusto/clusters/databases/principalAssignments@2025-02-14' = [for reader in logReaders: {
  parent: database
  name: guid(database.id, reader.objectId, 'Viewer')
  properties: {
    principalId: reader.objectId
    principalType: reader.type
    role: 'Viewer'
    tenantId: tenant().tenantId
  }
  dependsOn: [
    identityScript
  ]
}]

@batchSize(1)
resource operators 'Microsoft.Kusto/clusters/databases/principalAssignments@2025-02-14' = [for operator in ingestionOperators: {
  parent: database
  name: guid(database.id, operator.objectId, 'Monitor')
  properties: {
    principalId: operator.objectId
    principalType: operator.type
    role: 'Monitor'
    tenantId: tenant().tenantId
  }
  dependsOn: [
    readers
  ]
}]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (logAnalyticsWorkspaceId != '') {
  scope: cluster
  name: 'log-analytics'
  properties: {
    workspaceId: logAnalyticsWorkspaceId
    // Not SucceededIngestion: a row for each batch.
    logs: [
      {
        category: 'FailedIngestion'
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

output clusterName string = cluster.name
output clusterUri string = cluster.properties.uri
output clusterPrincipalId string = cluster.identity.principalId
output databaseName string = database.name

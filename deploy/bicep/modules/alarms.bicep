// Alarms of Azure Monitor over the table: each query of observability/adx/alarms is a rule, and each service an
// alert of its own. docs/alarms.md says what to do about each.

param namePrefix string
param location string
param clusterName string
param clusterUri string
param databaseName string
param logAnalyticsWorkspaceId string
param actionGroupIds array

var rules = [
  {
    name: 'HublogCircuitOpen'
    severity: 1
    query: loadTextContent('../../../observability/adx/alarms/HublogCircuitOpen.kql')
  }
  {
    name: 'HublogRecordsDropped'
    severity: 1
    query: loadTextContent('../../../observability/adx/alarms/HublogRecordsDropped.kql')
  }
  {
    name: 'HublogSilent'
    severity: 1
    query: loadTextContent('../../../observability/adx/alarms/HublogSilent.kql')
  }
  {
    name: 'HublogDeliveryLag'
    severity: 2
    query: loadTextContent('../../../observability/adx/alarms/HublogDeliveryLag.kql')
  }
  {
    name: 'HublogQueueNearlyFull'
    severity: 2
    query: loadTextContent('../../../observability/adx/alarms/HublogQueueNearlyFull.kql')
  }
  {
    name: 'HublogRecordsOld'
    severity: 2
    query: loadTextContent('../../../observability/adx/alarms/HublogRecordsOld.kql')
  }
  {
    name: 'HublogSpoolNearlyFull'
    severity: 2
    query: loadTextContent('../../../observability/adx/alarms/HublogSpoolNearlyFull.kql')
  }
]

resource cluster 'Microsoft.Kusto/clusters@2025-02-14' existing = {
  name: clusterName
}

resource database 'Microsoft.Kusto/clusters/databases@2025-02-14' existing = {
  parent: cluster
  name: databaseName
}

// The rules query the cluster from the workspace, and sign in as this identity.
resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${namePrefix}-alarms'
  location: location
}

resource reader 'Microsoft.Kusto/clusters/databases/principalAssignments@2025-02-14' = {
  parent: database
  name: guid(database.id, identity.id, 'Viewer')
  properties: {
    principalId: identity.properties.clientId
    principalType: 'App'
    role: 'Viewer'
    tenantId: tenant().tenantId
  }
}

resource alarms 'Microsoft.Insights/scheduledQueryRules@2022-08-01-preview' = [for rule in rules: {
  name: '${namePrefix}-${rule.name}'
  location: location
  kind: 'LogAlert'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    displayName: rule.name
    description: 'What to do: docs/alarms.md of hublog.'
    severity: rule.severity
    enabled: true
    scopes: [
      logAnalyticsWorkspaceId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT1H'
    criteria: {
      allOf: [
        {
          // Of the table in the cluster; the rest of the query is that of the file.
          query: 'let PipelineLogs = adx(\'${clusterUri}/${databaseName}\').PipelineLogs;\n${rule.query}'
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          dimensions: [
            {
              name: 'service_name'
              operator: 'Include'
              values: [
                '*'
              ]
            }
          ]
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: actionGroupIds
    }
    autoMitigate: true
    // The right to read takes minutes to apply; until then a validation would fail.
    skipQueryValidation: true
  }
  dependsOn: [
    reader
  ]
}]

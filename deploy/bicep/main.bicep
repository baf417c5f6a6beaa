// From the application's logs to the table `PipelineLogs`: event hub, cluster, table, data connection, identity
// and roles. Deploys into a resource group; docs/deploy.md has the commands.
targetScope = 'resourceGroup'

@description('Begins the name of every resource: lower-case letters and digits.')
@minLength(3)
@maxLength(14)
param namePrefix string

@description('Where the resources are.')
param location string = resourceGroup().location

@description('How the application packs its records. The compression of the data connection follows from it, and so does the setting EVENTHUB_LOG_PACKING in the output applicationSettings.')
@allowed([
  'gzip'
  'lines'
  'single'
])
param packing string = 'gzip'

@description('Refuses shared access keys: whatever sends has to sign in with an identity. With false there is a key with the right Send for the event hub alone.')
param disableLocalAuth bool = true

@description('Name of the event hub, the setting EVENTHUB_LOGS_NAME.')
param eventHubName string = 'application-logs'

@description('Partitions of the event hub; more of them let more be read at the same time.')
@minValue(1)
@maxValue(32)
param partitionCount int = 4

@description('How long the event hub keeps what the cluster has not read, in hours. The tier Standard allows a week.')
@minValue(24)
@maxValue(168)
param retentionHours int = 168

@description('Throughput units at the start; hublog size says how many a rate needs.')
@minValue(1)
@maxValue(40)
param throughputUnits int = 1

@description('Throughput units at most: after an outage the backlog is sent in addition to new records.')
@minValue(1)
@maxValue(40)
param maximumThroughputUnits int = 4

@description('Machines of the cluster. One whose name begins with Dev has no service level and a single instance.')
param clusterSku string = 'Standard_E2ads_v5'

@description('Instances of the cluster; 1 for a machine whose name begins with Dev.')
@minValue(1)
param clusterInstances int = 2

@description('Name of the database.')
param databaseName string = 'Logs'

@description('Who may read the logs: objects with objectId and type (Group, User or App).')
param logReaders array = []

@description('Who may see failures of the ingestion: objects as in logReaders.')
param ingestionOperators array = []

@description('Resource id of the Log Analytics workspace for diagnostic logs and metrics; none without it.')
param logAnalyticsWorkspaceId string = ''

@description('Alarms of Azure Monitor over the table; they need logAnalyticsWorkspaceId, from which they query the cluster.')
param alarms bool = false

@description('Resource ids of the action groups that an alarm notifies.')
param alarmActionGroupIds array = []

@description('Issuer of the tokens of a Kubernetes cluster, for workload identity; none without it.')
param kubernetesIssuerUrl string = ''

@description('Namespace of the application in Kubernetes.')
param kubernetesNamespace string = 'default'

@description('Service account of the application in Kubernetes.')
param kubernetesServiceAccount string = 'shop'

module identity 'modules/identity.bicep' = {
  name: 'identity'
  params: {
    name: '${namePrefix}-application'
    location: location
    kubernetesIssuerUrl: kubernetesIssuerUrl
    kubernetesNamespace: kubernetesNamespace
    kubernetesServiceAccount: kubernetesServiceAccount
  }
}

module eventHubs 'modules/event-hubs.bicep' = {
  name: 'event-hubs'
  params: {
    namespaceName: '${namePrefix}-logs'
    location: location
    disableLocalAuth: disableLocalAuth
    eventHubName: eventHubName
    partitionCount: partitionCount
    retentionHours: retentionHours
    throughputUnits: throughputUnits
    maximumThroughputUnits: maximumThroughputUnits
    logAnalyticsWorkspaceId: logAnalyticsWorkspaceId
  }
}

module dataExplorer 'modules/data-explorer.bicep' = {
  name: 'data-explorer'
  params: {
    clusterName: '${namePrefix}logs'
    location: location
    clusterSku: clusterSku
    clusterInstances: clusterInstances
    databaseName: databaseName
    logReaders: logReaders
    ingestionOperators: ingestionOperators
    logAnalyticsWorkspaceId: logAnalyticsWorkspaceId
  }
}

module roles 'modules/roles.bicep' = {
  name: 'roles'
  params: {
    namespaceName: eventHubs.outputs.namespaceName
    eventHubName: eventHubs.outputs.eventHubName
    senderPrincipalId: identity.outputs.principalId
    receiverPrincipalId: dataExplorer.outputs.clusterPrincipalId
  }
}

module dataConnection 'modules/data-connection.bicep' = {
  name: 'data-connection'
  params: {
    clusterName: dataExplorer.outputs.clusterName
    databaseName: dataExplorer.outputs.databaseName
    location: location
    eventHubId: eventHubs.outputs.eventHubId
    consumerGroupName: eventHubs.outputs.consumerGroupName
    compression: packing == 'gzip' ? 'GZip' : 'None'
  }
  // The cluster has to be allowed to read before it is asked to.
  dependsOn: [
    roles
  ]
}

module alarmRules 'modules/alarms.bicep' = if (alarms && logAnalyticsWorkspaceId != '') {
  name: 'alarms'
  params: {
    namePrefix: namePrefix
    location: location
    clusterName: dataExplorer.outputs.clusterName
    clusterUri: dataExplorer.outputs.clusterUri
    databaseName: dataExplorer.outputs.databaseName
    logAnalyticsWorkspaceId: logAnalyticsWorkspaceId
    actionGroupIds: alarmActionGroupIds
  }
  // One change of the cluster follows the other.
  dependsOn: [
    dataConnection
  ]
}

@description('Host of the namespace, the setting EVENTHUB_FULLY_QUALIFIED_NAMESPACE.')
output eventHubsNamespaceHost string = eventHubs.outputs.namespaceHost

@description('Client id of the identity that may send, AZURE_CLIENT_ID.')
output applicationClientId string = identity.outputs.clientId

@description('Resource id of the identity that may send, to assign it to App Service or Container Apps.')
output applicationIdentityId string = identity.outputs.resourceId

@description('Where to query the logs.')
output dataExplorerUri string = dataExplorer.outputs.clusterUri

@description('What the environment of the application needs.')
output applicationSettings object = {
  EVENTHUB_FULLY_QUALIFIED_NAMESPACE: eventHubs.outputs.namespaceHost
  EVENTHUB_LOGS_NAME: eventHubs.outputs.eventHubName
  EVENTHUB_LOG_PACKING: packing
  AZURE_CLIENT_ID: identity.outputs.clientId
}

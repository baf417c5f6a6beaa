# The way from the event hub into the table.
#
# No system properties of the event hub: with GZip the cluster would refuse each event.
# JSON is one record a line; MULTIJSON would discard a whole event for one malformed record.
resource "azurerm_kusto_eventhub_data_connection" "logs" {
  name                  = "application-logs"
  resource_group_name   = var.resource_group_name
  location              = var.location
  cluster_name          = azurerm_kusto_cluster.logs.name
  database_name         = azurerm_kusto_database.logs.name
  eventhub_id           = azurerm_eventhub.logs.id
  consumer_group        = azurerm_eventhub_consumer_group.data_explorer.name
  table_name            = "PipelineLogs"
  mapping_rule_name     = "PipelineLogsMapping"
  data_format           = "JSON"
  compression           = var.packing == "gzip" ? "GZip" : "None"
  database_routing_type = "Single"
  identity_id           = azurerm_kusto_cluster.logs.id

  # The table has to be there, and the cluster has to be allowed to read before it is asked to.
  depends_on = [
    azurerm_kusto_database_principal_assignment.operator,
    azurerm_role_assignment.cluster_receives,
  ]
}

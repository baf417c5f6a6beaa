# Namespace, event hub, and the consumer group of the data connection.
resource "azurerm_eventhub_namespace" "logs" {
  name                         = "${var.name_prefix}-logs"
  resource_group_name          = var.resource_group_name
  location                     = var.location
  sku                          = "Standard"
  capacity                     = var.throughput_units
  auto_inflate_enabled         = var.maximum_throughput_units > var.throughput_units
  maximum_throughput_units     = var.maximum_throughput_units > var.throughput_units ? var.maximum_throughput_units : 0
  local_authentication_enabled = var.local_authentication_enabled
  minimum_tls_version          = "1.2"
}

resource "azurerm_eventhub" "logs" {
  name            = var.eventhub_name
  namespace_id    = azurerm_eventhub_namespace.logs.id
  partition_count = var.partition_count

  retention_description {
    cleanup_policy          = "Delete"
    retention_time_in_hours = var.retention_hours
  }
}

# Of the data connection alone: two readers in one group would each see a part.
resource "azurerm_eventhub_consumer_group" "data_explorer" {
  name                = "data-explorer"
  resource_group_name = var.resource_group_name
  namespace_name      = azurerm_eventhub_namespace.logs.name
  eventhub_name       = azurerm_eventhub.logs.name
}

# For an application that cannot sign in with an identity.
resource "azurerm_eventhub_authorization_rule" "application" {
  count = var.local_authentication_enabled ? 1 : 0

  name                = "application"
  resource_group_name = var.resource_group_name
  namespace_name      = azurerm_eventhub_namespace.logs.name
  eventhub_name       = azurerm_eventhub.logs.name
  send                = true
}

resource "azurerm_monitor_diagnostic_setting" "event_hubs" {
  count = var.log_analytics_workspace_id == "" ? 0 : 1

  name                       = "log-analytics"
  target_resource_id         = azurerm_eventhub_namespace.logs.id
  log_analytics_workspace_id = var.log_analytics_workspace_id

  enabled_log {
    category_group = "allLogs"
  }

  enabled_metric {
    category = "AllMetrics"
  }
}

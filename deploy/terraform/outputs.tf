output "event_hubs_namespace_host" {
  description = "Host of the namespace, the setting EVENTHUB_FULLY_QUALIFIED_NAMESPACE."
  value       = "${azurerm_eventhub_namespace.logs.name}.servicebus.windows.net"
}

output "application_client_id" {
  description = "Client id of the identity that may send, AZURE_CLIENT_ID."
  value       = azurerm_user_assigned_identity.application.client_id
}

output "application_identity_id" {
  description = "Resource id of the identity that may send, to assign it to App Service or Container Apps."
  value       = azurerm_user_assigned_identity.application.id
}

output "data_explorer_uri" {
  description = "Where to query the logs."
  value       = azurerm_kusto_cluster.logs.uri
}

output "application_settings" {
  description = "What the environment of the application needs."
  value = {
    EVENTHUB_FULLY_QUALIFIED_NAMESPACE = "${azurerm_eventhub_namespace.logs.name}.servicebus.windows.net"
    EVENTHUB_LOGS_NAME                 = azurerm_eventhub.logs.name
    EVENTHUB_LOG_PACKING               = var.packing
    AZURE_CLIENT_ID                    = azurerm_user_assigned_identity.application.client_id
  }
}

# Who may do what with the event hub, and with nothing else in the namespace.
resource "azurerm_role_assignment" "application_sends" {
  scope                = azurerm_eventhub.logs.id
  role_definition_name = "Azure Event Hubs Data Sender"
  principal_id         = azurerm_user_assigned_identity.application.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "cluster_receives" {
  scope                = azurerm_eventhub.logs.id
  role_definition_name = "Azure Event Hubs Data Receiver"
  principal_id         = azurerm_kusto_cluster.logs.identity[0].principal_id
  principal_type       = "ServicePrincipal"
}

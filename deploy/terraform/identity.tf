# The identity that the application signs in with.
resource "azurerm_user_assigned_identity" "application" {
  name                = "${var.name_prefix}-application"
  resource_group_name = var.resource_group_name
  location            = var.location
}

# Lets the pods of this service account, and no others, sign in as the identity.
resource "azurerm_federated_identity_credential" "pods" {
  count = var.kubernetes_issuer_url == "" ? 0 : 1

  name                = "kubernetes"
  resource_group_name = var.resource_group_name
  parent_id           = azurerm_user_assigned_identity.application.id
  issuer              = var.kubernetes_issuer_url
  subject             = "system:serviceaccount:${var.kubernetes_namespace}:${var.kubernetes_service_account}"
  audience            = ["api://AzureADTokenExchange"]
}

# Cluster, database, the scripts of observability/adx, and who may read.
locals {
  adx = "${path.module}/../../observability/adx"
}

resource "azurerm_kusto_cluster" "logs" {
  name                        = "${var.name_prefix}logs"
  resource_group_name         = var.resource_group_name
  location                    = var.location
  streaming_ingestion_enabled = true
  disk_encryption_enabled     = true
  # A cluster that stops by itself reports nothing, not even that it stopped.
  auto_stop_enabled = false

  sku {
    name     = var.cluster_sku
    capacity = var.cluster_instances
  }

  identity {
    type = "SystemAssigned"
  }
}

# The table has policies of its own, in policies.kql; these are for what else is created here.
resource "azurerm_kusto_database" "logs" {
  name                = var.database_name
  resource_group_name = var.resource_group_name
  location            = var.location
  cluster_name        = azurerm_kusto_cluster.logs.name
  soft_delete_period  = "P30D"
  hot_cache_period    = "P7D"
}

# The cluster refuses two changes at the same time as a conflict, so from here on one follows the other.
#
# A script may only create, alter and add. What follows the mark clears a cache that lasts five minutes.
resource "azurerm_kusto_script" "table" {
  name                       = "table"
  database_id                = azurerm_kusto_database.logs.id
  script_content             = split("// Streaming ingestion caches", file("${local.adx}/table.kql"))[0]
  continue_on_errors_enabled = false
}

resource "azurerm_kusto_script" "policies" {
  name                       = "policies"
  database_id                = azurerm_kusto_database.logs.id
  script_content             = file("${local.adx}/policies.kql")
  continue_on_errors_enabled = false

  depends_on = [azurerm_kusto_script.table]
}

resource "azurerm_kusto_script" "functions" {
  name                       = "functions"
  database_id                = azurerm_kusto_database.logs.id
  script_content             = file("${local.adx}/functions.kql")
  continue_on_errors_enabled = false

  depends_on = [azurerm_kusto_script.policies]
}

# Lets the data connection sign in with the identity of the cluster.
resource "azurerm_kusto_script" "identity" {
  name                       = "identity"
  database_id                = azurerm_kusto_database.logs.id
  script_content             = ".alter-merge database ['${var.database_name}'] policy managed_identity ${jsonencode(jsonencode([{ ObjectId = "system", AllowedUsages = "DataConnection" }]))}"
  continue_on_errors_enabled = false

  depends_on = [azurerm_kusto_script.functions]
}

resource "azurerm_kusto_database_principal_assignment" "reader" {
  for_each = { for reader in var.log_readers : reader.object_id => reader }

  name                = "reader-${each.key}"
  resource_group_name = var.resource_group_name
  cluster_name        = azurerm_kusto_cluster.logs.name
  database_name       = azurerm_kusto_database.logs.name
  tenant_id           = azurerm_user_assigned_identity.application.tenant_id
  principal_id        = each.value.object_id
  principal_type      = each.value.type
  role                = "Viewer"

  depends_on = [azurerm_kusto_script.identity]
}

resource "azurerm_kusto_database_principal_assignment" "operator" {
  for_each = { for operator in var.ingestion_operators : operator.object_id => operator }

  name                = "operator-${each.key}"
  resource_group_name = var.resource_group_name
  cluster_name        = azurerm_kusto_cluster.logs.name
  database_name       = azurerm_kusto_database.logs.name
  tenant_id           = azurerm_user_assigned_identity.application.tenant_id
  principal_id        = each.value.object_id
  principal_type      = each.value.type
  role                = "Monitor"

  depends_on = [azurerm_kusto_database_principal_assignment.reader]
}

resource "azurerm_monitor_diagnostic_setting" "data_explorer" {
  count = var.log_analytics_workspace_id == "" ? 0 : 1

  name                       = "log-analytics"
  target_resource_id         = azurerm_kusto_cluster.logs.id
  log_analytics_workspace_id = var.log_analytics_workspace_id

  # Not SucceededIngestion: a row for each batch.
  enabled_log {
    category = "FailedIngestion"
  }

  enabled_metric {
    category = "AllMetrics"
  }
}

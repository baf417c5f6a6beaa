variable "resource_group_name" {
  description = "Resource group for all resources; it has to exist."
  type        = string
}

variable "location" {
  description = "Where the resources are."
  type        = string
}

variable "name_prefix" {
  description = "Begins the name of every resource."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{2,13}$", var.name_prefix))
    error_message = "3 to 14 lower-case letters and digits, a letter first."
  }
}

variable "packing" {
  description = "How the application packs its records. The compression of the data connection follows from it, and so does the setting EVENTHUB_LOG_PACKING in the output application_settings."
  type        = string
  default     = "gzip"

  validation {
    condition     = contains(["gzip", "lines", "single"], var.packing)
    error_message = "gzip, lines or single."
  }
}

variable "local_authentication_enabled" {
  description = "Accepts shared access keys. Then there is one with the right Send for the event hub alone; otherwise whatever sends has to sign in with an identity."
  type        = bool
  default     = false
}

variable "eventhub_name" {
  description = "Name of the event hub, the setting EVENTHUB_LOGS_NAME."
  type        = string
  default     = "application-logs"
}

variable "partition_count" {
  description = "Partitions of the event hub; more of them let more be read at the same time."
  type        = number
  default     = 4
}

variable "retention_hours" {
  description = "How long the event hub keeps what the cluster has not read. The tier Standard allows a week."
  type        = number
  default     = 168
}

variable "throughput_units" {
  description = "Throughput units at the start; hublog size says how many a rate needs."
  type        = number
  default     = 1
}

variable "maximum_throughput_units" {
  description = "Throughput units at most: after an outage the backlog is sent in addition to new records."
  type        = number
  default     = 4
}

variable "cluster_sku" {
  description = "Machines of the cluster. One whose name begins with Dev has no service level and a single instance."
  type        = string
  default     = "Standard_E2ads_v5"
}

variable "cluster_instances" {
  description = "Instances of the cluster; 1 for a machine whose name begins with Dev."
  type        = number
  default     = 2
}

variable "database_name" {
  description = "Name of the database."
  type        = string
  default     = "Logs"
}

variable "log_readers" {
  description = "Who may read the logs. The type is Group, User or App."
  type        = list(object({ object_id = string, type = string }))
  default     = []
}

variable "ingestion_operators" {
  description = "Who may see failures of the ingestion. The type is Group, User or App."
  type        = list(object({ object_id = string, type = string }))
  default     = []
}

variable "log_analytics_workspace_id" {
  description = "Resource id of the Log Analytics workspace for diagnostic logs and metrics; none without it."
  type        = string
  default     = ""
}

variable "kubernetes_issuer_url" {
  description = "Issuer of the tokens of a Kubernetes cluster, for workload identity; none without it."
  type        = string
  default     = ""
}

variable "kubernetes_namespace" {
  description = "Namespace of the application in Kubernetes."
  type        = string
  default     = "default"
}

variable "kubernetes_service_account" {
  description = "Service account of the application in Kubernetes."
  type        = string
  default     = "shop"
}

"""The Terraform files name what the provider knows, and create what the Bicep files create."""

import json
import re

import pytest
from tests.adx.kusto import KustoParser, statements
from tests.deploy import test_bicep as in_bicep
from tests.deploy.bicep import BicepFile
from tests.deploy.environment import unknown
from tests.deploy.terraform import FOLDER, PROVIDER, Configuration, Reference, problems

from hublog.settings import Packing


@pytest.fixture(scope="module")
def terraform():
    return Configuration()


def test_the_provider_knows_every_resource_and_argument_and_no_required_one_is_missing(terraform):
    found = [problem for (kind, _), body in terraform.resources.items() for problem in problems(kind, body)]
    assert found == []


def test_the_schema_is_of_the_version_that_is_asked_for(terraform):
    [block] = terraform.terraform
    [providers] = block["required_providers"]
    assert providers["azurerm"]["source"] == PROVIDER["provider"]
    major, minor, _ = PROVIDER["version"].split(".")
    assert providers["azurerm"]["version"] == f"~> {major}.{minor}"


def test_every_variable_and_local_value_is_declared_and_used(terraform):
    assert terraform.references(r"\bvar\.(\w+)") == terraform.variables.keys()
    assert terraform.references(r"\blocal\.(\w+)") == terraform.locals.keys()


def test_every_reference_is_to_a_resource_and_to_what_it_has(terraform):
    for kind, name, attribute in terraform.references(r"\b(azurerm_\w+)\.(\w+)(?:(?:\[0\])?\.(\w+))?"):
        assert (kind, name) in terraform.resources
        known = PROVIDER["resources"][kind]
        assert attribute in {"", *known["arguments"], *known["computed"]}, (kind, name, attribute)


@pytest.mark.parametrize(
    ("variable", "parameter"),
    [
        ("packing", "packing"),
        ("eventhub_name", "eventHubName"),
        ("partition_count", "partitionCount"),
        ("retention_hours", "retentionHours"),
        ("throughput_units", "throughputUnits"),
        ("maximum_throughput_units", "maximumThroughputUnits"),
        ("cluster_sku", "clusterSku"),
        ("cluster_instances", "clusterInstances"),
        ("database_name", "databaseName"),
        ("log_readers", "logReaders"),
        ("ingestion_operators", "ingestionOperators"),
        ("log_analytics_workspace_id", "logAnalyticsWorkspaceId"),
        ("kubernetes_issuer_url", "kubernetesIssuerUrl"),
        ("kubernetes_namespace", "kubernetesNamespace"),
        ("kubernetes_service_account", "kubernetesServiceAccount"),
    ],
)
def test_a_variable_has_the_default_of_bicep(terraform, variable, parameter):
    assert (
        terraform.variables[variable]["default"] == BicepFile("main.bicep").parameters[parameter]["default"]
    )


def test_the_scripts_are_those_of_bicep_and_run_in_their_order(terraform):
    found, after = {}, {}
    for name, script in terraform.of("azurerm_kusto_script").items():
        assert script["continue_on_errors_enabled"] is False
        found[script["name"]] = script["script_content"].text
        [after[name]] = script.get("depends_on", [None])
    assert after == {
        "table": None,
        **{
            name: Reference(f"azurerm_kusto_script.{before}")
            for before, name in (("table", "policies"), ("policies", "functions"), ("functions", "identity"))
        },
    }
    of_bicep = {symbol.removesuffix("Script"): text for symbol, text in in_bicep.scripts().items()}
    assert terraform.locals["adx"] == Reference('"${path.module}/../../observability/adx"')
    for name in ("table", "policies", "functions"):
        assert text_of(found[name]) == of_bicep[name]
    assert policy_of(found["identity"]) == [{"ObjectId": "system", "AllowedUsages": "DataConnection"}]


def text_of(expression):
    """Return what an expression loads, or the part of it before a mark."""
    match = re.fullmatch(
        r'(?:split\("(?P<mark>[^"]+)", )?file\("\$\{local\.adx\}/(?P<file>\w+\.kql)"\)(?:\)\[0\])?',
        expression,
    )
    text = (FOLDER.parents[1] / "observability" / "adx" / match["file"]).read_text()
    assert match["mark"] is None or match["mark"] in text
    return text.partition(match["mark"])[0] if match["mark"] else text


def policy_of(expression):
    """Return the policy of the statement, which is encoded as a string of JSON in a string of KQL."""
    match = re.fullmatch(
        r"\"(?P<command>.*) \$\{jsonencode\(jsonencode\(\[\{(?P<items>.*)\}\]\)\)\}\"", expression
    )
    policy = [dict(re.findall(r'(\w+) = "(\w+)"', match["items"]))]
    text = f"{match['command'].replace('${var.database_name}', 'Logs')} {json.dumps(json.dumps(policy))}"
    assert KustoParser().check({"identity": text})["identity"].problems == []
    assert len(statements(text)) == 1
    return policy


#: Argument of Terraform -> property of Bicep, of the data connection.
OF_THE_CONNECTION = {
    "name": "name",
    "table_name": "tableName",
    "mapping_rule_name": "mappingRuleName",
    "data_format": "dataFormat",
    "database_routing_type": "databaseRouting",
}


def test_the_data_connection_is_that_of_bicep(terraform):
    [connection] = terraform.of("azurerm_kusto_eventhub_data_connection").values()
    of_bicep = in_bicep.data_connection()
    properties = {"name": of_bicep["name"], **of_bicep["properties"]}
    assert {name: connection[name] for name in OF_THE_CONNECTION} == {
        name: properties[other] for name, other in OF_THE_CONNECTION.items()
    }
    assert "event_system_properties" not in connection
    assert connection["identity_id"] == Reference("azurerm_kusto_cluster.logs.id")
    assert connection["consumer_group"] == Reference("azurerm_eventhub_consumer_group.data_explorer.name")
    assert connection["depends_on"] == [
        Reference("azurerm_kusto_database_principal_assignment.operator"),
        Reference("azurerm_role_assignment.cluster_receives"),
    ]


def test_one_change_of_the_cluster_follows_the_other(terraform):
    reader, operator = terraform.of("azurerm_kusto_database_principal_assignment").values()
    assert (reader["role"], operator["role"]) == ("Viewer", "Monitor")
    assert reader["depends_on"] == [Reference("azurerm_kusto_script.identity")]
    assert operator["depends_on"] == [Reference("azurerm_kusto_database_principal_assignment.reader")]


def test_one_variable_decides_packing_and_compression(terraform):
    [connection] = terraform.of("azurerm_kusto_eventhub_data_connection").values()
    assert connection["compression"] == Reference('var.packing == "gzip" ? "GZip" : "None"')
    assert terraform.outputs["application_settings"]["value"]["EVENTHUB_LOG_PACKING"] == Reference(
        "var.packing"
    )
    [validation] = terraform.variables["packing"]["validation"]
    assert set(re.findall(r'"(\w+)"', validation["condition"].text)) == {each.value for each in Packing}


def test_the_application_may_send_to_the_event_hub_and_the_cluster_may_receive_and_nothing_else(terraform):
    hub = Reference("azurerm_eventhub.logs.id")
    found = {
        (body["role_definition_name"], body["principal_id"].text, body["scope"] == hub)
        for body in terraform.of("azurerm_role_assignment").values()
    }
    assert found == {
        (
            "Azure Event Hubs Data Sender",
            "azurerm_user_assigned_identity.application.principal_id",
            True,
        ),
        (
            "Azure Event Hubs Data Receiver",
            "azurerm_kusto_cluster.logs.identity[0].principal_id",
            True,
        ),
    }


def test_keys_are_refused_unless_asked_for_and_then_may_only_send(terraform):
    assert terraform.variables["local_authentication_enabled"]["default"] is False
    [namespace] = terraform.of("azurerm_eventhub_namespace").values()
    assert namespace["local_authentication_enabled"] == Reference("var.local_authentication_enabled")
    [rule] = terraform.of("azurerm_eventhub_authorization_rule").values()
    assert rule["count"] == Reference("var.local_authentication_enabled ? 1 : 0")
    assert rule["send"] is True
    assert not {"listen", "manage"} & rule.keys()


def test_people_get_roles_of_the_database_that_only_read(terraform):
    assignments = terraform.of("azurerm_kusto_database_principal_assignment").values()
    assert {body["role"] for body in assignments} == {"Viewer", "Monitor"}


def test_the_cluster_can_stream_and_never_stops_by_itself(terraform):
    [cluster] = terraform.of("azurerm_kusto_cluster").values()
    assert (cluster["streaming_ingestion_enabled"], cluster["auto_stop_enabled"]) == (True, False)


def test_the_pods_sign_in_as_in_bicep(terraform):
    [pods] = terraform.of("azurerm_federated_identity_credential").values()
    assert pods["subject"] == Reference(
        '"system:serviceaccount:${var.kubernetes_namespace}:${var.kubernetes_service_account}"'
    )
    assert pods["audience"] == ["api://AzureADTokenExchange"]


def test_hublog_reads_every_setting_of_the_outputs(terraform):
    settings = terraform.outputs["application_settings"]["value"]
    assert unknown(settings) == set()
    assert settings.keys() == BicepFile("main.bicep").outputs["applicationSettings"]["value"].keys()


def test_no_file_holds_an_id(terraform):
    assert re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", terraform.text) == []


def test_the_schema_refuses_an_unknown_argument_a_wrong_type_and_a_missing_one():
    body = {
        "name": "a",
        "namespace_name": "b",
        "resource_group_name": "c",
        "user_metadata": True,
        "group": "d",
    }
    found = [problem.partition(":")[0] for problem in problems("azurerm_eventhub_consumer_group", body)]
    assert found == [
        "azurerm_eventhub_consumer_group.user_metadata",
        "azurerm_eventhub_consumer_group.group",
        "azurerm_eventhub_consumer_group.eventhub_name",
    ]

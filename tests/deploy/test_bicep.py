"""The Bicep files name what Azure's own clients know, and agree with hublog and with its table."""

import json
import re

import azure.mgmt.eventhub.models
import azure.mgmt.kusto.models
import pytest
from azure.mgmt.authorization.v2022_04_01 import models as authorization
from azure.mgmt.eventhub import EventHubManagementClient
from azure.mgmt.kusto import KustoManagementClient
from azure.mgmt.monitor.v2021_05_01_preview import models as monitor
from azure.mgmt.monitor.v2022_08_01_preview import models as rules
from azure.mgmt.msi.v2024_11_30 import models as msi
from tests.adx.kusto import KustoParser, statements
from tests.deploy.arm_models import Expression, problems, shape_of
from tests.deploy.bicep import FILES, FOLDER, BicepFile
from tests.deploy.environment import unknown

from hublog.settings import Packing

ADX = FOLDER.parents[1] / "observability" / "adx"
eventhub, kusto = azure.mgmt.eventhub.models, azure.mgmt.kusto.models

_EVENT_HUB = EventHubManagementClient(object(), "none")._config.api_version
_KUSTO = KustoManagementClient(object(), "none")._config.api_version
#: Type of a resource -> the model that describes it, and the version of the API that the model is of.
RESOURCES = {
    "Microsoft.Authorization/roleAssignments": (authorization.RoleAssignmentCreateParameters, "2022-04-01"),
    "Microsoft.EventHub/namespaces": (eventhub.EHNamespace, _EVENT_HUB),
    "Microsoft.EventHub/namespaces/eventhubs": (eventhub.Eventhub, _EVENT_HUB),
    "Microsoft.EventHub/namespaces/eventhubs/authorizationRules": (eventhub.AuthorizationRule, _EVENT_HUB),
    "Microsoft.EventHub/namespaces/eventhubs/consumergroups": (eventhub.ConsumerGroup, _EVENT_HUB),
    "Microsoft.Insights/diagnosticSettings": (monitor.DiagnosticSettingsResource, "2021-05-01-preview"),
    "Microsoft.Insights/scheduledQueryRules": (rules.ScheduledQueryRuleResource, "2022-08-01-preview"),
    "Microsoft.Kusto/clusters": (kusto.Cluster, _KUSTO),
    "Microsoft.Kusto/clusters/databases": (kusto.ReadWriteDatabase, _KUSTO),
    "Microsoft.Kusto/clusters/databases/dataConnections": (kusto.EventHubDataConnection, _KUSTO),
    "Microsoft.Kusto/clusters/databases/principalAssignments": (kusto.DatabasePrincipalAssignment, _KUSTO),
    "Microsoft.Kusto/clusters/databases/scripts": (kusto.Script, _KUSTO),
    "Microsoft.ManagedIdentity/userAssignedIdentities": (msi.Identity, "2024-11-30"),
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials": (
        msi.FederatedIdentityCredential,
        "2024-11-30",
    ),
}
#: What Bicep adds to a resource.
OF_BICEP = {"parent", "scope", "name", "dependsOn"}
#: With these a script may begin a command: https://learn.microsoft.com/azure/data-explorer/database-script
VERBS = (".create", ".create-or-alter", ".create-merge", ".alter", ".alter-merge", ".add")
SENDER, RECEIVER = "2b629674-e913-4c01-ae53-ef4638d8f975", "a638d3c7-ab3a-418d-83e6-5f17a39d4fde"

files = pytest.mark.parametrize("name", FILES)


@files
def test_every_name_is_declared_and_used(name):
    file = BicepFile(name)
    assert file.undeclared() == set()
    assert file.unused() == set()


@files
def test_azure_knows_every_type_version_property_and_value(name):
    file = BicepFile(name)
    for symbol, resource in file.resources.items():
        model, version = RESOURCES[resource["type"]]
        assert resource["api_version"] == version, symbol
        body = file.body(resource)
        if resource["existing"]:
            assert body.keys() <= OF_BICEP
            continue
        assert "name" in body, symbol
        properties = {key: value for key, value in body.items() if key not in OF_BICEP}
        assert list(problems(properties, shape_of(model), symbol)) == []


@files
def test_a_child_has_its_parent_and_only_a_child(name):
    file = BicepFile(name)
    for symbol, resource in file.resources.items():
        parent = file.body(resource).get("parent")
        expected = resource["type"].rpartition("/")[0] if resource["type"].count("/") > 1 else None
        found = file.resources[parent]["type"] if parent else None
        assert found == expected, symbol


def test_main_gives_each_module_what_it_takes_and_reads_what_it_returns():
    main = BicepFile("main.bicep")
    for symbol, declaration in main.modules.items():
        module = BicepFile(declaration["detail"]["path"])
        assert main.body(declaration)["params"].keys() == module.parameters.keys(), symbol
        read = set(re.findall(rf"\b{symbol}\.outputs\.(\w+)", main.text))
        assert read <= module.outputs.keys(), symbol
    assert {each["detail"]["path"] for each in main.modules.values()} == set(FILES) - {"main.bicep"}


def text_of(file, content):
    """Return the text of a script: a string, or the variable that loads a file or the part before a mark."""
    if content not in file.variables:
        return content
    value, mark = file.variables[content]["value"], None
    if "operator" in value:
        part = value["operator"]
        assert (part["type"], part["operands"]["operand_2"]) == ("index_accessor", 0)
        whole = part["operands"]["operand_1"]["function"]
        assert whole["type"] == "split"
        value, mark = whole["parameters"]["input_string"], whole["parameters"]["delimiter"]
    assert value["function"]["type"] == "load_text_content"
    text = (file.path.parent / value["function"]["parameters"]["file_path"]).resolve().read_text()
    if mark is None:
        return text
    assert mark in text
    return text.partition(mark)[0]


def scripts():
    """Return the scripts in the order in which they run, by the names of their resources."""
    file = BicepFile("modules/data-explorer.bicep")
    found, after = {}, {}
    for symbol, resource in file.resources.items():
        if resource["type"].endswith("/scripts"):
            body = file.body(resource)
            assert body["properties"]["continueOnErrors"] is False
            found[symbol] = text_of(file, body["properties"]["scriptContent"])
            [after[symbol]] = body.get("dependsOn", [None])
    ordered, last = {}, None
    while len(ordered) < len(found):
        [last] = [symbol for symbol, other in after.items() if other == last]
        ordered[last] = found[last]
    return ordered


def test_one_change_of_the_cluster_follows_the_other():
    file = BicepFile("modules/data-explorer.bicep")
    changes = {
        symbol: resource
        for symbol, resource in file.resources.items()
        if resource["type"].startswith("Microsoft.Kusto/clusters/databases/")
    }
    symbols = list(changes)
    before = [file.body(resource).get("dependsOn", []) for resource in changes.values()]
    assert before == [[], *([symbol] for symbol in symbols[:-1])]
    for symbol, resource in changes.items():
        if "loop_type" in resource["config"]:
            assert resource["decorators"] == [{"type": "batchSize", "argument": 1}], symbol


def test_the_scripts_are_those_of_the_table_but_for_what_a_script_may_not_run():
    ours = [statement for name in ("table", "policies", "functions") for statement in statements_of(name)]
    refused = [statement for statement in ours if not starts_with_a_verb(statement)]
    assert refused == [".clear table PipelineLogs cache streamingingestion schema"]
    *of_files, identity = [one for text in scripts().values() for one in map(code, statements(text)) if one]
    assert of_files == [statement for statement in ours if statement not in refused]
    assert starts_with_a_verb(identity)


def statements_of(name):
    return [code(statement) for statement in statements((ADX / f"{name}.kql").read_text())]


def code(statement):
    """Return a statement without the comment before it."""
    lines = statement.splitlines()
    while lines and lines[0].startswith("//"):
        lines.pop(0)
    return "\n".join(lines)


def starts_with_a_verb(statement):
    return statement.split()[0] in VERBS


def test_the_cluster_may_sign_in_to_the_event_hub_as_in_the_roles_of_the_table():
    *_, text = scripts().values()
    for written, meant in (("${databaseName}", "Logs"), ("\\'", "'"), ("\\\\", "\\")):
        text = text.replace(written, meant)
    assert KustoParser().check({"identity": text})["identity"].problems == []
    policy = json.loads(json.loads(text[text.index('"') :]))
    [ours] = [part for part in statements((ADX / "roles.kql").read_text()) if "managed_identity" in part]
    assert policy == json.loads(ours.partition("```")[2].strip("`\n"))
    assert text.startswith(".alter-merge database ['Logs'] policy managed_identity ")


def data_connection():
    file = BicepFile("modules/data-connection.bicep")
    return file.body(file.resources["connection"])


def test_the_connection_reads_json_lines_into_the_table_by_its_mapping():
    connection = data_connection()
    assert connection["kind"] == "EventHub"
    properties = connection["properties"]
    assert properties["dataFormat"] == "JSON"
    assert properties["databaseRouting"] == "Single"
    table = (ADX / "table.kql").read_text()
    assert f".create-merge table {properties['tableName']} (" in table
    assert f'ingestion json mapping "{properties["mappingRuleName"]}"' in table


def test_the_connection_takes_no_system_properties_and_signs_in_as_the_cluster():
    properties = data_connection()["properties"]
    assert "eventSystemProperties" not in properties
    assert "managedIdentityResourceId: cluster.id\n" in BicepFile("modules/data-connection.bicep").text


def test_one_parameter_decides_packing_and_compression():
    main = BicepFile("main.bicep")
    [allowed] = [each for each in main.parameters["packing"]["decorators"] if each["type"] == "allowed"]
    assert set(allowed["argument"]) == {packing.value for packing in Packing}
    # The parser does not know which operator binds more: the text says it.
    assert "compression: packing == 'gzip' ? 'GZip' : 'None'\n" in main.text
    assert main.outputs["applicationSettings"]["value"]["EVENTHUB_LOG_PACKING"] == "packing"
    module = BicepFile("modules/data-connection.bicep")
    assert module.parameters["compression"]["decorators"][0]["argument"] == [
        each.value for each in (kusto.Compression.G_ZIP, kusto.Compression.NONE)
    ]
    assert data_connection()["properties"]["compression"] == "compression"


def test_the_connection_waits_for_its_role_and_has_a_consumer_group_of_its_own():
    main, file = BicepFile("main.bicep"), BicepFile("modules/event-hubs.bicep")
    assert main.body(main.modules["dataConnection"])["dependsOn"] == ["roles"]
    assert file.body(file.resources["consumerGroup"])["name"] == "data-explorer"
    assert "consumerGroupName: eventHubs.outputs.consumerGroupName\n" in main.text


def test_the_application_may_send_to_the_event_hub_and_the_cluster_may_receive_and_nothing_else():
    assignments = [
        (name, file.body(resource))
        for name, file in ((name, BicepFile(name)) for name in FILES)
        for resource in file.resources.values()
        if resource["type"] == "Microsoft.Authorization/roleAssignments"
    ]
    assert [(name, body["scope"], body["properties"]) for name, body in assignments] == [
        (
            "modules/roles.bicep",
            "eventHub",
            {"roleDefinitionId": role, "principalId": principal, "principalType": "ServicePrincipal"},
        )
        for role, principal in (("sender", "senderPrincipalId"), ("receiver", "receiverPrincipalId"))
    ]
    text = BicepFile("modules/roles.bicep").text
    for name, role in (("sender", SENDER), ("receiver", RECEIVER)):
        assert (
            f"var {name} = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{role}')"
            in text
        )
    main = BicepFile("main.bicep").text
    assert "senderPrincipalId: identity.outputs.principalId\n" in main
    assert "receiverPrincipalId: dataExplorer.outputs.clusterPrincipalId\n" in main


def test_keys_are_refused_unless_asked_for_and_then_may_only_send():
    main, file = BicepFile("main.bicep"), BicepFile("modules/event-hubs.bicep")
    assert main.parameters["disableLocalAuth"]["default"] is True
    assert file.body(file.resources["namespace"])["properties"]["disableLocalAuth"] == "disableLocalAuth"
    rules = [each for each in file.resources.values() if each["type"].endswith("/authorizationRules")]
    [rule] = rules
    assert file.body(rule)["properties"] == {"rights": ["Send"]}
    assert "authorizationRules@2026-01-01' = if (!disableLocalAuth) {" in file.text


def test_people_get_roles_of_the_database_that_only_read():
    file = BicepFile("modules/data-explorer.bicep")
    roles = {
        file.body(resource)["properties"]["role"]
        for resource in file.resources.values()
        if resource["type"].endswith("/principalAssignments")
    }
    assert roles == {"Viewer", "Monitor"}


def test_the_cluster_can_stream_and_its_default_machine_exists():
    main, file = BicepFile("main.bicep"), BicepFile("modules/data-explorer.bicep")
    assert file.body(file.resources["cluster"])["properties"]["enableStreamingIngest"] is True
    assert main.parameters["clusterSku"]["default"] in {each.value for each in kusto.AzureSkuName}


def alarms():
    file = BicepFile("modules/alarms.bicep")
    return file, file.body(file.resources["alarms"])["properties"]


def test_each_alarm_of_the_table_is_a_rule_of_its_own():
    file, _ = alarms()
    listed = {}
    for rule in file.variables["rules"]["value"]:
        path = rule["query"]["function"]["parameters"]["file_path"]
        listed[rule["name"]] = (file.path.parent / path).resolve()
    assert listed == {path.stem: path for path in (ADX / "alarms").iterdir()}


def test_an_alarm_asks_the_table_of_the_cluster_what_its_file_says():
    _, properties = alarms()
    [condition] = properties["criteria"]["allOf"]
    begin = "let PipelineLogs = adx(\\'${clusterUri}/${databaseName}\\').PipelineLogs;\\n${rule.query}"
    assert condition["query"] == begin
    local = "let PipelineLogs = database('Logs').PipelineLogs;\n"
    texts = {path.stem: local + path.read_text() for path in (ADX / "alarms").iterdir()}
    checked = KustoParser().check(texts)
    assert {name: found.problems for name, found in checked.items() if found.problems} == {}
    assert all("service_name:string" in found.columns for found in checked.values())


def test_an_alarm_fires_for_each_finding_and_tells_those_who_are_named():
    _, properties = alarms()
    [condition] = properties["criteria"]["allOf"]
    assert (condition["timeAggregation"], condition["operator"], condition["threshold"]) == (
        "Count",
        "GreaterThan",
        0,
    )
    assert properties["actions"] == {"actionGroups": "actionGroupIds"}
    assert properties["scopes"] == ["logAnalyticsWorkspaceId"]


def test_the_alarms_may_only_read_and_are_there_only_where_they_are_asked_for():
    file, main = BicepFile("modules/alarms.bicep"), BicepFile("main.bicep")
    reader = file.body(file.resources["reader"])["properties"]
    assert (reader["role"], reader["principalType"]) == ("Viewer", "App")
    assert "principalId: identity.properties.clientId\n" in file.text
    assert main.parameters["alarms"]["default"] is False
    assert (
        "module alarmRules 'modules/alarms.bicep' = if (alarms && logAnalyticsWorkspaceId != '') {"
        in main.text
    )
    assert main.body(main.modules["alarmRules"])["dependsOn"] == ["dataConnection"]


def test_the_pods_of_the_kubernetes_base_may_sign_in():
    main, file = BicepFile("main.bicep"), BicepFile("modules/identity.bicep")
    assert main.parameters["kubernetesServiceAccount"]["default"] == "shop"
    properties = file.body(file.resources["pods"])["properties"]
    assert properties["subject"] == (
        "system:serviceaccount:${kubernetesNamespace}:${kubernetesServiceAccount}"
    )
    assert properties["audiences"] == ["api://AzureADTokenExchange"]


def test_hublog_reads_every_setting_of_the_outputs():
    settings = BicepFile("main.bicep").outputs["applicationSettings"]["value"]
    assert unknown(settings) == set()
    assert settings.keys() >= {"EVENTHUB_FULLY_QUALIFIED_NAMESPACE", "EVENTHUB_LOGS_NAME"}


@files
def test_no_file_holds_an_id_other_than_those_of_the_two_roles(name):
    ids = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", BicepFile(name).text))
    assert ids <= {SENDER, RECEIVER}


def test_an_expression_may_have_any_value_and_a_literal_only_what_the_model_allows():
    shape = shape_of(kusto.EventHubDataConnection)
    body = {
        "kind": "EventHub",
        "properties": {"eventHubResourceId": Expression("id"), "consumerGroup": "logs"},
    }
    assert list(problems(body, shape)) == []
    body["properties"] |= {"compression": "gzip", "tables": ["Logs"], "managedIdentityObjectId": "id"}
    assert [problem.partition(":")[0] for problem in problems(body, shape)] == [
        ".properties.compression",
        ".properties.tables",
        ".properties.managedIdentityObjectId",
    ]

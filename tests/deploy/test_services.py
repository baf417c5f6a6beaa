"""The settings for App Service and Container Apps agree with what hublog reads and promises."""

import json
from pathlib import Path

import azure.mgmt.appcontainers.models
import pytest
import yaml
from tests.deploy.arm_models import problems, shape_of
from tests.deploy.environment import OF_OTHERS, option, settings_of, unknown
from tests.deploy.kubernetes import OVERLAYS, environment_of

from hublog.capture.resource import process_fields
from hublog.settings import Packing

FOLDER = Path(__file__).parents[2] / "deploy"
SEGMENT_BYTES = 2**20


def app_service():
    """Return the application settings of App Service by their names."""
    entries = json.loads((FOLDER / "app-service" / "appsettings.json").read_text())
    found = {entry["name"]: entry["value"] for entry in entries}
    assert len(found) == len(entries)
    assert {frozenset(entry) for entry in entries} == {frozenset({"name", "value", "slotSetting"})}
    return found


def container_app():
    """Return the definition of the container app."""
    return yaml.safe_load((FOLDER / "container-apps" / "containerapp.yaml").read_text())


def container():
    """Return the only container of the app."""
    [found] = container_app()["properties"]["template"]["containers"]
    return found


def container_environment():
    """Return the variables of the container."""
    found = {item["name"]: item["value"] for item in container()["env"]}
    assert len(found) == len(container()["env"])
    return found


ENVIRONMENTS = {"App Service": app_service, "Container Apps": container_environment}
services = pytest.mark.parametrize("service", ENVIRONMENTS)


@services
def test_hublog_reads_every_variable_or_another_program_is_known_to(service):
    assert unknown(ENVIRONMENTS[service]()) == set()


def test_each_variable_of_others_is_set_somewhere():
    used = {name for environment in ENVIRONMENTS.values() for name in environment()}
    assert OF_OTHERS.keys() <= used.union(*map(environment_of, OVERLAYS))


@services
def test_every_value_is_a_string_that_hublog_accepts(service):
    environment = ENVIRONMENTS[service]()
    assert {type(value) for value in environment.values()} == {str}
    settings = settings_of(environment)
    assert settings.eventhub.packing is Packing.GZIP
    assert settings.eventhub.fully_qualified_namespace == "shop-logs.servicebus.windows.net"
    assert settings.eventhub.connection_string == ""
    assert settings.request.trusted_proxy_count == 1


@services
def test_the_spool_and_the_log_file_lie_on_a_local_disk(service):
    settings = settings_of(ENVIRONMENTS[service]())
    local = {"App Service": "/tmp/hublog", "Container Apps": "/var/lib/hublog"}[service]  # noqa: S108
    assert {str(path.parent) for path in (settings.log_dir, settings.eventhub.spool_dir)} == {local}


@services
def test_gunicorn_has_time_to_end_its_requests_and_to_deliver(service):
    environment = ENVIRONMENTS[service]()
    exit_timeout_s = settings_of(environment).eventhub.exit_timeout_seconds
    graceful_s = int(option(environment, "--graceful-timeout"))
    grace_s = {
        "App Service": lambda: int(environment["WEBSITES_CONTAINER_STOP_TIME_LIMIT"]),
        "Container Apps": lambda: container_app()["properties"]["template"]["terminationGracePeriodSeconds"],
    }[service]()
    assert exit_timeout_s < graceful_s
    assert graceful_s + exit_timeout_s < grace_s <= 120


@services
def test_the_platform_names_service_and_instance(service):
    platform = {
        "App Service": {
            "WEBSITE_SITE_NAME": "shop",
            "WEBSITE_INSTANCE_ID": "0",
            "REGION_NAME": "West Europe",
        },
        "Container Apps": {"CONTAINER_APP_NAME": "shop", "CONTAINER_APP_REPLICA_NAME": "0"},
    }[service]
    environment = ENVIRONMENTS[service]()
    assert not platform.keys() & environment.keys()
    columns = process_fields(settings_of(environment).service, environ={**environment, **platform})
    assert (columns["service_name"], columns["service_instance_id"]) == ("shop", "0")
    assert columns["environment"] == "production"
    assert columns["cloud_region"].replace(" ", "").lower() == "westeurope"


def test_azure_knows_every_property_of_the_container_app():
    shape = shape_of(azure.mgmt.appcontainers.models.ContainerApp)
    assert list(problems(container_app(), shape)) == []


def test_the_probes_ask_a_path_that_is_not_logged_at_the_port_that_gunicorn_has():
    port = container_app()["properties"]["configuration"]["ingress"]["targetPort"]
    assert option(container_environment(), "--bind") == f"0.0.0.0:{port}"
    probes = {probe["type"]: probe["httpGet"] for probe in container()["probes"]}
    assert probes.keys() == {"Startup", "Readiness", "Liveness"}
    assert all(request == {"path": "/healthz", "port": port} for request in probes.values())
    for environment in ENVIRONMENTS.values():
        assert settings_of(environment()).request.excluded_paths == ("/healthz",)


def test_the_volume_of_the_container_app_has_room_for_spool_and_log_file():
    template, environment = container_app()["properties"]["template"], container_environment()
    [volume], [mount] = template["volumes"], container()["volumeMounts"]
    assert volume == {"name": mount["volumeName"], "storageType": "EmptyDir"}
    settings = settings_of(environment)
    assert str(settings.eventhub.spool_dir.parent) == mount["mountPath"]
    # https://learn.microsoft.com/azure/container-apps/storage-mounts: by the cores of a replica.
    limit = {0.25: 2**30, 0.5: 2 * 2**30, 1: 4 * 2**30}[container()["resources"]["cpu"]]
    files = settings.file.max_bytes * (settings.file.backup_count + 2)
    segments = SEGMENT_BYTES * int(environment["WEB_CONCURRENCY"])
    assert settings.eventhub.spool_max_bytes + segments + files < limit


def test_the_container_app_runs_as_the_identity_that_may_send():
    identity = container_app()["identity"]
    assert identity["type"] == "UserAssigned"
    [name] = identity["userAssignedIdentities"]
    assert name.endswith("/userAssignedIdentities/shop-application")
    assert container_app()["location"] == container_environment()["CLOUD_REGION"]


@services
def test_no_key_is_among_the_settings(service):
    assert "SharedAccessKey" not in str(ENVIRONMENTS[service]())

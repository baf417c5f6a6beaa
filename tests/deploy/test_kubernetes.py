"""The Kubernetes manifests, rendered and validated, agree with what hublog reads and promises."""

import os
from pathlib import PurePath

import kubernetes_validate
import pytest
import yaml
from tests.deploy.environment import option, settings_of, unknown
from tests.deploy.kubernetes import (
    FOLDER,
    OVERLAYS,
    bytes_of,
    container_of,
    environment_of,
    pod_of,
    rendered,
    resources_in,
)

from hublog.capture.resource import process_fields
from hublog.settings import read_settings

ROOT = FOLDER.parents[1]
#: The oldest with the action `sleep` in a schema here, and the newest.
VERSIONS = ["1.31", "1.34", "1.37"]
A_KEY = "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=a2V5"
SEGMENT_BYTES = 2**20

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def test_there_are_an_overlay_for_each_way_to_sign_in_and_one_for_a_canary():
    assert OVERLAYS == ["canary", "connection-string", "workload-identity"]


@pytest.mark.parametrize("version", VERSIONS)
@overlays
def test_kubernetes_knows_every_field(overlay, version):
    for resource in rendered(overlay).values():
        kubernetes_validate.validate(resource, version, strict=True)


@overlays
def test_hublog_reads_every_variable_or_another_program_is_known_to(overlay):
    assert unknown(environment_of(overlay)) == set()


def environment_at_run_time(overlay):
    variables = environment_of(overlay)
    if "EVENTHUB_NAMESPACE_CONNECTION_STRING" in variables:
        variables["EVENTHUB_NAMESPACE_CONNECTION_STRING"] = A_KEY
    return variables


@overlays
def test_every_value_is_valid_and_names_one_way_to_sign_in(overlay):
    eventhub = settings_of(environment_at_run_time(overlay)).eventhub
    assert eventhub.eventhub_name == "application-logs"
    assert bool(eventhub.connection_string) != bool(eventhub.fully_qualified_namespace)


@overlays
def test_the_fields_of_the_pod_become_the_columns_of_kubernetes(overlay):
    variables = environment_of(overlay)
    columns = process_fields(read_settings(environ={}).settings.service, environ=variables)
    assert {name: value for name, value in columns.items() if name.startswith("k8s_")} == {
        "k8s_namespace": "metadata.namespace",
        "k8s_pod_name": "metadata.name",
        "k8s_node_name": "spec.nodeName",
    }
    assert columns["service_instance_id"] == "metadata.name"


@overlays
def test_a_pod_has_time_to_end_its_requests_and_to_deliver(overlay):
    exit_timeout_s = settings_of(environment_at_run_time(overlay)).eventhub.exit_timeout_seconds
    before_s = container_of(overlay)["lifecycle"]["preStop"]["sleep"]["seconds"]
    graceful_s = int(option(environment_of(overlay), "--graceful-timeout"))
    assert graceful_s > exit_timeout_s
    assert pod_of(overlay)["spec"]["terminationGracePeriodSeconds"] > before_s + graceful_s + exit_timeout_s


@overlays
def test_the_probes_ask_a_path_that_the_examples_answer_and_that_is_not_logged(overlay):
    container = container_of(overlay)
    [port] = container["ports"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert option(environment_of(overlay), "--bind") == f"0.0.0.0:{port['containerPort']}"
    assert settings_of(environment_at_run_time(overlay)).request.excluded_paths == ("/healthz",)
    assert 'add_url_rule("/healthz"' in (ROOT / "example_flask/shop/__init__.py").read_text()
    assert 'path("healthz"' in (ROOT / "example_django/shopsite/urls.py").read_text()


def volumes_of(overlay):
    """Return the volumes of the container by the path of their mount."""
    volumes = {volume["name"]: volume for volume in pod_of(overlay)["spec"]["volumes"]}
    return {mount["mountPath"]: volumes[mount["name"]] for mount in container_of(overlay)["volumeMounts"]}


@overlays
def test_what_is_written_lies_below_a_volume_with_room_for_it(overlay):
    variables = environment_of(overlay)
    settings = settings_of(environment_at_run_time(overlay))
    [place] = {str(PurePath(path).parent) for path in (settings.log_dir, settings.eventhub.spool_dir)}
    limit = bytes_of(volumes_of(overlay)[place]["emptyDir"]["sizeLimit"])
    # The log file, the archive that is being made, and the finished ones, should they not compress.
    files = settings.file.max_bytes * (settings.file.backup_count + 2)
    segments = SEGMENT_BYTES * int(variables["WEB_CONCURRENCY"])
    assert settings.eventhub.spool_max_bytes + segments + files < limit
    resources = container_of(overlay)["resources"]
    assert limit < bytes_of(resources["requests"]["ephemeral-storage"])


@overlays
def test_any_user_runs_it_on_a_root_file_system_that_is_read_only(overlay):
    pod, container = pod_of(overlay)["spec"]["securityContext"], container_of(overlay)["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] == pod["runAsGroup"] == pod["fsGroup"] > 10_000
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert environment_of(overlay)["HOME"] in volumes_of(overlay)


@overlays
def test_no_manifest_holds_a_key(overlay):
    assert "Secret" not in rendered(overlay)
    assert "SharedAccessKey" not in str(rendered(overlay))


def test_a_connection_string_comes_from_a_secret_without_which_the_application_starts():
    [variable] = [
        item
        for item in container_of("connection-string")["env"]
        if item["name"] == "EVENTHUB_NAMESPACE_CONNECTION_STRING"
    ]
    secret = variable["valueFrom"]["secretKeyRef"]
    assert secret == {"name": "hublog-eventhub", "key": "connection-string", "optional": True}


def test_workload_identity_is_asked_for_by_label_and_annotation():
    pod, account = pod_of("workload-identity"), rendered("workload-identity")["ServiceAccount"]
    assert pod["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert pod["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert "azure.workload.identity/client-id" in account["metadata"]["annotations"]


def test_the_canary_is_one_pod_more_of_the_same_service_under_settings_of_its_own():
    stable, canary = rendered("workload-identity"), rendered("canary")
    assert canary.keys() == {"ConfigMap", "Deployment"}
    for kind in canary:
        assert canary[kind]["metadata"]["name"] != stable[kind]["metadata"]["name"]
    assert canary["Deployment"]["spec"]["replicas"] == 1
    selectors = [each["Deployment"]["spec"]["selector"]["matchLabels"] for each in (stable, canary)]
    for overlay, own, other in zip(("workload-identity", "canary"), selectors, selectors[::-1], strict=True):
        labels = pod_of(overlay)["metadata"]["labels"].items()
        assert own.items() <= labels
        assert not other.items() <= labels
        assert stable["Service"]["spec"]["selector"].items() <= labels


def test_the_canary_differs_by_its_version_and_switches_the_event_hub_on():
    stable, canary = environment_of("workload-identity"), environment_of("canary")
    assert canary.items() - stable.items() == {
        ("EVENTHUB_LOGGING_ENABLED", "true"),
        ("LOG_SERVICE_VERSION", "canary"),
    }
    assert stable.items() <= canary.items()


@pytest.fixture
def monitored(tmp_path):
    overlay, component = (
        os.path.relpath(FOLDER / name, tmp_path)
        for name in ("overlays/connection-string", "components/monitoring")
    )
    found = {"resources": [overlay], "components": [component]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(found))
    return resources_in(tmp_path)


def test_monitoring_asks_each_pod_for_its_metrics_with_the_token_that_opens_them(monitored):
    spec = monitored["PodMonitor"]["spec"]
    template = monitored["Deployment"]["spec"]["template"]
    [container] = template["spec"]["containers"]
    [endpoint] = spec["podMetricsEndpoints"]
    assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert endpoint["port"] in [port["name"] for port in container["ports"]]
    assert endpoint["path"] == "/hublog/metrics"
    [token] = [each for each in container["env"] if each["name"] == "LOG_STATUS_TOKEN"]
    secret = token["valueFrom"]["secretKeyRef"]
    assert endpoint["authorization"]["credentials"].items() <= secret.items()
    assert secret["optional"]
    kubernetes_validate.validate(monitored["Deployment"], VERSIONS[0], strict=True)


def test_monitoring_has_the_alarms_for_prometheus(monitored):
    rules = yaml.safe_load((ROOT / "observability" / "prometheus" / "alarms.yaml").read_text())
    assert monitored["PrometheusRule"]["spec"] == rules

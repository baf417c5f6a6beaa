"""The Terraform files as `hcl2` parses them, and what the provider's schema knows."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import hcl2

FOLDER = Path(__file__).parents[2] / "deploy" / "terraform"
#: Arguments, blocks and attributes of the resources here, as the provider of this version has them.
PROVIDER = json.loads((Path(__file__).parent / "azurerm.json").read_text())

#: What Terraform itself knows in every resource.
_META = {"count", "depends_on", "for_each"}
_TYPES = {"string": str, "bool": bool, "number": (int, float), "list": list, "map": dict}


@dataclass(frozen=True)
class Reference:
    """An expression; only the deployment knows its value."""

    text: str


class Configuration:
    """All files of the folder together, as Terraform reads them.

    Attributes:
        resources: (type, name) -> arguments.
        variables: name -> its declaration.
        locals: name -> value.
        outputs: name -> its declaration.
    """

    def __init__(self):
        self.text = "\n".join(path.read_text() for path in sorted(FOLDER.glob("*.tf")))
        parsed = _plain(hcl2.loads(self.text))
        self.terraform = parsed["terraform"]
        self.variables = _named(parsed["variable"])
        self.outputs = _named(parsed["output"])
        self.locals = {name: value for block in parsed["locals"] for name, value in block.items()}
        self.resources = {
            (kind, name): body
            for block in parsed["resource"]
            for kind, named in block.items()
            for name, body in named.items()
        }

    def of(self, kind):
        """Return the arguments of the resources of a type by their names."""
        return {name: body for (each, name), body in self.resources.items() if each == kind}

    def references(self, pattern):
        """Return what the expressions of all files refer to, comments left out."""
        return set(re.findall(pattern, re.sub(r"(?m)^\s*#.*$", "", self.text)))


def problems(kind, body):
    """Yield what the schema of the provider does not allow in a resource."""
    arguments = {name: value for name, value in body.items() if name not in _META}
    yield from _problems(arguments, PROVIDER["resources"][kind]["arguments"], kind)


def _problems(arguments, known, path):
    for name, value in arguments.items():
        entry = known.get(name)
        if entry is None:
            yield f"{path}.{name}: no such argument; there are {', '.join(known)}"
        elif "block" in entry:
            if not isinstance(value, list) or not all(isinstance(block, dict) for block in value):
                yield f"{path}.{name}: {value!r} is no block"
                continue
            for block in value:
                yield from _problems(block, entry["block"], f"{path}.{name}")
        elif not isinstance(value, (Reference, _TYPES[entry["type"]])) or (
            isinstance(value, bool) and entry["type"] != "bool"
        ):
            yield f"{path}.{name}: {value!r} is not of the type {entry['type']}"
    yield from (
        f"{path}.{name}: missing"
        for name, entry in known.items()
        if entry.get("required") and name not in arguments
    )


def _named(blocks):
    return {name: body for block in blocks for name, body in block.items()}


def _plain(value):
    """Return a value as it is meant: strings without quotes, expressions as `Reference`."""
    if isinstance(value, dict):
        return {
            _plain_name(name): _plain(member) for name, member in value.items() if not name.startswith("__")
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        if value.startswith('"') and "${" not in value:
            return json.loads(value)
        return Reference(value.removeprefix("${").removesuffix("}") if value.startswith("${") else value)
    return value


def _plain_name(name):
    return name.strip('"')

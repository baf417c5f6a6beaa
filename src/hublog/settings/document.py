"""The YAML file: its ``logging:`` section, with ``${NAME:-default}`` filled in from the environment.

Variables are expanded in the values, after YAML was parsed, so the value of a variable stays one string
and cannot change the structure of the file.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeAlias

from hublog.settings.model import SECTIONS, SETTINGS
from hublog.settings.values import InvalidValueError, shown

Document: TypeAlias = str | os.PathLike[str] | Mapping[str, object]

ROOT: Final = "logging"
#: In one value; each nested one needs some of the stack.
_VARIABLES_MAX: Final = 100
#: Sections whose keys are unlikely to belong to something else.
_DISTINCT: Final = ("file_logging", "eventhub_logging")
_MISSING = "{0} needs PyYAML and expandvars: pip install 'hublog[yaml]'."
#: All keys of the section ``logging``, and the keys of each section in it.
KEYS: Final[dict[str, list[str]]] = {
    section: [setting.field for setting in SETTINGS if setting.section == section]
    + ([name for name in SECTIONS if name] if not section else [])
    for section in SECTIONS
}


def load(document: Document, problems: list[str]) -> Mapping[object, object]:
    """Return the section ``logging`` of a YAML file or of its parsed content.

    Args:
        document: path, or a mapping with the key ``logging`` or with the keys of that section.
        problems: gets a sentence if there is no such section.

    Raises:
        ImportError: it is a file, and the extra ``yaml`` is missing.
        TypeError: it is neither a path nor a mapping.
    """
    if isinstance(document, Mapping):
        return _section(document, "The configuration", problems)
    if not isinstance(document, str | os.PathLike):
        raise TypeError(f"The configuration must be a path or a mapping, not {type(document).__name__}.")
    path = Path(document)
    label = repr(str(path))
    try:
        content = _parse(path)
    except OSError as error:
        problems.append(f"{label} cannot be read ({error.strerror}); it must be a YAML file.")
        return {}
    except ValueError as error:
        problems.append(f"{label} is not YAML ({error}); correct the file.")
        return {}
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        problems.append(f"{label} is a {type(content).__name__}; it must be a mapping with the key {ROOT}.")
        return {}
    return _section(content, label, problems)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Expand ``${NAME}`` and ``${NAME:-default}`` in a value; everything else stays.

    Raises:
        ImportError: there is a variable, and the extra ``yaml`` is missing.
        InvalidValueError: the expression is malformed, or has too many variables.
    """
    if "${" not in text:
        return text
    if text.count("${") > _VARIABLES_MAX:
        raise InvalidValueError(f"cannot be expanded (it has more than {_VARIABLES_MAX} variables)")
    try:
        import expandvars  # noqa: PLC0415  # of the extra yaml
    except ImportError as error:
        raise ImportError(_MISSING.format("${NAME} in a configuration")) from error
    try:
        # A copy, since ${NAME:=value} assigns.
        return str(expandvars.expand(text, environ=dict(environ), surrounded_vars_only=True))
    except (expandvars.ExpandvarsException, RecursionError) as error:
        raise InvalidValueError(f"cannot be expanded ({type(error).__name__})") from None


def unknown_keys(section: Mapping[object, object], known: str, label: str) -> list[str]:
    """Return a sentence for each key that ``KEYS`` does not have, with the closest known one.

    A label like ``logging.`` precedes the key in the sentence.
    """
    everywhere = {field: setting.path for setting in SETTINGS for field in (setting.field, setting.name)}
    sentences = []
    for key in section:
        name = str(key)
        if name in KEYS[known]:
            continue
        here = get_close_matches(name, KEYS[known], 1)
        near = here or [everywhere[match] for match in get_close_matches(name, everywhere, 1)]
        advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(KEYS[known])}."
        sentences.append(f"{label}{shown(name)} is not known; {advice}")
    return sentences


def _parse(path: Path) -> object:
    try:
        import yaml  # noqa: PLC0415  # of the extra yaml
    except ImportError as error:
        raise ImportError(_MISSING.format("A YAML configuration")) from error
    try:
        return yaml.safe_load(path.read_bytes())
    except yaml.MarkedYAMLError as error:
        # Its own message quotes the file, which may contain a secret.
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(line + re.sub(r" ?'[^']*'", "", error.problem or type(error).__name__)) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None


def _section(content: Mapping[Any, object], label: str, problems: list[str]) -> Mapping[object, object]:
    if ROOT not in content:
        names = [str(key) for key in content]
        if set(names) & set(KEYS[""]):
            return content
        near = get_close_matches(ROOT, names, 1, cutoff=0.75)
        if near:
            problems.append(f"{label} has the key {shown(near[0])}; it must be {ROOT}.")
        problems += _misplaced_keys(content, label)
        return {}
    section = content[ROOT]
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        problems.append(f"{ROOT} in {label} is {shown(section)}; it must be a mapping.")
        return {}
    return section


def _misplaced_keys(content: Mapping[Any, object], label: str) -> list[str]:
    """Return a sentence for each key of hublog at the wrong level.

    The content may be the configuration of a whole application, so only keys are checked that are unlikely to
    belong to something else: names of settings, keys of files and hubs, and a section one level deeper.
    """
    places = {setting.name: setting.path for setting in SETTINGS}
    places |= {setting.field: setting.path for setting in SETTINGS if setting.section in _DISTINCT}
    sentences = [
        f"{label} has {shown(key)} at its top, where it has no effect; it must be {ROOT}.{places[key]}."
        for key in content
        if key in places
    ]
    for key, value in content.items():
        section = value.get(ROOT) if isinstance(value, Mapping) else None
        if isinstance(section, Mapping) and set(section) & set(KEYS[""]):
            sentences.append(f"{label} has {ROOT} below {shown(key)}; it must be at the top.")
    return sentences

"""The one reader of settings: argument > framework > environment > YAML > default."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from hublog.errors import SettingsError
from hublog.settings.connection_string import entity_path
from hublog.settings.document import ROOT, Document, expand, load, unknown_keys
from hublog.settings.model import Mask, Settings
from hublog.settings.patterns import problem_of
from hublog.settings.table import SECTIONS, SETTINGS, Setting
from hublog.settings.values import NotAllowedError, is_empty, shown

#: Looks a setting up by its name outside; None means not set.
Lookup: TypeAlias = Callable[[str], object | None]

_HUB_NAME: Final = "eventhub_logging.eventhub_name"
_PATTERNS: Final = "redaction.patterns"
_MODE: Final = "redaction.mode"
#: How the problem ends that the mode ``hash`` is set and no key.
NO_HASH_KEY: Final = "is hash, but LOG_REDACTION_HASH_KEY is not set; secrets are masked."
_FIELD_OF_SECTION: Final = {"file_logging": "file", "eventhub_logging": "eventhub"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read.

    Attributes:
        settings: complete; what was invalid has its default.
        problems: one sentence for each invalid setting: what was seen, what is allowed, the name to change.
        wrong_arguments: those of the problems that stand in code, not in configuration.
        invalid: paths of the settings whose stated value is not used.
    """

    settings: Settings
    problems: tuple[str, ...] = ()
    wrong_arguments: tuple[str, ...] = ()
    invalid: frozenset[str] = frozenset()

    def strict(self) -> Settings:
        """Return the settings.

        Raises:
            SettingsError: anything is invalid; it holds all problems.
        """
        if self.problems:
            raise SettingsError(self.problems)
        return self.settings


def read_settings(
    arguments: Mapping[str, object] | None = None,
    *,
    framework: Lookup | None = None,
    environ: Mapping[str, str] | None = None,
    document: Document | None = None,
) -> Reading:
    """Read all settings; empty text counts as not set in every source.

    Args:
        arguments: what code states, in the shape of the YAML section, like
            ``{"eventhub_logging": {"batch_size": 5}}``.
        framework: finds a setting by its environment name in Flask's config or Django's settings.
        environ: the environment; default ``os.environ``.
        document: a YAML file, or its content.

    Returns:
        Settings and problems; an invalid value takes its default, not the value of the next source.

    Raises:
        ImportError: a YAML file is given and the extra ``yaml`` is missing.
        TypeError: ``document`` or ``arguments`` is of no such type.
    """
    if arguments is not None and not isinstance(arguments, Mapping):
        raise TypeError(f"The arguments must be a mapping, not {type(arguments).__name__}.")
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    wrong_arguments: list[str] = []
    section = load(document, problems) if document is not None else {}
    sources = (
        _Nested("the argument ", arguments or {}, wrong_arguments),
        _Named(framework or (lambda _: None), " in the application's configuration"),
        _Named(environ.get, ""),
        _Nested(f"{ROOT}.", section, problems, environ),
        _Elsewhere(environ),
    )
    return _read(sources, problems, wrong_arguments)


class _Named:
    """A source that knows a setting by its environment name."""

    def __init__(self, lookup: Lookup, where: str) -> None:
        self._lookup, self._where = lookup, where

    def find(self, setting: Setting) -> Iterator[tuple[str, object]]:
        yield f"{setting.name}{self._where}", self._lookup(setting.name)


class _Nested:
    """A source in the shape of the YAML section; what no setting has is a problem."""

    def __init__(
        self,
        label: str,
        content: Mapping[Any, object],
        problems: list[str],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.problems, self._label, self._environ = problems, label, environ
        self._sections: dict[str, Mapping[Any, object]] = {"": content}
        problems += unknown_keys(content, "", label)
        for name in filter(None, SECTIONS):
            section = content.get(name)
            if isinstance(section, Mapping):
                self._sections[name] = section
                problems += unknown_keys(section, name, f"{label}{name}.")
            elif section is not None:
                problems.append(f"{label}{name} is {shown(section)}; it must be a mapping.")

    def find(self, setting: Setting) -> Iterator[tuple[str, object]]:
        value = self._sections.get(setting.section, {}).get(setting.field)
        if isinstance(value, str) and self._environ is not None:
            try:
                value = expand(value, self._environ)
            except NotAllowedError as error:
                self.problems.append(
                    f"{self._label}{setting.path} {error}; it must be like ${{NAME:-default}}."
                )
                value = None
        yield f"{self._label}{setting.path}", value


class _Elsewhere:
    """What OpenTelemetry and the platform are told about the service; malformed pairs are left out."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
        self._attributes = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
        self._environ = environ

    def find(self, setting: Setting) -> Iterator[tuple[str, object]]:
        for name in setting.fallback:
            yield name, (self._attributes if "." in name else self._environ).get(name)


_Source: TypeAlias = _Named | _Nested | _Elsewhere


def _read(sources: tuple[_Source, ...], problems: list[str], wrong_arguments: list[str]) -> Reading:
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    labels: dict[str, str] = {}
    invalid: set[str] = set()
    for setting in SETTINGS:
        found = _first(sources, setting)
        if found is None:
            continue
        source, label, value = found
        try:
            values[setting.section][setting.field] = setting.kind.parse(value)
            labels[setting.path] = label
        except NotAllowedError as error:
            sentence = f"{label} {str(error) or f'is {shown(value)}'}; it must be {setting.kind.allowed}."
            (wrong_arguments if source is sources[0] else problems).append(sentence)
            invalid.add(setting.path)
    for sentence in _name_the_hub(values["eventhub_logging"], labels):
        problems.append(sentence)
        invalid.add(_HUB_NAME)
    for sentence in _check_patterns(values["redaction"], labels):
        problems.append(sentence)
        invalid.add(_PATTERNS)
    for sentence in _check_hashes(values["redaction"], labels):
        problems.append(sentence)
        invalid.add(_MODE)
    sections = {name: kind(**values[name]) for name, kind in SECTIONS.items() if name}
    named = {_FIELD_OF_SECTION.get(name, name): section for name, section in sections.items()}
    settings = Settings(**values[""], **named)
    wrong = tuple(_sentence(text) for text in wrong_arguments)
    told = tuple(_sentence(text) for text in problems)
    return Reading(
        settings=settings, problems=wrong + told, wrong_arguments=wrong, invalid=frozenset(invalid)
    )


def _first(sources: tuple[_Source, ...], setting: Setting) -> tuple[_Source, str, object] | None:
    for source in sources:
        for label, value in source.find(setting):
            if not is_empty(value):
                return source, label, value
    return None


def _name_the_hub(eventhub: dict[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    """Settle which event hub is meant where the connection string names one.

    The client would take the name that we give it, and the key would then be refused by a hub it
    is not for; so the connection string wins, and a stated name that differs is a problem. The
    default does not count as stated, nor does it where the YAML file repeats it.
    """
    named = entity_path(eventhub.get("connection_string", ""))
    if not named:
        return
    default = next(setting.default for setting in SETTINGS if setting.path == _HUB_NAME)
    stated = eventhub.get("eventhub_name")
    repeats_default = labels.get(_HUB_NAME, "").startswith(ROOT) and stated == default
    eventhub["eventhub_name"] = named
    if stated is not None and not repeats_default and stated.lower() != named.lower():
        yield (
            f"{labels[_HUB_NAME]} is {shown(stated)}, but the EntityPath of"
            f" {labels['eventhub_logging.connection_string']} names another event hub, which is used;"
            " make them equal or leave one out."
        )


def _check_patterns(redaction: dict[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    """Leave out patterns that are not fit to run."""
    patterns = redaction.get("patterns", ())
    problems = {pattern: problem_of(pattern) for pattern in patterns}
    for pattern, problem in problems.items():
        if problem:
            yield f"{labels[_PATTERNS]} has {shown(pattern)}, which {problem}; it is left out."
    if patterns:
        redaction["patterns"] = tuple(pattern for pattern in patterns if not problems[pattern])


def _check_hashes(redaction: dict[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    """Have a fixed mark stand for secrets where hashes are wanted and there is no key."""
    is_hashing = redaction.get("enabled", True) and redaction.get("mode") is Mask.HASH
    if is_hashing and not redaction.get("hash_key"):
        del redaction["mode"]
        yield f"{labels[_MODE]} {NO_HASH_KEY}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("the ") else text

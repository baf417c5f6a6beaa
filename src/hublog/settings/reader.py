"""The one reader of settings: argument > framework > environment > YAML > default.

One name is an exception: ``EVENTHUB_LOGGING_ENABLED=false`` in the environment wins over everything, since
it is the rollback.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from hublog.errors import SettingsError
from hublog.settings.connection_string import entity_path
from hublog.settings.document import ROOT, Document, expand, load, unknown_keys
from hublog.settings.model import Mask, Settings, Transport
from hublog.settings.patterns import problem_of
from hublog.settings.table import SECTIONS, SETTINGS, Setting
from hublog.settings.values import BOOLEAN, Kind, NotAllowedError, is_empty, shown, unquoted

#: Looks a setting up by its name outside; None means not set.
Lookup: TypeAlias = Callable[[str], object | None]

ARGUMENT: Final = "an argument"
APPLICATION: Final = "the application's configuration"
ENVIRONMENT: Final = "the environment"
YAML: Final = "the YAML file"
PLATFORM: Final = "the platform's environment"
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A value that a source has for a setting.

    Attributes:
        place: which source it is.
        label: what names the value in a sentence.
        value: as it stands there, without quotation marks around it; it may be a secret, and is in no repr.
        was_quoted: whether there were some.
    """

    place: str
    label: str
    value: object = field(repr=False)
    was_quoted: bool = False


class Named:
    """A source that knows a setting by its environment name.

    Args:
        lookup: returns a value by that name; None where it is not set.
        place: which source it is.
        where: ends the label of its values.
    """

    def __init__(self, lookup: Lookup, place: str, where: str) -> None:
        self._lookup, self.place, self._where = lookup, place, where

    def find(self, setting: Setting) -> Found | None:
        """Return what it has for a setting; empty text counts as nothing."""
        return _found(self.place, f"{setting.name}{self._where}", self._lookup(setting.name))


class Nested:
    """A source in the shape of the YAML section; what no setting has is a problem.

    Args:
        place: which source it is.
        label: begins the label of its values.
        content: the section.
        problems: gets the sentences.
        environ: fills ``${NAME}``; None leaves texts as they are.
    """

    def __init__(
        self,
        place: str,
        label: str,
        content: Mapping[Any, object],
        problems: list[str],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.place, self.problems, self._label, self._environ = place, problems, label, environ
        self._sections: dict[str, Mapping[Any, object]] = {"": content}
        problems += unknown_keys(content, "", label)
        for name in filter(None, SECTIONS):
            section = content.get(name)
            if isinstance(section, Mapping):
                self._sections[name] = section
                problems += unknown_keys(section, name, f"{label}{name}.")
            elif section is not None:
                problems.append(f"{label}{name} is {shown(section)}; it must be a mapping.")

    def find(self, setting: Setting) -> Found | None:
        """Return what it has for a setting; empty text counts as nothing."""
        label = f"{self._label}{setting.path}"
        value = self._sections.get(setting.section, {}).get(setting.field)
        if isinstance(value, str) and self._environ is not None and "${" in value:
            try:
                value = expand(value, self._environ)
            except NotAllowedError as error:
                self.problems.append(f"{label} {error}; it must be like ${{NAME:-default}}.")
                return None
        return _found(self.place, label, value)


class Platform:
    """What OpenTelemetry and the platform are told about the service; malformed pairs are left out."""

    place: Final = PLATFORM

    def __init__(self, environ: Mapping[str, str]) -> None:
        pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
        self._attributes = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
        self._environ = environ

    def find(self, setting: Setting) -> Found | None:
        """Return the first that is set of what a setting falls back to."""
        found = (
            _found(self.place, name, (self._attributes if "." in name else self._environ).get(name))
            for name in setting.fallback
        )
        return next(filter(None, found), None)


Source: TypeAlias = Named | Nested | Platform


def sources_of(
    arguments: Mapping[str, object],
    framework: Lookup | None,
    environ: Mapping[str, str],
    section: Mapping[Any, object],
    *,
    problems: list[str],
    wrong_arguments: list[str],
) -> Iterator[Source]:
    """Yield the sources, the strongest first; the lists get what is wrong with their shape."""
    yield Nested(ARGUMENT, "the argument ", arguments, wrong_arguments)
    yield Named(framework or (lambda _: None), APPLICATION, f" in {APPLICATION}")
    yield Named(environ.get, ENVIRONMENT, "")
    yield Nested(YAML, f"{ROOT}.", section, problems, environ)
    yield Platform(environ)


def _found(place: str, label: str, value: object) -> Found | None:
    plain = unquoted(value)
    if is_empty(plain):
        return None
    return Found(place=place, label=label, value=plain, was_quoted=plain is not value)


#: The setting by which the environment switches the Event Hub off, whatever else says otherwise.
SWITCH: Final = "eventhub_logging.enabled"
_PLACES: Final = (ARGUMENT, APPLICATION, ENVIRONMENT, YAML, PLATFORM)
_HUB_NAME: Final = "eventhub_logging.eventhub_name"
_TRANSPORT: Final = "eventhub_logging.transport"
_PROXY: Final = "eventhub_logging.proxy"
_PATTERNS: Final = "redaction.patterns"
_MODE: Final = "redaction.mode"
#: How the problem ends that the mode ``hash`` is set and no key.
NO_HASH_KEY: Final = "is hash, but LOG_REDACTION_HASH_KEY is not set; secrets are masked."
_FIELD_OF_SECTION: Final = {"file_logging": "file", "eventhub_logging": "eventhub"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A value that has no effect, since a stronger source has another.

    Attributes:
        setting: whose it is.
        used: what is in effect.
        ignored: what is not.
    """

    setting: Setting
    used: Found
    ignored: Found

    @property
    def is_switch(self) -> bool:
        """Whether it is the environment that switches the Event Hub off."""
        return self.setting.path == SWITCH and self.used.place == ENVIRONMENT

    @property
    def text(self) -> str:
        """Both values and their sources as a sentence, without a secret."""
        used, ignored = (self._shown(found) for found in (self.used, self.ignored))
        reason = "; false in the environment always wins" if self.is_switch else ""
        return f"{self.setting.name}: {used} overrides {ignored}{reason}."

    def _shown(self, found: Found) -> str:
        value = "the value" if self.setting.kind.is_secret else shown(found.value)
        return f"{value} in {found.place}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read.

    Attributes:
        settings: complete; what was invalid has its default.
        problems: one sentence for each invalid setting: what was seen, what is allowed, the name to change.
        wrong_arguments: those of the problems that stand in code, not in configuration.
        invalid: paths of the settings whose stated value is not used.
        origins: where the value of a setting comes from, by its path; defaults are not in it.
        overrides: values that have no effect.
        quoted: names of the values around which quotation marks were removed.
    """

    settings: Settings
    problems: tuple[str, ...] = ()
    wrong_arguments: tuple[str, ...] = ()
    invalid: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    overrides: tuple[Override, ...] = ()
    quoted: tuple[str, ...] = ()

    @property
    def quoted_text(self) -> tuple[str, ...]:
        """What is to be said of removed quotation marks: a sentence or nothing."""
        if not self.quoted:
            return ()
        return (
            f"Quotation marks around the value of {', '.join(self.quoted)} were removed; leave them out.",
        )

    @property
    def notices(self) -> tuple[str, ...]:
        """What the operator should know although it is no mistake, a sentence each."""
        return (
            *(override.text for override in self.overrides if override.is_switch),
            *self.quoted_text,
        )

    def origin_of(self, setting: Setting) -> str:
        """Return where the value of a setting comes from."""
        return DEFAULT if setting.path in self.invalid else self.origins.get(setting.path, DEFAULT)

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
    sources = sources_of(
        arguments or {}, framework, environ, section, problems=problems, wrong_arguments=wrong_arguments
    )
    return _read(list(sources), problems, wrong_arguments)


def _read(sources: Sequence[Source], problems: list[str], wrong_arguments: list[str]) -> Reading:
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    used: dict[str, Found] = {}
    overrides: list[Override] = []
    invalid: set[str] = set()
    quoted: list[str] = []
    for setting in SETTINGS:
        found, ignored = _choose(sources, setting)
        if found is None:
            continue
        quoted += [each.label for each in (found, *ignored) if each.was_quoted]
        overrides += [Override(setting=setting, used=found, ignored=each) for each in ignored]
        used[setting.path] = found
        try:
            values[setting.section][setting.field] = setting.kind.parse(found.value)
        except NotAllowedError as error:
            seen = str(error) or f"is {shown(found.value)}"
            sentence = f"{found.label} {seen}; it must be {setting.kind.allowed}."
            (wrong_arguments if found.place == ARGUMENT else problems).append(sentence)
            invalid.add(setting.path)
    labels = {path: found.label for path, found in used.items() if path not in invalid}
    for check, path in _CHECKS:
        for sentence in check(values[path.partition(".")[0]], labels):
            problems.append(sentence)
            invalid.add(path)
    sections = {name: kind(**values[name]) for name, kind in SECTIONS.items() if name}
    named = {_FIELD_OF_SECTION.get(name, name): section for name, section in sections.items()}
    wrong = tuple(_sentence(text) for text in wrong_arguments)
    return Reading(
        settings=Settings(**values[""], **named),
        problems=wrong + tuple(_sentence(text) for text in problems),
        wrong_arguments=wrong,
        invalid=frozenset(invalid),
        origins={path: found.place for path, found in used.items()},
        overrides=tuple(overrides),
        quoted=tuple(quoted),
    )


def _choose(sources: Sequence[Source], setting: Setting) -> tuple[Found | None, list[Found]]:
    """Return the value to use, and what says otherwise up to the environment and has no effect.

    What stands below the environment is a default for it by design, and is not looked at.
    """
    there: list[Found] = []
    for source in sources:
        if there and _PLACES.index(source.place) > _PLACES.index(ENVIRONMENT):
            break
        found = source.find(setting)
        if found is not None:
            there.append(found)
    switch = next((found for found in there if setting.path == SWITCH and _switches_off(found)), None)
    used = switch or next(iter(there), None)
    return used, [found for found in there if used is not None and _differs(setting, found, used)]


def _switches_off(found: Found) -> bool:
    return found.place == ENVIRONMENT and _parsed(BOOLEAN, found.value) is False


def is_switched_off(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment switches the Event Hub off, also for settings that code has made by itself.

    Args:
        environ: the environment; default ``os.environ``.
    """
    name = next(setting.name for setting in SETTINGS if setting.path == SWITCH)
    return _parsed(BOOLEAN, unquoted((os.environ if environ is None else environ).get(name))) is False


def _differs(setting: Setting, found: Found, used: Found) -> bool:
    return found is not used and _parsed(setting.kind, found.value) != _parsed(setting.kind, used.value)


def _parsed(kind: Kind, value: object) -> object:
    """Return a value as it would be used; what is not allowed is returned as it is."""
    try:
        return kind.parse(value)
    except NotAllowedError:
        return value


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


def _settle_transport(eventhub: dict[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    """Send inside WebSockets where a proxy is stated, since it lets nothing else through.

    The default does not count as stated where the YAML file repeats it.
    """
    if not eventhub.get("proxy"):
        return
    if _TRANSPORT not in labels or labels[_TRANSPORT].startswith(ROOT):
        eventhub["transport"] = Transport.WEBSOCKET
    if eventhub["transport"] is not Transport.WEBSOCKET:
        del eventhub["proxy"]
        yield (
            f"{labels[_PROXY]} is set, but {labels[_TRANSPORT]} is amqp, which no HTTP proxy carries, so the"
            " proxy is not used; make it websocket or leave one out."
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


#: What depends on more than one setting: the check, and the setting that is not used where it fails.
_CHECKS: Final = (
    (_name_the_hub, _HUB_NAME),
    (_settle_transport, _PROXY),
    (_check_patterns, _PATTERNS),
    (_check_hashes, _MODE),
)

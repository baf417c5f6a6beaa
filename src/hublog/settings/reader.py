"""The one reader of settings: argument > framework > environment > YAML > default.

One name is an exception: ``EVENTHUB_LOGGING_ENABLED=false`` in the environment wins over everything, since
it is the rollback.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from hublog.errors import SettingsError
from hublog.settings.connection import entity_path, read_connection_string
from hublog.settings.document import ROOT, Document, expand, load, unknown_keys
from hublog.settings.model import FIELD_OF_SECTION, SECTIONS, SETTINGS, Setting, Settings
from hublog.settings.user_patterns import problem_of
from hublog.settings.values import (
    BOOLEAN,
    InvalidValueError,
    Mask,
    Transport,
    ValueKind,
    is_empty,
    shown,
    unquoted,
)

#: Returns the value of a setting by its environment name; None means not set.
Lookup: TypeAlias = Callable[[str], object | None]

ARGUMENT: Final = "an argument"
APPLICATION: Final = "the application's configuration"
ENVIRONMENT: Final = "the environment"
YAML: Final = "the YAML file"
PLATFORM: Final = "the platform's environment"
DEFAULT: Final = "default"


#: Sources below the environment are defaults for it by design.
_DEFAULTS: Final = frozenset({YAML, PLATFORM})


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedValue:
    """A value that a source states for a setting.

    Attributes:
        label: names the value in a sentence.
        value: without quotation marks around it; it may be a secret, and is in no repr.
    """

    source: str
    label: str
    value: object = field(repr=False)
    was_quoted: bool = False


#: Returns the label of a setting in a source, and the value that it states; None or empty text is none.
Find: TypeAlias = Callable[[Setting], tuple[str, object]]


def _by_name(lookup: Lookup, suffix: str = "") -> Find:
    """Return how a source is read that knows a setting by its environment name."""
    return lambda setting: (f"{setting.name}{suffix}", lookup(setting.name))


def _by_path(
    content: Mapping[Any, object], prefix: str, problems: list[str], environ: Mapping[str, str] | None = None
) -> Find:
    """Return how a source in the shape of the YAML section is read; without an environment ``${NAME}`` stays.

    The problems get a sentence for each unknown key and each value that is malformed.
    """
    sections: dict[str, Mapping[Any, object]] = {"": content}
    problems += unknown_keys(content, "", prefix)
    for name in filter(None, SECTIONS):
        section = content.get(name)
        if isinstance(section, Mapping):
            sections[name] = section
            problems += unknown_keys(section, name, f"{prefix}{name}.")
        elif section is not None:
            problems.append(f"{prefix}{name} is {shown(section)}; it must be a mapping.")

    def find(setting: Setting) -> tuple[str, object]:
        label = f"{prefix}{setting.path}"
        value = sections.get(setting.section, {}).get(setting.field)
        if isinstance(value, str) and environ is not None and "${" in value:
            try:
                value = expand(value, environ)
            except InvalidValueError as error:
                problems.append(f"{label} {error}; it must be like ${{NAME:-default}}.")
                return label, None
        return label, value

    return find


def _of_platform(environ: Mapping[str, str]) -> Find:
    """Return how the variables of OpenTelemetry and the platform are read; malformed pairs are left out."""
    pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    attributes = {name.strip(): unquote(value.strip()) for name, _, value in pairs}

    def find(setting: Setting) -> tuple[str, object]:
        values = {name: (attributes if "." in name else environ).get(name, "") for name in setting.fallback}
        return next(
            ((name, value) for name, value in values.items() if not is_empty(unquoted(value))), ("", None)
        )

    return find


#: The environment switches the Event Hub off by this setting, whatever other sources say.
SWITCH: Final = "eventhub_logging.enabled"
_STRING: Final = "eventhub_logging.connection_string"
_STRING_FILE: Final = "eventhub_logging.connection_string_file"
_HUB_NAME: Final = "eventhub_logging.eventhub_name"
_TRANSPORT: Final = "eventhub_logging.transport"
_PROXY: Final = "eventhub_logging.proxy"
_PATTERNS: Final = "redaction.patterns"
_MODE: Final = "redaction.mode"
#: End of the problem of the mode ``hash`` without a key.
NO_HASH_KEY: Final = "is hash, but LOG_REDACTION_HASH_KEY is not set; secrets are masked."


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A value without effect, since a stronger source states another."""

    setting: Setting
    used: StatedValue
    ignored: StatedValue

    @property
    def is_switch(self) -> bool:
        """Whether the environment switches the Event Hub off."""
        return self.setting.path == SWITCH and self.used.source == ENVIRONMENT

    @property
    def text(self) -> str:
        """Both values and their sources as a sentence, without a secret."""
        used, ignored = (self._shown(value) for value in (self.used, self.ignored))
        reason = "; false in the environment always wins" if self.is_switch else ""
        return f"{self.setting.name}: {used} overrides {ignored}{reason}."

    def _shown(self, stated: StatedValue) -> str:
        value = "the value" if self.setting.kind.is_secret else shown(stated.value)
        return f"{value} in {stated.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The settings with their sources and problems.

    Attributes:
        settings: complete; an invalid value is replaced by its default.
        problems: one sentence for each invalid setting: what was seen, what is allowed, the name to change.
        wrong_arguments: the problems of arguments in code.
        invalid: paths of the settings whose stated value is not used.
        origins: source of each stated setting by its path.
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
        """A sentence about removed quotation marks, if there were any."""
        if not self.quoted:
            return ()
        return (
            f"Quotation marks around the value of {', '.join(self.quoted)} were removed; leave them out.",
        )

    @property
    def notices(self) -> tuple[str, ...]:
        """What the operator should know although it is not an error, a sentence each."""
        return (*(override.text for override in self.overrides if override.is_switch), *self.quoted_text)

    def origin_of(self, setting: Setting) -> str:
        """Return the source of the effective value of a setting."""
        return DEFAULT if setting.path in self.invalid else self.origins.get(setting.path, DEFAULT)

    def strict(self) -> Settings:
        """Return the settings.

        Raises:
            SettingsError: anything is invalid; it lists all problems.
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
    """Read all settings; an empty string counts as not set in every source.

    Args:
        arguments: values stated by code, in the shape of the YAML section, like
            ``{"eventhub_logging": {"batch_size": 5}}``.
        framework: returns a setting by its environment name from Flask's config or Django's settings.
        environ: the environment; default ``os.environ``.
        document: a YAML file, or its content.

    Returns:
        Settings and problems; an invalid value takes its default, not the value of the next source.

    Raises:
        ImportError: a YAML file is given and the extra ``yaml`` is missing.
        TypeError: ``document`` or ``arguments`` is of a wrong type.
    """
    if arguments is not None and not isinstance(arguments, Mapping):
        raise TypeError(f"The arguments must be a mapping, not {type(arguments).__name__}.")
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    wrong_arguments: list[str] = []
    section = load(document, problems) if document is not None else {}
    sources: dict[str, Find] = {
        ARGUMENT: _by_path(arguments or {}, "the argument ", wrong_arguments),
        APPLICATION: _by_name(framework or (lambda _: None), f" in {APPLICATION}"),
        ENVIRONMENT: _by_name(environ.get),
        YAML: _by_path(section, f"{ROOT}.", problems, environ),
        PLATFORM: _of_platform(environ),
    }
    return _read(sources, problems, wrong_arguments)


def _read(sources: Mapping[str, Find], problems: list[str], wrong_arguments: list[str]) -> Reading:
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    used: dict[str, StatedValue] = {}
    overrides: list[Override] = []
    invalid: set[str] = set()
    quoted: list[str] = []
    for setting in SETTINGS:
        choice, ignored = _choose(sources, setting)
        if choice is None:
            continue
        quoted += [each.label for each in (choice, *ignored) if each.was_quoted]
        overrides += [Override(setting=setting, used=choice, ignored=each) for each in ignored]
        if setting.path == SWITCH:
            problems += [_problem(setting, each) for each in ignored if _is_unclear_switch(each)]
        used[setting.path] = choice
        try:
            values[setting.section][setting.field] = setting.kind.parse(choice.value)
        except InvalidValueError as error:
            problem = _problem(setting, choice, str(error))
            (wrong_arguments if choice.source == ARGUMENT else problems).append(problem)
            invalid.add(setting.path)
    labels = {path: value.label for path, value in used.items() if path not in invalid}
    for check, path in _CHECKS:
        for sentence in check(values[path.partition(".")[0]], labels):
            problems.append(sentence)
            invalid.add(path)
    sections = {name: kind(**values[name]) for name, kind in SECTIONS.items() if name}
    named = {FIELD_OF_SECTION.get(name, name): section for name, section in sections.items()}
    wrong = tuple(_capitalized(text) for text in wrong_arguments)
    return Reading(
        settings=Settings(**values[""], **named),
        problems=wrong + tuple(_capitalized(text) for text in problems),
        wrong_arguments=wrong,
        invalid=frozenset(invalid),
        origins={path: value.source for path, value in used.items()},
        overrides=tuple(overrides),
        quoted=tuple(quoted),
    )


def _choose(sources: Mapping[str, Find], setting: Setting) -> tuple[StatedValue | None, list[StatedValue]]:
    """Return the value to use, and the values down to the environment that differ from it."""
    stated: list[StatedValue] = []
    for source, find in sources.items():
        if stated and source in _DEFAULTS:
            break
        label, value = find(setting)
        plain = unquoted(value)
        if not is_empty(plain):
            stated.append(StatedValue(source=source, label=label, value=plain, was_quoted=plain is not value))
    switch = next((each for each in stated if setting.path == SWITCH and _switches_off(each)), None)
    used = switch or next(iter(stated), None)
    return used, [each for each in stated if used is not None and _differs(setting, each, used)]


def _problem(setting: Setting, stated: StatedValue, reason: str = "") -> str:
    """Return the sentence about a value that is not allowed; without a reason it is shown."""
    return f"{stated.label} {reason or f'is {shown(stated.value)}'}; it must be {setting.kind.allowed}."


def _switches_off(stated: StatedValue) -> bool:
    return stated.source == ENVIRONMENT and _parsed(BOOLEAN, stated.value) is False


def _is_unclear_switch(stated: StatedValue) -> bool:
    """Whether the switch in the environment is neither on nor off, so that it may have been meant as off."""
    return stated.source == ENVIRONMENT and not isinstance(_parsed(BOOLEAN, stated.value), bool)


def is_switched_off(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment switches the Event Hub off, also for settings that code created by itself."""
    name = next(setting.name for setting in SETTINGS if setting.path == SWITCH)
    return _parsed(BOOLEAN, unquoted((os.environ if environ is None else environ).get(name))) is False


def _differs(setting: Setting, stated: StatedValue, used: StatedValue) -> bool:
    return stated is not used and _parsed(setting.kind, stated.value) != _parsed(setting.kind, used.value)


def _parsed(kind: ValueKind, value: object) -> object:
    """Return the parsed value; one that is not allowed is returned unchanged."""
    try:
        return kind.parse(value)
    except InvalidValueError:
        return value


def _read_file(eventhub: dict[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    """Use the connection string in the file, where none is stated."""
    path = eventhub.get("connection_string_file")
    if path is None or eventhub.get("connection_string"):
        return
    try:
        eventhub["connection_string"] = read_connection_string(path)
    except InvalidValueError as error:
        yield f"{labels[_STRING_FILE]} {error}; it must be a file that holds a connection string."


def _name_the_hub(eventhub: dict[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    """Use the event hub that the connection string names.

    With another name the hub would reject the key, so the connection string wins, and a different stated name
    is a problem. The default does not count as stated, even if the YAML file repeats it.
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
            f" {labels.get(_STRING) or labels[_STRING_FILE]} names another event hub, which is used;"
            " make them equal or leave one out."
        )


def _settle_transport(eventhub: dict[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    """Use WebSockets if a proxy is stated, since it carries nothing else.

    The default does not count as stated, even if the YAML file repeats it.
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
    """Leave out patterns that must not run."""
    patterns = redaction.get("patterns", ())
    problems = {pattern: problem_of(pattern) for pattern in patterns}
    for pattern, problem in problems.items():
        if problem:
            yield f"{labels[_PATTERNS]} has {shown(pattern)}, which {problem}; it is left out."
    if patterns:
        redaction["patterns"] = tuple(pattern for pattern in patterns if not problems[pattern])


def _check_hashes(redaction: dict[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    """Mask secrets if the mode is ``hash`` and there is no key."""
    is_hashing = redaction.get("enabled", True) and redaction.get("mode") is Mask.HASH
    if is_hashing and not redaction.get("hash_key"):
        del redaction["mode"]
        yield f"{labels[_MODE]} {NO_HASH_KEY}"


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("the ") else text


#: Checks of several settings, each with the setting that is not used if it fails.
_CHECKS: Final = (
    (_read_file, _STRING_FILE),
    (_name_the_hub, _HUB_NAME),
    (_settle_transport, _PROXY),
    (_check_patterns, _PATTERNS),
    (_check_hashes, _MODE),
)

"""Where a value comes from: argument, framework, environment, YAML file or platform."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from hublog.settings.document import ROOT, expand, unknown_keys
from hublog.settings.table import SECTIONS, Setting
from hublog.settings.values import NotAllowedError, is_empty, shown, unquoted

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

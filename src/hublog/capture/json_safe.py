"""Any Python object becomes plain JSON data: bounded, without a database query, without an error.

Lazy objects, query sets, models, forms and requests of Django and what SQLAlchemy has mapped are never
evaluated; everything else that is no JSON type is shown as text, and a text that cannot be made is
replaced by a mark that says so.
"""

import dataclasses
import enum
import math
import operator
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from datetime import date, time, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from hublog.redaction.text_ranges import MARGIN

MAX_DEPTH: Final = 12
MAX_ITEMS: Final = 1_000
#: Of all values of a record.
MAX_ITEMS_IN_ALL: Final = 10_000
MAX_TEXT: Final = 65_536
MAX_KEY: Final = 256
#: Of what is added to a record or bound, at the top.
MAX_NAME: Final = 1_024
MAX_TEXT_IN_ALL: Final = 262_144
#: What a whole number of 64 bits, which is all that ADX holds, stays below.
INT64: Final = 1 << 63
MAX_INT_BITS: Final = 1_024
#: Items of a container in a dataclass that are looked at before its repr is asked for.
_LOOK_MAX: Final = 100

#: Bytes that a character takes in UTF-8 at most.
_UTF8_MAX: Final = 4
#: What stands for bytes that are no UTF-8, and how the encoder writes what the decoder makes of them.
_ESCAPED: Final = {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
_LONE: Final = rb"\udc"
_SCALARS: Final = frozenset({str, bool, type(None)})


def mark(text: str) -> str:
    """Return a text for a value that cannot be shown, unlike the application's own values."""
    return f"<{text}>"


def clean(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot hold, by their escaped form."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def text_of(value: object, most: int | None = MAX_TEXT, *, show: Callable[[object], str] = str) -> str:
    """Return ``str(value)``, or a mark that names the type and the error if that fails.

    Args:
        value: anything.
        most: characters to keep; None keeps all.
        show: makes the text.
    """
    try:
        return clean(str.__str__(show(value)[:most]))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a log call never raises
        return mark(f"{type(value).__name__} that cannot be shown: {type(error).__name__}")


def whole_text_of(value: object) -> str:
    """Return all of ``str(value)``, or a mark as ``text_of`` does."""
    return text_of(value, None)


def key_of(key: object, most: int = MAX_KEY) -> str:
    """Return the key of a mapping as a name of at most ``most`` characters."""
    if type(key) is str:
        return key if len(key) <= most and key.isascii() else clean(key[:most])
    return text_of(key[:most] if isinstance(key, bytes) else key)[:most]


class Distinct:
    """Gives keys of one mapping that have become equal names of their own, in constant time for each.

    Which names are taken the keys themselves say, and a client may have chosen them. So what follows a name
    is counted, and no number is tried twice for it.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def name(self, name: str, taken: Container[str]) -> str:
        """Return ``name`` if it is not taken; else with an underscore, and from the third on a number."""
        if name not in taken:
            return name
        number = self._last.get(name, 0)
        while True:
            number += 1
            distinct = f"{name}_{number}" if number > 1 else f"{name}_"
            if distinct not in taken:
                self._last[name] = number
                return distinct


def plain(value: object, *, cut: Callable[[str, int], str] | None = None) -> object:
    """Return ``value`` as something that JSON holds.

    Args:
        value: anything, hostile objects included.
        cut: returns the first characters of a longer text, up to a number; None cuts wherever that is.

    Returns:
        None, bool, int (64 bits), finite float, str, or lists and string-keyed dicts of these; at
        most ``MAX_ITEMS`` values in all and ``MAX_DEPTH`` levels.
    """
    kind = type(value)
    is_plain = (
        (kind is str and len(value) <= MAX_TEXT and value.isascii())  # type: ignore[arg-type, attr-defined]  # it is a str
        or (kind is int and -INT64 <= value < INT64)  # type: ignore[operator]  # it is an int
        or kind is bool
        or value is None
    )
    return value if is_plain else Plain(cut).value(value)


class Plain:
    """Converts the values of one record, which together are bounded.

    Counts what it has opened, so that shared or cyclic data cannot grow without end.

    Args:
        cut: see ``plain``.
        most: characters of all strings together.
    """

    __slots__ = ("_cut", "_in_all", "_left", "_most", "_open", "_text_left")

    def __init__(self, cut: Callable[[str, int], str] | None = None, *, most: int = MAX_TEXT_IN_ALL) -> None:
        self._cut = cut or (lambda text, most: text[:most])
        self._left = 0
        self._in_all = MAX_ITEMS_IN_ALL
        self._most = self._text_left = most
        self._open: set[int] = set()

    @property
    def characters(self) -> int:
        """How many characters the strings have had so far."""
        return self._most - self._text_left

    def value(self, value: object) -> object:
        """Return one value as ``plain`` does."""
        given = self._left = min(MAX_ITEMS, self._in_all)
        try:
            return self.visit(value, MAX_DEPTH)
        finally:
            self._in_all -= given - self._left

    def visit(self, value: object, depth: int) -> object:
        """Return what is inside of a value; ``depth`` levels of containers may still be opened."""
        self._left -= 1
        kind = type(value)
        if kind is str:
            return self._text(value)  # type: ignore[arg-type]  # it is a str
        if value is None or kind is bool:
            return value
        if kind is int:
            return _integer(value)  # type: ignore[arg-type]  # it is an int
        if kind is float:
            return value if math.isfinite(value) else mark(repr(value))  # type: ignore[arg-type]  # it is a float
        try:
            return self._other(value, kind, depth)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a log call never raises
            return mark(f"{kind.__name__} that cannot be shown: {type(error).__name__}")

    def _other(self, value: Any, kind: type, depth: int) -> object:  # noqa: ANN401  # anything at all
        convert = _converter(kind)
        if convert is Plain.binary:
            return self.binary(value)
        if convert not in _CONTAINERS:
            shown = convert(value)
            return self._text(shown) if type(shown) is str else shown
        if depth <= 0:
            return mark("too deep")
        if id(value) in self._open:
            return mark("cycle")
        self._open.add(id(value))
        try:
            if convert is Plain.sequence:
                return self.sequence(value, depth)
            return self.mapping(_named(value) if convert is _named else value, depth)
        finally:
            self._open.discard(id(value))

    def binary(self, value: bytes | bytearray | memoryview) -> str:
        """Decode what is kept, and as far beyond as a secret may reach, but no more."""
        room = min(MAX_TEXT, max(self._text_left, 0))
        text, is_whole = _decoded(value, room + MARGIN) if room else ("", False)
        if is_whole and len(text) <= room:
            return self._text(text)
        shown = clean(self._cut(text, room)) if room else ""
        self._text_left -= max(len(shown), room)
        size = value.nbytes if isinstance(value, memoryview) else len(value)
        return shown + mark(f"cut off, {size} bytes in all")

    def _text(self, value: str) -> str:
        room = min(MAX_TEXT, max(self._text_left, 0))
        if len(value) <= room:
            text = clean(value)
            self._text_left -= len(text)
            return text
        text = clean(self._cut(value, room)) if room else ""
        self._text_left -= max(len(text), room)
        return text + mark(f"{len(value) - room} characters left out")

    def mapping(self, value: Mapping[Any, object], depth: int) -> dict[str, object]:
        """Return the items of a mapping; see ``visit``."""
        shown: dict[str, object] = {}
        distinct = Distinct()
        for key, item in _limited(value.items(), self._left):
            if self._left <= 0:
                break
            name = distinct.name(key_of(key), shown)  # 1 and "1" are two keys: keep both
            shown[name] = self.visit(item, depth - 1)
        if len(shown) < len(value):
            shown[mark("left out")] = len(value) - len(shown)
        return shown

    def sequence(self, value: Collection[object], depth: int) -> list[object]:
        """Return the items of a sequence or set; see ``visit``."""
        shown: list[object] = []
        for item in _limited(value, self._left):
            if self._left <= 0:
                break
            shown.append(self.visit(item, depth - 1))
        if len(shown) < len(value):
            shown.append(mark(f"{len(value) - len(shown)} left out"))
        return shown


def _limited(items: Iterable[Any], most: int) -> Iterable[Any]:
    # A list first: the application may change its container in another thread while we read.
    return list(islice(items, max(most, 0)))


def _integer(value: int) -> int | str:
    if -INT64 <= value < INT64:
        return value
    if value.bit_length() <= MAX_INT_BITS:
        return str(value)
    return mark(f"int of {value.bit_length()} bits")


def _decoded(value: bytes | bytearray | memoryview, most: int) -> tuple[str, bool]:
    """Return the first characters of bytes, at most ``most``, and whether these are all."""
    if isinstance(value, memoryview):
        value = value.cast("B") if value.c_contiguous else value.tobytes()
    data = bytes(value[: most * _UTF8_MAX])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:  # or the last character was cut in two, of which nothing is kept then
        text = _escaped(data, most + 1)
    return text[:most], len(text) <= most and len(data) == len(value)


def _escaped(data: bytes, most: int) -> str:
    r"""Return bytes as the decoder's ``backslashreplace`` does, ``\xff`` for each that is no UTF-8.

    That calls a function for each run of them; here all is done at once, in a hundredth of the time.
    """
    text = data.decode("utf-8", "surrogateescape")[:most]
    if _LONE in data:  # as a text, which must not be taken for what is to be replaced
        return text.translate(_ESCAPED)
    return text.encode("utf-8", "backslashreplace").replace(_LONE, b"\\x").decode("utf-8")


def _from_enum(value: enum.Enum) -> object:
    if isinstance(value, int):
        return _integer(int(value))  # HTTPStatus.OK is counted as 200
    inner = value.value
    return inner if type(inner) in _SCALARS else value.name


def _from_float(value: float) -> object:
    number = float(value)
    return number if math.isfinite(number) else mark(repr(number))


def _from_exception(value: BaseException) -> str:
    return f"{type(value).__name__}: {whole_text_of(value)}"


def _from_dataclass(value: Any) -> str:  # noqa: ANN401  # any dataclass
    # Its repr obeys field(repr=False), where secrets are kept out of sight; so does what stands in for it.
    if not _holds_late(value):
        return str.__str__(repr(value))
    items = _shown_fields(value).items()
    shown = (f"{name}={plain(item) if _holds_late(item) else repr(item)}" for name, item in items)
    return f"{type(value).__qualname__}({', '.join(shown)})"


def _shown_fields(value: Any) -> dict[str, object]:  # noqa: ANN401  # any dataclass
    """Return what the repr that ``dataclasses`` has made shows; nothing of a class with a repr of its own."""
    made = getattr(type(value).__repr__, "__wrapped__", None)
    if getattr(getattr(made, "__code__", None), "co_filename", "") != "<string>":
        return {}
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}


def _holds_late(value: object, depth: int = 3) -> bool:
    """Whether a repr of this would evaluate what is not to be evaluated."""
    kind: type = type(value)
    convert = _converter(kind)
    if convert in _LATE or depth <= 0:
        return convert in _LATE
    inside: Iterable[object] = ()
    if convert is _from_dataclass:
        inside = _shown_fields(value).values()
    elif convert is Plain.mapping:
        inside = value.values()  # type: ignore[attr-defined]  # it is a mapping
    elif convert in _CONTAINERS:
        inside = value  # type: ignore[assignment]  # it is a sequence
    return any(_holds_late(item, depth - 1) for item in _limited(inside, _LOOK_MAX))


def _unevaluated(value: object) -> str:
    return mark(f"{type(value).__module__}.{type(value).__qualname__}, not evaluated")


def _model(value: Any) -> str:  # noqa: ANN401  # a Django model
    key = value.__dict__.get(value._meta.pk.attname)  # noqa: SLF001  # Django's documented model API
    return mark(f"{type(value).__qualname__} pk={text_of(key)}")


def _promise(value: Any) -> str:  # noqa: ANN401  # what django.utils.functional.lazy gives
    # A translation or a path needs no query, and its text is wanted; of others nobody knows what they do.
    function = value.__reduce__()[1][0]
    return whole_text_of(value) if function.__module__.startswith(_HARMLESS) else _unevaluated(value)


def _mapped(value: Any) -> str:  # noqa: ANN401  # a mapped instance of SQLAlchemy
    # Its repr may load what is expired or deferred; the identity is what it was loaded by.
    key = value._sa_instance_state.identity  # noqa: SLF001  # the documented name of the state
    return mark(f"{type(value).__qualname__} pk={', '.join(map(text_of, key or ('None',)))}")


def timespan(value: timedelta) -> str:
    """Return a duration as Kusto writes timespans and ``totimespan()`` reads them: ``-1.02:03:04.5000000``.

    Days where there are any, the time, and a fraction in units of 100 ns where there is one.
    """
    sign = "-" if value < timedelta() else ""
    value = abs(value)
    hours, rest = divmod(value.seconds, 3_600)
    minutes, seconds = divmod(rest, 60)
    days = f"{value.days}." if value.days else ""
    fraction = f".{value.microseconds:06d}0" if value.microseconds else ""
    return f"{sign}{days}{hours:02d}:{minutes:02d}:{seconds:02d}{fraction}"


def _named(value: Any) -> dict[object, object]:  # noqa: ANN401  # a named tuple or a row of SQLAlchemy
    """Return the items by their names; those of equal names, and of odd ones, by their places."""
    names, items = tuple(value._fields), list(islice(value, MAX_ITEMS))  # its documented name
    if len(names) != len(value) or not all(type(name) is str for name in names):
        return dict(zip(map(str, range(len(items))), items, strict=False))
    named: dict[object, object] = {}
    for place, (name, item) in enumerate(zip(names, items, strict=False)):
        named[f"{name}_{place}" if name in named else name] = item
    return named


#: Bounded in their number of items and in their depth.
_CONTAINERS: Final[frozenset[Callable[..., object]]] = frozenset({Plain.mapping, Plain.sequence, _named})
#: Modules whose functions ``django.utils.functional.lazy`` may call here: translations and paths.
_HARMLESS: Final = ("django.utils.translation", "django.urls")
_LAZY = {
    "django.utils.functional.LazyObject": _unevaluated,
    "django.utils.functional.Promise": _promise,
    "django.db.models.query.QuerySet": _unevaluated,
    "django.db.models.manager.BaseManager": _unevaluated,
    "django.http.request.HttpRequest": _unevaluated,
    "django.db.models.base.Model": _model,
    "django.core.paginator.Page": _unevaluated,
    "django.forms.boundfield.BoundField": _unevaluated,
    "django.forms.forms.BaseForm": _unevaluated,
    "django.forms.formsets.BaseFormSet": _unevaluated,
    "django.template.context.BaseContext": _unevaluated,
    "sqlalchemy.engine.row.Row": _named,
    "sqlalchemy.ext.associationproxy._AssociationCollection": _unevaluated,
    "werkzeug.local.LocalProxy": _unevaluated,
}

_LATE: Final = frozenset({_unevaluated, _promise, _model, _mapped})

#: First match wins: an enum may be an int, a bool is one.
_KINDS: tuple[tuple[type | tuple[type, ...], Callable[..., object]], ...] = (
    (enum.Enum, _from_enum),
    (str, whole_text_of),
    (int, lambda value: _integer(int(value))),
    (float, _from_float),
    ((bytes, bytearray, memoryview), Plain.binary),
    ((date, time), lambda value: value.isoformat()),
    (timedelta, timespan),
    (BaseException, _from_exception),
    (type, lambda value: f"{value.__module__}.{value.__qualname__}"),
    ((list, tuple, set, frozenset, deque), Plain.sequence),
    (Mapping, Plain.mapping),
)


@lru_cache(maxsize=4_096)  # classes may be made at run time
def _converter(kind: type) -> Callable[..., object]:
    """Return what shows the objects of a class: a function of the object, or a method of ``Plain``."""
    for base in kind.__mro__:
        lazy = _LAZY.get(f"{base.__module__}.{base.__qualname__}")
        if lazy is not None:
            return lazy
    if hasattr(kind, "_sa_class_manager"):
        return _mapped
    if issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple):
        return _named
    for classes, converter in _KINDS:
        if issubclass(kind, classes):
            return converter
    if hasattr(kind, "__index__"):  # a whole number of numpy, say
        return lambda value: _integer(operator.index(value))
    return _from_dataclass if dataclasses.is_dataclass(kind) else whole_text_of

"""The arguments of a message, where their names or its template say that they are secret.

``%`` drops the name of ``%(password)s``, and arguments that do not fit stand without their template; so both
are looked at before.
"""

import re
from collections.abc import Mapping
from typing import Final

from hublog.capture.json_safe import plain
from hublog.redaction.redactor import Redactor
from hublog.redaction.secret_names import Secrecy

_WORD: Final = re.compile(r"[\w-]{1,96}+")
#: A longer argument is no name.
_NAME_LONGEST: Final = 96
#: Arguments that do not fit are looked at up to this number; then all of them count as secret.
_NAMES_MAX: Final = 100


class _Named:
    """Arguments by name, as ``%`` takes them: one with a secret name is given as its mark."""

    __slots__ = ("_args", "_redactor")

    def __init__(self, args: Mapping[object, object], redactor: Redactor) -> None:
        self._args = args
        self._redactor = redactor

    def __getitem__(self, name: str) -> object:
        value = self._args[name]
        secrecy = self._redactor.secrecy(name)
        return self._redactor.hidden(plain(value), secrecy) if secrecy else value

    def __str__(self) -> str:
        return str(self._args)  # a mapping may be the one argument of "%s"

    def __repr__(self) -> str:
        return repr(self._args)


def arguments(args: object, redactor: Redactor) -> object:
    """Return what ``%`` is to be given in place of a record's arguments, which stay as they are."""
    return _Named(args, redactor) if isinstance(args, Mapping) else args


def unfit(template: str, args: object, redactor: Redactor) -> object:
    """Return arguments that do not fit their template as plain data.

    Where the template or an argument names a secret, each text among them counts as one.
    """
    shown = plain(args, cut=redactor.head)
    listed = shown if isinstance(shown, list) else [shown]
    texts = [item for item in listed if isinstance(item, str) and len(item) <= _NAME_LONGEST]
    names = {found[0] for text in (template[: _NAME_LONGEST * 10], *texts) for found in _WORD.finditer(text)}
    if len(names) > _NAMES_MAX or any(map(redactor.secrecy, names)):
        return redactor.hidden(shown, Secrecy.TEXT) if redactor.is_on else shown
    return redactor.value(shown)

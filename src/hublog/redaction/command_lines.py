"""Secrets in command lines, whose options have one letter: ``mysql -phunter2``, ``curl -u bob:hunter2``.

A letter means a secret behind the name of some program only, so each program has its own; options with a
name of their own (``--password``) are found like all names. A line is read as a shell takes it and as the
``repr`` of a list of arguments, in which a quotation mark, a comma and a blank stand between them.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from hublog.redaction.key_values import is_placeholder
from hublog.redaction.text_ranges import Span


class _Options(NamedTuple):
    """Options of a program.

    Attributes:
        attached: letters whose secret follows without a blank.
        apart: letters whose secret follows behind a blank, or without one.
        sign_ins: letters and names behind which ``user:password`` stands.
    """

    attached: str = ""
    apart: str = ""
    sign_ins: tuple[str, ...] = ()


#: Programs by their options; an asterisk stands for the rest of a name: ``mysqldump``, ``redis-cli``.
_PROGRAMS: Final = {
    name: options
    for names, options in (
        ("mysql* mariadb* 7z*", _Options(attached="p")),
        ("curl", _Options(sign_ins=("u", "U", "-user", "-proxy-user"))),
        ("http https xh", _Options(sign_ins=("a", "-auth"))),
        ("lftp", _Options(sign_ins=("u",))),
        ("smbclient rpcclient", _Options(sign_ins=("U", "-user"))),
        ("sshpass mongo* login rabbitmqadmin psexec* cqlsh influx*", _Options(apart="p")),
        ("sqlcmd bcp isql tsql ipmitool zip unzip mosquitto*", _Options(apart="P")),
        ("redis* valkey*", _Options(apart="a")),
        ("ldap*", _Options(apart="w")),
        ("snmp*", _Options(apart="AX")),
    )
    for name in names.split()
}
_BEGINNINGS: Final = "|".join(name[:-1] for name in _PROGRAMS if name.endswith("*"))
_NAMES: Final = "|".join(name for name in _PROGRAMS if not name.endswith("*"))
_PROGRAM: Final = re.compile(
    rf"""(?<![\w.-])(?:({_BEGINNINGS})[\w-]{{0,24}}+|({_NAMES}))(?:\.exe)?(?=["']?,?[ ]["']?|\Z)"""
)
#: Between two arguments: blanks, or those of a list.
_GAP: Final = r"""(?:\\{0,7}["'],[ ]\\{0,7}["']|[ \t]{1,8}+)"""
_BEFORE: Final = r"""(?<=[ "'])"""
_OPTION: Final = re.compile(rf"""{_BEFORE}-([A-Za-z]|-(?:proxy-)?user|-auth)(=|{_GAP})?""")
#: In quotes, without them, or in one that is not closed: then it goes to the end of the line.
_VALUE: Final = re.compile(
    r"""\\{0,7}"((?:[^"\\]++|\\.)*+)"|\\{0,7}'((?:[^'\\]++|\\.)*+)'|((?:[^\s"'\\]++|\\(?!["']))++)"""
    r"""|\\{0,7}["']([^\r\n]++)"""
)
#: A closing quote is looked for so far, or many that are open would each read the whole text.
_VALUE_LONGEST: Final = 1_024
_SIGN_IN: Final = re.compile(r"""[^\s:%,"']{0,128}+([:%,])(?!//)""")
_END: Final = re.compile(r"[\r\n;|]|&&")
_LINE: Final = re.compile(r"[^\r\n]*+")
#: How openssl takes a password.
_OTHER: Final = re.compile(r"""(?<=[ "'])-pass(?:in|out)?(?:["'],)?[ ]["']?pass:""")
_ANY_OPTION: Final = re.compile(r"""[ "']-[A-Za-z-]""")


def may_hold_command(text: str) -> bool:
    """Return whether ``find_in_commands`` could find anything; at a fraction of its cost."""
    if "-" not in text or not (" -" in text or "'-" in text or '"-' in text):
        return False
    return _ANY_OPTION.search(text) is not None and ("-pass" in text or _PROGRAM.search(text) is not None)


def find_in_commands(text: str) -> Iterator[Span]:
    """Find secrets behind options of one letter, each behind the program it belongs to."""
    programs = list(_PROGRAM.finditer(text))
    done = 0
    for number, program in enumerate(programs):
        if program.start() < done:  # in the value of an option
            continue
        following = programs[number + 1].start() if number + 1 < len(programs) else len(text)
        stop = _END.search(text, program.end(), following)
        options = _options(program)
        for span in _find_options(text, program.end(), stop.start() if stop else following, options):
            done = span.end
            yield span
    done = 0
    for other in _OTHER.finditer(text):
        value = _match_value(text, other.end()) if other.start() >= done else None
        if value and not is_placeholder(value[0]):
            span = _span(text, other.end(), value)
            done = span.end
            yield span


def find_in_arguments(arguments: list[str]) -> dict[int, int]:
    """Find secrets in the arguments of a program, given one by one; the first of them names it.

    Returns:
        Where in an argument the secret begins, which goes on to its end, by the argument's place.
    """
    starts: dict[int, int] = {}
    options = _Options()
    for place, argument in enumerate(arguments):
        program = _PROGRAM.fullmatch(argument.rpartition("/")[2])
        if program:
            options = _options(program)
        name = argument[1:] if argument.startswith("-") else ""
        if len(name) > 1 and name[0] in options.attached + options.apart:
            starts[place] = 2
        elif name in (*options.apart, *options.sign_ins) and place + 1 < len(arguments):
            following = arguments[place + 1]
            user = _SIGN_IN.match(following) if name in options.sign_ins else None
            start = user.end() if user else (len(following) if name in options.sign_ins else 0)
            if start < len(following) and not following.startswith("-"):
                starts[place + 1] = start
    return {place: start for place, start in starts.items() if not is_placeholder(arguments[place][start:])}


def _options(program: re.Match[str]) -> _Options:
    return _PROGRAMS[program[2] or f"{program[1]}*"]


def _find_options(text: str, start: int, end: int, options: _Options) -> Iterator[Span]:
    at = start
    while option := _OPTION.search(text, at, end):
        at = option.end()
        letter, gap = option[1], option[2] or ""
        is_apart = bool(gap)
        if letter in options.sign_ins:
            span = _sign_in(text, at)
        elif letter in options.apart or (letter in options.attached and not is_apart):
            span = _value(text, at, is_apart=is_apart)
        else:
            # Letters may stand together, and the value of an option is no option itself.
            at = option.end() - len(gap)
            continue
        if span:
            at = span.end
            yield span


def _value(text: str, at: int, *, is_apart: bool) -> Span | None:
    value = _match_value(text, at)
    if not value or (is_apart and value[0].startswith("-")):
        return None
    start, end = value.span(value.lastindex or 0)
    return None if is_placeholder(text[start:end]) else _span(text, start, value)


def _sign_in(text: str, at: int) -> Span | None:
    value = _match_value(text, at)
    start, end = value.span(value.lastindex or 0) if value else (at, at)
    user = _SIGN_IN.match(text, start, end)
    if not value or not user or user.end() == end or is_placeholder(text[user.end() : end]):
        return None
    return _span(text, user.end(), value)


def _match_value(text: str, at: int) -> re.Match[str] | None:
    return _VALUE.match(text, at, at + _VALUE_LONGEST)


def _span(text: str, start: int, value: re.Match[str]) -> Span:
    """Return where a secret stands; one that is longer than was looked at goes to the end of the line."""
    end = value.end(value.lastindex or 0)
    rest = _LINE.match(text, end) if end - value.start() >= _VALUE_LONGEST else None
    return Span(start, rest.end() if rest else end, "value of an option")

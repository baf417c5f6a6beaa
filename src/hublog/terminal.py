"""What a terminal obeys instead of showing it, written out: one set for console and local tools."""

import re
from typing import Final

#: The logger whose messages are in colours that Werkzeug has given them.
WERKZEUG: Final = "werkzeug"
#: Characters that move the cursor, end a line, turn the direction of writing or are not seen: controls (C0
#: and C1) but for tab and line feed, formats (category Cf), separators of lines and paragraphs, fillers,
#: selectors of variants beyond those of emoji, lone surrogates.
#: Source: Unicode 16, general category and Default_Ignorable_Code_Point.
_HOSTILE: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u17b4-\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_IN_LINES: Final = re.compile(f"[{_HOSTILE}]")
_ANY: Final = re.compile(f"[\t\n{_HOSTILE}]")
#: Colours and weights as terminals take them; what is left of a broken one is written out like the rest.
_COLOURS: Final = re.compile(r"\x1b\[[0-9;:]*m")
#: How Werkzeug colours its lines: a whole text, or the request line behind the first quotation mark.
_WERKZEUG: Final = re.compile(r'([^"\x1b]*"?)((?:\x1b\[(?:1|3[1-6])m){1,4})(.*)\x1b\[0m(.*)', re.DOTALL)
_INDENT: Final = "    "
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LAST_OF_BMP: Final = 0xFFFF


def harmless(text: str) -> str:
    r"""Return a text with what a terminal would obey written out, like ``\x1b``; also line breaks."""
    return text if is_usual(text) else _ANY.sub(_written_out, text)


def harmless_json(line: bytes) -> bytes:
    """Return a line of JSON with the same meaning that a terminal does not obey."""
    return _ANY.sub(_as_json, line.decode("utf-8", "surrogateescape")).encode()


def harmless_lines(text: str) -> str:
    """Return a text whose further lines are indented, and that a terminal does not obey.

    Colours are left out, since they may conceal what follows; tabs stay.
    """
    return text if is_usual(text) else _lines(_COLOURS.sub("", text) if "\x1b" in text else text)


def of_werkzeug(text: str) -> str:
    """Return what ``harmless_lines`` does of a message of Werkzeug's log, in the colours it has.

    What a client has put into the path has no part in them.
    """
    match = _WERKZEUG.fullmatch(text) if "\x1b" in text else None
    if not match:
        return harmless_lines(text)
    before, colours, within, after = match.groups()
    return f"{_lines(before)}{colours}{_lines(within)}\x1b[0m{_lines(after)}"


def without_colours(text: str) -> str:
    """Return a message of Werkzeug's log without the colours it has given it, and nothing else changed."""
    match = _WERKZEUG.fullmatch(text) if "\x1b" in text else None
    return f"{match[1]}{match[3]}{match[4]}" if match else text


def is_usual(text: str) -> bool:
    """Whether a text needs no look: it is one line of ASCII."""
    return text.isascii() and text.isprintable()


def _lines(text: str) -> str:
    return _IN_LINES.sub(_written_out, text).replace("\n", f"\n{_INDENT}")


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFF:  # noqa: PLR2004  # what two hex digits hold
        return _SHORT.get(match[0]) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _LAST_OF_BMP else f"\\U{code:08x}"


def _as_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))

"""Nothing that we say ourselves is taken for a secret: our advice reaches the operator whole."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hublog
from hublog.doctor.steps import fail
from hublog.redaction.redactor import DEFAULT
from hublog.senders.azure_errors import translate

ROOT = Path(hublog.__file__).parent
#: What stands in place of what a message is filled with.
FILLED = "7"


def texts_of(tree: ast.AST) -> Iterator[str]:
    """Return the texts in a module, filled in, without its docstrings and without what is sent to a proxy."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values
            )
            if "\r\n" not in text:
                yield text
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


def messages() -> list[str]:
    """Return what we say, in messages, reports, advice, checks and help: texts of several words."""
    found = [
        text
        for file in sorted(ROOT.rglob("*.py"))
        if file.parent.name != "redaction"
        for text in texts_of(ast.parse(file.read_text("utf-8")))
        if len(text.split()) > 2
    ]
    return list(dict.fromkeys(found))


def test_there_are_messages():
    assert len(messages()) > 800


@pytest.mark.parametrize("text", messages())
def test_no_message_of_ours_holds_what_redaction_takes(text):
    assert DEFAULT.text(text) == text
    assert (
        DEFAULT.text(f"It failed. {text[:1].upper()}{text[1:]}.")
        == f"It failed. {text[:1].upper()}{text[1:]}."
    )


class AuthenticationError(Exception):
    """Goes by the name of the client's error."""


def test_the_doctor_shows_what_a_credential_says_without_the_secret_in_it():
    error = translate(ValueError("cannot sign in with client_secret='hunter2' password: hunter2, Splunk"))
    shown = fail("event hub", f"'logs' could not be opened for sending: {error}", "Try password=hunter2.")
    assert "hunter2" not in f"{shown.detail} {shown.hint}"
    assert "cannot sign in with client_secret=" in shown.detail


def test_the_doctor_shows_our_advice_whole():
    error = translate(AuthenticationError("CBS Token authentication failed."))
    assert fail("event hub", str(error), error.advice).hint == error.advice
    assert error.advice == "the namespace refuses the key or token: check the connection string"

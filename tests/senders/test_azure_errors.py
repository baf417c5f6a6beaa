import pytest
from azure.eventhub.exceptions import (
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    EventDataSendError,
    EventHubError,
    OperationTimeoutError,
)
from hypothesis import given
from hypothesis import strategies as st

from hublog.errors import (
    EventTooLargeError,
    PermanentSendError,
    RejectedSendError,
    SendError,
    TransientSendError,
)
from hublog.senders.azure_errors import BUSY_WAIT_MAX_S, BUSY_WAIT_S, is_settled, translate


def with_condition(error, condition):
    error.error = condition
    return error


def refusal(condition, text="x"):
    return with_condition(EventDataSendError(text), condition)


@pytest.mark.parametrize(
    ("error", "kind", "named"),
    [
        (with_condition(ConnectError("x"), "socket-error"), TransientSendError, "socket-error"),
        (with_condition(ConnectionLostError("x"), "not-found"), PermanentSendError, "EVENTHUB_LOGS_NAME"),
        (with_condition(ConnectionLostError("x"), "unauthorized-access"), PermanentSendError, "Send right"),
        (with_condition(ConnectionLostError("x"), "client-error"), TransientSendError, "client-error"),
        (with_condition(AuthenticationError("x"), "client-error"), PermanentSendError, "connection string"),
        (AuthenticationError("x"), PermanentSendError, "connection string"),
        (with_condition(ConnectError("x"), "entity-disabled"), PermanentSendError, "disabled"),
        (with_condition(ConnectError("x"), "argument-error"), TransientSendError, "argument-error"),
        (refusal("server-busy"), TransientSendError, "server-busy"),
        (refusal("link:message-size-exceeded"), EventTooLargeError, "size"),
        (refusal("unauthorized-access"), PermanentSendError, "EventDataSendError"),
        (OperationTimeoutError("slow"), TransientSendError, "slow"),
        (EventHubError("'NoneType' object is not subscriptable"), TransientSendError, "NoneType"),
        (KeyError("inside"), TransientSendError, "KeyError"),
    ],
    ids=lambda value: getattr(value, "error", None) or getattr(value, "__name__", None) or str(value),
)
def test_errors_of_the_client_become_ours_and_say_what_to_check(error, kind, named):
    found = translate(error)
    assert type(found) is kind
    assert named in str(found)


@pytest.mark.parametrize(
    "condition", ["argument-error", "argument-out-of-range", "invalid-field", "decode-error"]
)
def test_a_refusal_of_what_was_sent_may_be_its_own_fault_and_tells_the_reason(condition):
    found = translate(refusal(condition, "The property Compression is not allowed."))
    assert type(found) is RejectedSendError
    assert condition in str(found)
    assert "The property Compression is not allowed." in str(found)


@pytest.mark.parametrize("condition", ["unknown-error", "", None])
def test_a_refusal_whose_reason_is_lost_may_be_the_fault_of_what_was_sent(condition):
    found = translate(refusal(condition))
    assert type(found) is RejectedSendError
    assert "unknown-error" in str(found)


@pytest.mark.parametrize(
    "condition",
    [
        "timeout",
        "internal-error",
        "operation-cancelled",
        "connection:forced",
        "link:detach-forced",
        "client-error",
    ],
)
def test_a_refusal_for_trouble_of_the_hub_is_no_fault_of_what_was_sent(condition):
    assert type(translate(refusal(condition))) is TransientSendError


@pytest.mark.parametrize(
    ("text", "condition", "kind"),
    [
        ("CBS Token authentication failed.\nStatus code: 401", "client-error", PermanentSendError),
        ("CBS Token authentication failed.\nStatus code: 404", "client-error", PermanentSendError),
        ("CBS Token authentication failed.\nStatus code: 500", "client-error", TransientSendError),
        ("CBS Token authentication failed.\nStatus code: 503", "client-error", TransientSendError),
        ("CBS Token authentication failed.\nStatus code: 429", "client-error", TransientSendError),
        ("Authorization timeout.", "internal-error", TransientSendError),
    ],
    ids=["401", "404", "500", "503", "429", "no answer"],
)
def test_a_token_that_is_not_taken_is_permanent_unless_the_hub_is_in_trouble(text, condition, kind):
    assert type(translate(with_condition(AuthenticationError(text), condition))) is kind


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("The request was terminated. Please wait 4 seconds and try again.", 4.0),
        ("Please wait 10 seconds and try again. To know more visit https://aka.ms/sb", 10.0),
        ("Please wait for 2.5 sec", 2.5),
        ("wait 1 second", 1.0),
        ("wait 7s", 7.0),
        ("Please wait 999999 seconds", BUSY_WAIT_MAX_S),
        ("Please wait 500 ms", BUSY_WAIT_S),
        ("Please wait.", BUSY_WAIT_S),
        ("", BUSY_WAIT_S),
    ],
)
def test_a_busy_hub_is_given_the_time_it_asks_for(text, wait_s):
    assert translate(refusal("server-busy", text)).retry_after_s == wait_s


@pytest.mark.parametrize(
    "text",
    ["bad SharedAccessKey=verysecret;", "sig=verysecret&se=1", "token: verysecret", "password = verysecret"],
)
@pytest.mark.parametrize(
    "make", [ValueError, lambda text: refusal("argument-error", text)], ids=["any", "refusal"]
)
def test_no_secret_of_a_foreign_message_is_passed_on(make, text):
    assert "verysecret" not in str(translate(make(text)))


@given(
    st.sampled_from([EventDataSendError, ConnectError, AuthenticationError, OperationTimeoutError, KeyError]),
    st.text(max_size=40),
    st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["server-busy", "not-found", "timeout"])),
)
def test_every_error_becomes_one_of_ours(kind, text, condition):
    error = kind(text)
    if condition is not None:
        error.error = condition
    assert isinstance(translate(error), SendError)
    assert is_settled(error) in {True, False}


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (refusal("server-busy"), True),
        (refusal("argument-error"), True),
        (refusal("link:message-size-exceeded"), True),
        (refusal("unknown-error"), False),
        (refusal(""), False),
        (refusal("connection:forced"), False),
        (refusal("client-error"), False),
        (refusal("unauthorized-access"), False),
        (with_condition(ConnectError("x"), "server-busy"), False),
        (KeyError("x"), False),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'error', value)}",
)
def test_a_connection_is_as_good_as_before_when_the_hub_refused_over_it(error, is_so):
    assert is_settled(error) is is_so

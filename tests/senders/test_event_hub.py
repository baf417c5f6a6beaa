import pytest
from azure.eventhub.exceptions import (
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    EventDataSendError,
    OperationTimeoutError,
)

from hublog.errors import EventTooLargeError, PermanentSendError, TransientSendError
from hublog.senders.event_hub import EventHubSender, translate
from hublog.settings import EventHubSettings


def with_condition(error, condition):
    error.error = condition
    return error


@pytest.mark.parametrize(
    ("error", "kind", "named"),
    [
        (with_condition(ConnectError("x"), "socket-error"), TransientSendError, "socket-error"),
        (with_condition(ConnectionLostError("x"), "not-found"), PermanentSendError, "EVENTHUB_LOGS_NAME"),
        (with_condition(ConnectionLostError("x"), "unauthorized-access"), PermanentSendError, "Send right"),
        (with_condition(AuthenticationError("x"), "client-error"), PermanentSendError, "connection string"),
        (AuthenticationError("x"), PermanentSendError, "connection string"),
        (with_condition(ConnectError("x"), "entity-disabled"), PermanentSendError, "disabled"),
        (with_condition(EventDataSendError("x"), "server-busy"), TransientSendError, "server-busy"),
        (with_condition(EventDataSendError("x"), "unknown-error"), TransientSendError, "unknown-error"),
        (with_condition(EventDataSendError("x"), "link:message-size-exceeded"), EventTooLargeError, "size"),
        (OperationTimeoutError("slow"), TransientSendError, "slow"),
        (KeyError("inside"), TransientSendError, "KeyError"),
    ],
    ids=lambda value: getattr(value, "error", None) or getattr(value, "__name__", None) or str(value),
)
def test_errors_of_the_client_become_ours_and_say_what_to_check(error, kind, named):
    found = translate(error)
    assert type(found) is kind
    assert named in str(found)


def test_a_busy_hub_is_given_the_time_it_asks_for():
    error = with_condition(EventDataSendError("x"), "server-busy")
    assert translate(error).retry_after_s == 4.0


@pytest.mark.parametrize(
    "text",
    ["bad SharedAccessKey=verysecret;", "sig=verysecret&se=1", "token: verysecret", "password = verysecret"],
)
def test_no_secret_of_a_foreign_message_is_passed_on(text):
    assert "verysecret" not in str(translate(ValueError(text)))


def test_a_broken_connection_string_is_a_permanent_error_without_the_key():
    sender = EventHubSender(EventHubSettings(connection_string="Endpoint=;SharedAccessKey=verysecret"))
    with pytest.raises(PermanentSendError, match="EVENTHUB_NAMESPACE_CONNECTION_STRING") as error:
        sender.send([b"{}"], {})
    assert "verysecret" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_hub_that_refuses_fails_within_a_moment():
    sender = EventHubSender(
        EventHubSettings(
            connection_string="Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"
        )
    )
    with pytest.raises(TransientSendError):
        sender.send([b"{}"], {})
    sender.close()

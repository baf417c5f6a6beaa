"""Signing in without a key: what azure-identity says, in one line and with advice."""

import contextlib
import gc
import logging
import os
import threading
import time
import warnings
from pathlib import Path

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.eventhub import EventHubProducerClient, TransportType
from azure.eventhub._client_base import EventHubSharedKeyCredential
from azure.identity import CredentialUnavailableError, DefaultAzureCredential
from hypothesis import given
from hypothesis import strategies as st

from hublog.errors import PermanentSendError, TransientSendError
from hublog.senders.event_hub import EventHubSender
from hublog.senders.sign_in import QuietCredential, renewed, shortened, sign_in_cause
from hublog.settings import EventHubSettings
from hublog_local import LocalHub

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")
SECRET = "sup3rS3cretValue"
ROLE = "Azure Event Hubs Data Sender"
NAMESPACE = EventHubSettings(fully_qualified_namespace="shop.servicebus.windows.net", eventhub_name="logs")
CHAIN = (
    "DefaultAzureCredential failed to retrieve a token from the included credentials.\n"
    "Attempted credentials:\n"
    "\tEnvironmentCredential: {}\n"
    "\tManagedIdentityCredential: ManagedIdentityCredential authentication unavailable.\n"
    "\tAzureCliCredential: Azure CLI not found on path\n"
    "To mitigate this issue, please refer to the troubleshooting guidelines here at https://aka.ms/x."
)
UNAVAILABLE = (
    "EnvironmentCredential authentication unavailable. Environment variables are not fully configured.\n"
    "Visit https://aka.ms/azsdk/python/identity/environmentcredential/troubleshoot to troubleshoot."
)
REFUSED = (
    "Authentication failed: AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in"
    " the request is the client secret value, not the secret ID. Trace ID: 0f Correlation ID: 1e Timestamp:"
)


@pytest.fixture(autouse=True)
def no_identity(monkeypatch):
    for name in [*os.environ]:
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    yield monkeypatch
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <s", ResourceWarning)
        gc.collect()


class Raising:
    """A credential whose sign-in fails."""

    def __init__(self, error):
        self.error = error

    def get_token(self, *scopes, **options):
        raise self.error


class Giving:
    """A credential that signs in."""

    def get_token(self, *scopes, **options):
        return AccessToken("a.b.c", int(time.time()) + 3600)


@contextlib.contextmanager
def sender_with(credential, hub):
    def connect(settings):
        return EventHubProducerClient(
            f"127.0.0.1:{hub.port}",
            "logs",
            credential,
            use_tls=False,
            retry_total=0,
            retry_backoff_factor=0,
        )

    sender = EventHubSender(NAMESPACE, connect=connect)
    yield sender
    sender.close()


@pytest.fixture
def hub():
    with LocalHub({"logs": 1}) as started:
        yield started


# Through the client.


@pytest.mark.parametrize(
    ("error", "kind", "cause", "advice"),
    [
        (
            ClientAuthenticationError(CHAIN.format(UNAVAILABLE)),
            PermanentSendError,
            "sign-in failed: no credential is available here (tried Environment, ManagedIdentity, AzureCli)",
            ROLE,
        ),
        (
            ClientAuthenticationError(CHAIN.format(REFUSED)),
            PermanentSendError,
            "sign-in failed: EnvironmentCredential: Authentication failed: AADSTS7000215: Invalid client",
            "AZURE_CLIENT_ID",
        ),
        (
            CredentialUnavailableError("ManagedIdentityCredential authentication unavailable, no response."),
            PermanentSendError,
            "sign-in failed: no credential is available here",
            "managed identity (AZURE_CLIENT_ID",
        ),
        (
            ClientAuthenticationError(
                CHAIN.format(
                    "Authentication failed: HTTPSConnection(host='login'): Failed to resolve 'login'"
                )
            ),
            TransientSendError,
            "sign-in failed: EnvironmentCredential: Authentication failed: HTTPSConnection(",
            "login.microsoftonline.com",
        ),
        (
            ClientAuthenticationError("AADSTS90033: A transient error has occurred. Please try again."),
            TransientSendError,
            "sign-in failed: AADSTS90033: A transient error has occurred",
            "login.microsoftonline.com",
        ),
    ],
    ids=["no credential", "refused", "unavailable", "unreachable", "busy"],
)
def test_a_sign_in_that_fails_is_one_line_that_says_what_to_do(hub, error, kind, cause, advice):
    with sender_with(Raising(error), hub) as sender, pytest.raises(kind) as found:
        sender.send([b"x"], {})
    assert found.value.cause.startswith(cause)
    assert advice in found.value.advice
    text = str(found.value)
    assert "\n" not in text
    assert "https://" not in text
    assert text.count("sign-in failed") == 1
    assert len(text) < 700
    assert hub.events() == []


@pytest.mark.parametrize("kind", [ServiceRequestError, HttpResponseError])
def test_a_sign_in_service_that_is_not_reached_is_no_outage_of_the_hub(hub, kind):
    error = kind("HTTPSConnection(host='login.microsoftonline.com'): Connection refused")
    with sender_with(Raising(error), hub) as sender, pytest.raises(TransientSendError) as found:
        sender.send([b"x"], {})
    assert found.value.cause.startswith("sign-in failed: HTTPSConnection(host='login.microsoftonline.com')")
    assert "login.microsoftonline.com" in found.value.advice


def test_an_error_of_a_credential_of_ones_own_is_not_said_twice(hub):
    with (
        sender_with(Raising(RuntimeError("no key today")), hub) as sender,
        pytest.raises(TransientSendError) as found,
    ):
        sender.send([b"x"], {})
    assert str(found.value) == "EventHubError: no key today"


def test_an_identity_without_the_role_is_told_of_the_role(hub):
    hub.faults.add("refuse-attach", hub="logs", condition="amqp:unauthorized-access", times=None)
    with sender_with(Giving(), hub) as sender, pytest.raises(PermanentSendError) as found:
        sender.send([b"x"], {})
    assert ROLE in found.value.advice


def test_a_token_that_the_namespace_refuses_is_told_with_the_role(hub):
    hub.faults.add("refuse-token", status=401, description="InvalidAudience: not this one.", times=None)
    with sender_with(Giving(), hub) as sender, pytest.raises(PermanentSendError) as found:
        sender.send([b"x"], {})
    assert found.value.cause == "the namespace refused the token (401 InvalidAudience)"
    assert ROLE in found.value.advice


# With the real credential and variables that are wrong.


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"AZURE_TOKEN_CREDENTIALS": "nonsense"}, "Invalid value for AZURE_TOKEN_CREDENTIALS: nonsense"),
        (
            {"AZURE_CLIENT_ID": "x", "AZURE_TENANT_ID": "no tenant!", "AZURE_CLIENT_SECRET": SECRET},
            "Invalid tenant",
        ),
        (
            {"AZURE_CLIENT_ID": "x", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_CERTIFICATE_PATH": "/no/such.pem"},
            "No such file or directory: '/no/such.pem'",
        ),
        ({"AZURE_AUTHORITY_HOST": "http://login.example.com"}, "is an invalid authority"),
    ],
    ids=["chain", "tenant", "certificate", "authority"],
)
def test_variables_that_no_credential_can_be_made_of_are_named(no_identity, names, said):
    for name, value in names.items():
        no_identity.setenv(name, value)
    sender = EventHubSender(NAMESPACE)
    with pytest.raises(PermanentSendError) as found:
        sender.send([b"x"], {})
    assert found.value.cause.startswith("sign-in is not configured properly: ")
    assert said in found.value.cause
    assert "AZURE_" in found.value.advice
    assert SECRET not in str(found.value)


def test_what_fails_is_not_logged_by_the_packages_below_as_well(no_identity, caplog):
    no_identity.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    caplog.set_level(logging.DEBUG)
    credential = DefaultAzureCredential()
    with pytest.raises(ClientAuthenticationError):
        QuietCredential(credential).get_token("https://eventhubs.azure.net/.default")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    with pytest.raises(ClientAuthenticationError):  # that of the application still says what it said
        credential.get_token("https://eventhubs.azure.net/.default")
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_other_threads_log_while_one_signs_in(no_identity, caplog):
    caplog.set_level(logging.DEBUG)
    logger = logging.getLogger("azure.identity._credentials.chained")

    class Waiting:
        def get_token(self, *scopes, **options):
            logger.warning("of ours")
            thread = threading.Thread(target=logger.warning, args=("of the application",))
            thread.start()
            thread.join()
            return "a token"

    assert QuietCredential(Waiting()).get_token("x") == "a token"
    logger.warning("later")
    assert [record.getMessage() for record in caplog.records] == ["of the application", "later"]


# A token that ends.


class Short(EventHubSharedKeyCredential):
    """Gives a token that the client takes as expired, the first time."""

    def __init__(self):
        super().__init__("send", "a key")
        self.given = 0

    def get_token(self, *scopes, **options):
        self.given += 1
        found = super().get_token(*scopes, **options)
        return AccessToken(found.token, int(time.time()) - 1) if self.given == 2 else found


def test_a_token_that_expired_while_the_connection_was_idle_costs_no_failure():
    with LocalHub({"logs": 1}, keys={"send": "a key"}) as hub:
        credential = EventHubSharedKeyCredential("send", "a key")
        with sender_with(credential, hub) as sender:
            assert sender.send([b"first"], {}) == 1
            cbs = sender._client._producers["all-partitions"]._handler._cbs_authenticator
            cbs._expires_on = int(time.time()) - 1
            assert sender.send([b"second"], {}) == 1
        assert [bytes(event.body) for event in hub.events()] == [b"first", b"second"]


def test_a_token_that_is_expired_at_once_points_to_the_clock():
    with LocalHub({"logs": 1}) as hub, sender_with(Short(), hub) as sender:
        sender._client = None
        credential = Short()
        credential.given = 1
        sender._connect = lambda settings: EventHubProducerClient(
            f"127.0.0.1:{hub.port}", "logs", credential, use_tls=False, retry_total=0, retry_backoff_factor=0
        )
        with pytest.raises(TransientSendError) as found:
            sender.send([b"x"], {})
    assert found.value.cause == "the token has expired"
    assert "clock" in found.value.advice


def signature(port, expiry):
    token = f"SharedAccessSignature sr=sb%3A%2F%2Fx&sig={SECRET}&se={expiry}&skn=send"
    return EventHubSettings(
        connection_string=(
            f"Endpoint=sb://127.0.0.1:{port};UseDevelopmentEmulator=true;SharedAccessSignature={token}"
        ),
        eventhub_name="logs",
    )


def test_a_signature_that_has_expired_is_named_at_the_start_and_with_the_failure(hub, caplog):
    caplog.set_level(logging.WARNING, logger="hublog.internal")
    sender = EventHubSender(signature(hub.port, 1_000_000_000))
    sender.open()
    with pytest.raises(PermanentSendError) as found:
        sender.send([b"x"], {})
    sender.close()
    assert found.value.cause == "the shared access signature expired at 2001-09-09 01:46:40 UTC"
    assert "put a new one into the connection string" in found.value.advice
    lines = [record.getMessage() for record in caplog.records if record.name == "hublog.internal"]
    assert len(lines) == 1
    assert "expired at 2001-09-09 01:46:40 UTC" in lines[0]
    assert SECRET not in str(found.value) + lines[0]


def test_a_good_signature_is_not_named_at_the_start(hub, caplog):
    sender = EventHubSender(signature(hub.port, 4_102_444_800))
    sender.open()
    assert sender.send([b"x"], {}) == 1
    sender.close()
    assert [record for record in caplog.records if record.name == "hublog.internal"] == []


# Texts.


@pytest.mark.parametrize(
    "text",
    [
        f"client_secret={SECRET} is wrong",
        f"client_secret: '{SECRET}'",
        f"client_assertion={SECRET}",
        f"Bearer token={SECRET}",
        f"password = {SECRET}",
        f"header eyJhbGciOiJIUzI1NiJ9.{SECRET}eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcdef",
    ],
)
def test_what_may_be_a_secret_in_a_foreign_text_is_masked(text):
    assert SECRET not in shortened(text)
    assert SECRET not in sign_in_cause(ClientAuthenticationError(text)).text


@given(st.text(max_size=2_000))
def test_every_text_becomes_one_short_line(text):
    found = shortened(text)
    assert len(found) <= 240
    assert "\n" not in found


class FromFile(Giving):
    """Reads the federated token of a workload identity when it is made, and keeps it."""

    read = ()

    def __init__(self, **options):
        type(self).read = (*self.read, Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"]).read_text())

    def close(self):
        pass


@pytest.mark.parametrize("trouble", ["expire", "refuse"])
def test_after_a_failure_the_federated_token_is_read_from_its_file_again(hub, no_identity, tmp_path, trouble):
    path = tmp_path / "token"
    path.write_text("first")
    no_identity.setenv("AZURE_FEDERATED_TOKEN_FILE", str(path))
    no_identity.setattr("azure.identity.DefaultAzureCredential", FromFile)
    no_identity.setattr(FromFile, "read", ())
    namespace = EventHubSettings(fully_qualified_namespace=f"127.0.0.1:{hub.port}", eventhub_name="logs")
    sender = EventHubSender(namespace, options={"use_tls": False, "transport_type": TransportType.Amqp})
    if trouble == "refuse":
        hub.faults.add("refuse-token", times=1)
    else:
        sender.send([b"x"], {})
        hub.expire_tokens()
    with pytest.raises(PermanentSendError):
        sender.send([b"y"], {})
    path.write_text("second")
    assert sender.send([b"y"], {}) == 1
    sender.close()
    assert FromFile.read == ("first", "second")


# The file of the connection string.

STRING = "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey={}"
OLD, NEW = STRING.format("b2xkb2xkb2xk"), STRING.format("bmV3bmV3bmV3")


@pytest.mark.parametrize(
    ("content", "used", "said"),
    [
        (OLD, OLD, ""),
        (f"{NEW}\n", NEW, "The connection string was read again from"),
        (f"{NEW};EntityPath=logs", f"{NEW};EntityPath=logs", "The connection string was read again from"),
        (f"{NEW};EntityPath=audit", OLD, "names another event hub now"),
        (NEW.replace("shop", "other"), OLD, "names another event hub now"),
        (NEW.replace("Endpoint", "End"), OLD, "the connection string of before is used."),
        ("", OLD, "the connection string of before is used."),
        (None, OLD, "which cannot be read (there is no such file)"),
    ],
)
def test_what_the_file_holds_now_is_used_if_it_leads_to_the_same_hub(tmp_path, caplog, content, used, said):
    caplog.set_level(logging.INFO, logger="hublog.internal")
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)
    before = EventHubSettings(connection_string=OLD, connection_string_file=path, eventhub_name="logs")
    after = renewed(before)
    assert after.connection_string == used
    assert (after is before) == (used == OLD)
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)
    assert "bmV3" not in caplog.text


def test_without_a_file_there_is_nothing_to_read_again():
    assert renewed(NAMESPACE) is NAMESPACE

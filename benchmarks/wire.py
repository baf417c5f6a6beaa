"""The official client with only its socket replaced: events and batches are encoded as for the wire."""

from threading import Event
from typing import TYPE_CHECKING, Any, Final

from hublog.runtime.registry import get_pipeline
from hublog.senders.event_hub import EventHubSender
from hublog.settings import EventHubSettings

if TYPE_CHECKING:
    from azure.eventhub import EventHubProducerClient

#: Leads nowhere: nothing is connected.
CONNECTION: Final = (
    "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"
)


class Wire:
    """Counts what would have gone over the socket."""

    def __init__(self) -> None:
        self.sends = 0
        self.events = 0
        self.bytes = 0
        self._is_open = Event()
        self._is_open.set()

    def hold(self) -> None:
        """Let each send wait from now on, as a slow hub does."""
        self._is_open.clear()

    def release(self) -> None:
        """Let sends through again."""
        self._is_open.set()

    def make_sender(self, settings: EventHubSettings) -> EventHubSender:
        """Return a sender that sends to this."""
        return EventHubSender(settings, connect=self.connect)

    def install(self) -> None:
        """Let every pipeline of this process send to this, by whichever adapter it is made."""
        assert get_pipeline.__kwdefaults__ is not None
        get_pipeline.__kwdefaults__["make_sender"] = self.make_sender

    def connect(self, settings: EventHubSettings) -> "EventHubProducerClient":
        """Return a client of the official package whose link is open and whose socket is this."""
        from azure.eventhub import EventDataBatch, EventHubProducerClient
        from azure.eventhub._pyamqp._encode import encode_payload

        wire = self

        class Client(EventHubProducerClient):
            def create_batch(self, **kwargs: Any) -> EventDataBatch:
                transport = self._amqp_transport
                return EventDataBatch(max_size_in_bytes=1 << 20, amqp_transport=transport, **kwargs)

            def send_batch(self, event_data_batch: Any, **kwargs: Any) -> None:
                del kwargs
                wire._is_open.wait()
                output = bytearray()
                encode_payload(output, event_data_batch._message)
                wire.sends += 1
                wire.events += len(event_data_batch)
                wire.bytes += len(output)

        return Client.from_connection_string(settings.connection_string, eventhub_name=settings.eventhub_name)

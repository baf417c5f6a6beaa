"""Requests to the nodes ``$cbs`` (tokens) and ``$management`` (what hubs and partitions there are)."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from hublog_local.amqp.frames import ACCEPTED, Attach, LinkError
from hublog_local.amqp.messages import Message, SectionCode, read_message, write_section
from hublog_local.amqp.types import Array, DecodeError, Int, Timestamp
from hublog_local.hub.faults import FaultKind, Stage
from hublog_local.hub.partitions import EventHub, Partition
from hublog_local.hub.sessions import Delivery, IncomingLink, OutgoingLink, Session
from hublog_local.hub.tokens import TokenAnswer

CBS: Final = "$cbs"
MANAGEMENT: Final = "$management"
NODES: Final = (CBS, MANAGEMENT)
#: No request needs more.
_MAX_REQUEST_BYTES: Final = 65536
#: Answers that a client may leave unread.
_MAX_REPLIES: Final = 1000
_MESSAGE_ID, _REPLY_TO = 0, 4
#: 0001-01-01, what the service gives as the time of an event that never was.
_NEVER: Final = Timestamp(-62135596800000)


class Answer(NamedTuple):
    """An answer; the status is as in HTTP, the condition that of an error."""

    status: int
    description: str
    value: object = None
    condition: str | None = None


class ReplyLink(OutgoingLink):
    """A link on which a client gets answers."""

    def __init__(self, session: Session, peer: Attach, address: str) -> None:
        super().__init__(session, peer, address)
        self._replies: deque[bytes] = deque(maxlen=_MAX_REPLIES)

    def reply(self, message: bytes) -> None:
        """Send an answer as soon as the client gives credit."""
        self._replies.append(message)
        self.pump()

    def next_message(self) -> list[bytes] | None:
        """Return the next answer."""
        return [self._replies.popleft()] if self._replies else None


class RequestLink(IncomingLink):
    """A link on which a client asks."""

    def __init__(self, session: Session, peer: Attach, address: str) -> None:
        super().__init__(session, peer, address)
        self._service = session.connection.service
        self._answer = self._put_token if address == CBS else self._read

    def on_part(self, size: int) -> bool:
        """Refuse what is too large for a request."""
        if size <= _MAX_REQUEST_BYTES:
            return True
        text = f"A request has {size} bytes or more; it may have {_MAX_REQUEST_BYTES}."
        self.detach(LinkError("amqp:link:message-size-exceeded", text))
        return False

    def on_delivery(self, delivery: Delivery) -> None:
        """Settle a request and answer it.

        Raises:
            DecodeError: it is not a message.
        """
        request = read_message(memoryview(delivery.message))
        self.settle(delivery, ACCEPTED)
        answer = self._answer(request)
        reply_to = request.properties[_REPLY_TO] if len(request.properties) > _REPLY_TO else None
        link = self.session.connection.find_reply_link(
            self.address, reply_to if isinstance(reply_to, str) else ""
        )
        if answer is None:
            return
        if not isinstance(link, ReplyLink):
            raise DecodeError(f"A request to {self.address} comes without a link to answer on.")
        link.reply(_write_answer(answer, request.properties[_MESSAGE_ID] if request.properties else None))

    def _put_token(self, request: Message) -> Answer | None:
        statistics = self._service.statistics
        statistics.tokens_total += 1
        properties = request.application_properties
        audience = properties.get("name")
        if properties.get("operation") != "put-token" or not isinstance(audience, str):
            return Answer(400, "The request must be put-token with the name of a resource.")
        hub = hub_of_audience(audience)
        answer = self._service.tokens.check(properties.get("type"), request.value, audience)
        fault = self._service.faults.take(Stage.TOKEN, hub)
        if fault is not None:
            if fault.kind is FaultKind.WITHHOLD_TOKEN:
                return None
            if fault.kind is FaultKind.REFUSE_TOKEN:
                answer = TokenAnswer(fault.status, fault.description)
            else:
                answer = answer._replace(expires_at=self._service.tokens.now() + fault.seconds)
        if answer.is_accepted:
            self.session.connection.grant(hub, answer.expires_at)
        else:
            statistics.tokens_refused_total += 1
        return Answer(answer.status, answer.description)

    def _read(self, request: Message) -> Answer | None:
        properties = request.application_properties
        name = properties.get("name")
        fault = self._service.faults.take(Stage.REQUEST, name if isinstance(name, str) else "")
        if fault is not None:
            is_silent = fault.kind is FaultKind.WITHHOLD_REPLY
            return None if is_silent else Answer(fault.status, fault.description, condition=fault.condition)
        hub = self._service.find_hub(name) if isinstance(name, str) else None
        readers: dict[object, Callable[[EventHub, object], Answer]] = {
            "com.microsoft:eventhub": _read_hub,
            "com.microsoft:partition": _read_partition,
        }
        read = readers.get(properties.get("type"))
        if properties.get("operation") != "READ" or read is None:
            return Answer(400, "The operation must be READ, of an eventhub or a partition.")
        if hub is None:
            text = f"The messaging entity '{name}' could not be found."
            return Answer(404, text, condition="amqp:not-found")
        token = properties.get("security_token")
        is_allowed = self.session.connection.allows(hub.name) or (
            self._service.tokens.check(
                "servicebus.windows.net:sastoken", token, f"sb://local/{hub.name}"
            ).is_accepted
        )
        if not is_allowed:
            return Answer(401, "Unauthorized access.", condition="amqp:unauthorized-access")
        return read(hub, properties.get("partition"))


def hub_of_audience(audience: str) -> str:
    """Return the event hub that a token is for; empty if it is for the namespace."""
    path = urlsplit(audience).path if "://" in audience else audience
    return path.strip("/").partition("/")[0]


def _write_answer(answer: Answer, correlation_id: object) -> bytes:
    properties: dict[object, object] = {
        # Python and JavaScript clients look for different spellings.
        "status-code": Int(answer.status),
        "statusCode": Int(answer.status),
        "status-description": answer.description,
        "statusDescription": answer.description,
    }
    if answer.condition is not None:
        properties |= {"error-condition": answer.condition, "errorCondition": answer.condition}
    return (
        write_section(SectionCode.PROPERTIES, [None, None, None, None, None, correlation_id])
        + write_section(SectionCode.APPLICATION_PROPERTIES, properties)
        + write_section(SectionCode.VALUE, answer.value)
    )


def _milliseconds(moment: datetime) -> Timestamp:
    return Timestamp(moment.timestamp() * 1000)


def _read_hub(hub: EventHub, _partition: object) -> Answer:
    value = {
        "name": hub.name,
        "type": "com.microsoft:eventhub",
        "created_at": _milliseconds(hub.created_at),
        "partition_count": Int(len(hub.partitions)),
        "partition_ids": Array(hub.partitions),
        "georeplication_factor": Int(1),
    }
    return Answer(200, "OK", value)


def _read_partition(hub: EventHub, partition_id: object) -> Answer:
    partition: Partition | None = hub.partitions.get(str(partition_id))
    if partition is None:
        text = f"The partition '{partition_id}' does not exist."
        return Answer(400, text, condition="com.microsoft:argument-out-of-range")
    last = partition.last
    value = {
        "name": hub.name,
        "type": "com.microsoft:partition",
        "partition": partition.partition_id,
        "begin_sequence_number": partition.first_sequence_number,
        "last_enqueued_sequence_number": -1 if last is None else last.sequence_number,
        "last_enqueued_offset": "-1" if last is None else last.offset,
        "last_enqueued_time_utc": _NEVER if last is None else Timestamp(last.enqueued_ms),
        "is_partition_empty": partition.first_sequence_number == partition.events_total,
        "runtime_info_retrieval_time_utc": _milliseconds(datetime.now(UTC)),
    }
    return Answer(200, "OK", value)

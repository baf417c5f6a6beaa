"""The card gateway: a stand-in with the test cards that real gateways give to developers."""

import logging
import uuid

from django.conf import settings

log = logging.getLogger(__name__)

_DECLINED = "4000000000000002"
_GATEWAY_AWAY = "4000000000000119"


class CardDeclinedError(Exception):
    """The bank said no; the customer can try another card."""


class GatewayError(Exception):
    """The gateway did not answer; nobody knows whether the card was charged."""


def charge(card: str, amount_cents: int) -> str:
    """Take money from a card.

    Returns:
        The number of the receipt.

    Raises:
        CardDeclinedError: the bank said no.
        GatewayError: the gateway did not answer.
    """
    api_key = settings.GATEWAY_API_KEY
    # As careless as people are when they look for a fault: hublog masks the card and the key, here, in the
    # field, and in the message of the exception below.
    log.info(
        "Charging %d cents to card %s",
        amount_cents,
        card,
        extra={"event_name": "payment.started", "amount_cents": amount_cents, "api_key": api_key},
    )
    if card == _DECLINED:
        raise CardDeclinedError("insufficient funds")
    try:
        return _call_gateway(card, api_key)
    except TimeoutError as error:
        raise GatewayError(f"the card gateway did not confirm a payment of {amount_cents} cents") from error


def _call_gateway(card: str, api_key: str) -> str:
    if card == _GATEWAY_AWAY:
        raise TimeoutError(f"no answer from https://gateway.example/?api_key={api_key}&card={card} in 2.0 s")
    return uuid.uuid4().hex[:12]

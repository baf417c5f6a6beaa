"""The card gateway: a stand-in with the test cards that real gateways give to developers."""

import uuid

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
    if card == _DECLINED:
        raise CardDeclinedError("insufficient funds")
    try:
        return _call_gateway(card)
    except TimeoutError as error:
        raise GatewayError(f"the card gateway did not confirm a payment of {amount_cents} cents") from error


def _call_gateway(card: str) -> str:
    if card == _GATEWAY_AWAY:
        raise TimeoutError("no answer from gateway.example within 2.0 s")
    return uuid.uuid4().hex[:12]

"""Exchange rates: a stand-in for a service that is asked over the network."""

import asyncio

_RATES = {"EUR": 1.0, "USD": 1.08, "GBP": 0.86}


class RateUnavailableError(LookupError):
    """The service has no rate for this currency."""


async def exchange_rate(currency: str) -> float:
    """Return how much of a currency one euro buys.

    Raises:
        RateUnavailableError: the service has no rate for it.
    """
    await asyncio.sleep(0.01)
    try:
        return _RATES[currency]
    except KeyError as error:
        raise RateUnavailableError(f"no rate for {currency!r} today") from error

"""What clients send."""

import json

from django.core.exceptions import BadRequest
from django.http import HttpRequest


def json_object(request: HttpRequest) -> dict[str, object]:
    """Return the body of a request.

    Raises:
        BadRequest: it is no JSON object; Django answers 400.
    """
    try:
        given = json.loads(request.body)
    except ValueError as error:
        raise BadRequest("The body is no JSON.") from error
    if not isinstance(given, dict):
        raise BadRequest("The body must be a JSON object.")
    return given

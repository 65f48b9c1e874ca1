"""Reading of request bodies, which are JSON objects of limited size."""

import json
import re
from typing import TYPE_CHECKING, Any

from traitlens.collecting.session_manager import RequestRefused

if TYPE_CHECKING:
    from starlette.requests import Request

LONGEST_BODY = 4096
"""Maximum size of a request body in bytes."""


async def read_body(request: "Request") -> bytes:
    """Read the body of a request; refuse the request if the body is too large or incomplete."""
    from starlette.requests import ClientDisconnect

    length = request.headers.get("content-length", "0")
    if not re.fullmatch("[0-9]{1,9}", length) or int(length) > LONGEST_BODY:
        raise RequestRefused(413, "the request is too large for an answer")
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_BODY:
                raise RequestRefused(413, "the request is too large for an answer")
    except ClientDisconnect:
        raise RequestRefused(400, "the connection ended before the request was complete") from None
    return body


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a request body as a JSON object; refuse the request if it is something else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestRefused(400, "the request is not JSON") from None
    if not isinstance(value, dict):
        raise RequestRefused(400, "the request is not a JSON object")
    return value

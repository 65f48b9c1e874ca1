"""Access control of the local web servers by a token.

Other programs and users of the computer can reach a loopback port, and so can any page that is open in the
browser. Each request must therefore carry the token (first in the address, then in a cookie), name this
server as its host (against DNS rebinding), come from no other origin, and not exceed a maximum size.
"""

import html
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

LARGEST_REQUEST = 32 * 2**20
"""Maximum size of a request body in bytes, enough for a photograph."""

OPEN = ("/page/", "/api/", "/results/", "/faces/")
"""Prefixes of the explorer's valid request paths, in addition to the page itself."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' {sockets}; object-src 'none'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy: the page may only connect to this server."""

WELCOME = (
    '<!doctype html><title>traitlens</title><link rel="icon" href="data:,">'
    '<meta http-equiv="refresh" content="0;url=/">'
)
"""The HTML page that redirects to the main page after the cookie is set."""

HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}
"""Headers of every response."""


class TokenGate:
    """ASGI application that forwards only requests with the token to another application.

    Parameters
    ----------
    app : ASGI application
        The application that answers valid requests.
    port : int
        Port of the server.
    token : str
        The secret token.
    paths : tuple of str
        Prefixes of valid request paths, in addition to the page itself.
    largest : int
        Maximum size of a request body in bytes.
    """

    def __init__(
        self,
        app: Any,
        port: int,
        token: str,
        paths: tuple[str, ...] = OPEN,
        largest: int = LARGEST_REQUEST,
    ):
        self.app = app
        self.token = token
        self.paths = paths
        self.largest = largest
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        # Cookies are shared by all ports of a host, so the name contains the port.
        self.cookie = f"traitlens_{port}"
        sockets = " ".join(f"ws://{host}" for host in sorted(self.hosts))
        self.headers = {"content-security-policy": POLICY.format(sockets=sockets), **HEADERS}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Forward a valid request to the application; refuse any other request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        token = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        refusal = self._refusal(scope, headers, token)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
        elif token:
            await self._welcome(send)
        else:
            await self.app(scope, _limit_body_size(receive, self.largest), self._with_headers(send))

    def _refusal(self, scope: dict[str, Any], headers: dict[str, str], token: str) -> tuple[int, str] | None:
        """Return the status code and the reason for refusing a request; None if the request is valid."""
        if headers.get("host", "") not in self.hosts:
            return 421, "This server answers to its own address only."
        origin = headers.get("origin")
        if origin is not None and origin.removeprefix("http://") not in self.hosts:
            return 403, "Requests from other pages are refused."
        if not self._knows_token(token or self._cookie_of(headers)):
            return 403, "Open the whole address that traitlens printed, including the token."
        path = scope["path"]
        if ".." in path.split("/") or "\\" in path or not (path == "/" or path.startswith(self.paths)):
            return 404, "There is no such page."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.largest:
            return 413, f"Files of more than {self.largest // 2**20} MB are refused."
        return None

    def _cookie_of(self, headers: dict[str, str]) -> str:
        """Read the token from the request's cookie; "" if there is none."""
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return found.value if found else ""

    def _knows_token(self, token: str) -> bool:
        """Compare a token with the server's token, in constant time."""
        return secrets.compare_digest(token.encode(), self.token.encode())

    async def _welcome(self, send: Any) -> None:
        """Set the token as a cookie and redirect to the page, whose address has no token."""
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        # Browsers would not send a strict cookie after an HTTP redirect from another site.
        await _answer(send, 200, WELCOME, {**self.headers, "set-cookie": cookie})

    def _with_headers(self, send: Any) -> Any:
        """Return a `send` function that adds the security headers missing from a response."""

        async def send_with_headers(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                has = {name.lower() for name, _ in message.get("headers", [])}
                added = [(k.encode(), v.encode()) for k, v in self.headers.items() if k.encode() not in has]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        return send_with_headers


def _limit_body_size(receive: Any, largest: int) -> Any:
    """Return a `receive` function that disconnects when a request body exceeds the maximum size."""
    seen = 0

    async def receive_limited() -> Any:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b"")) if message["type"] == "http.request" else 0
        return {"type": "http.disconnect"} if seen > largest else message

    return receive_limited


async def _refuse(scope: dict[str, Any], receive: Any, send: Any, status: int, reason: str) -> None:
    """Refuse a request: answer with a page that states the reason, or close a web socket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
    else:
        await _answer(
            send, status, f"<!doctype html><title>traitlens</title><p>{html.escape(reason)}", HEADERS
        )


async def _answer(send: Any, status: int, body: str, headers: dict[str, str]) -> None:
    """Send an HTML page."""
    content = body.encode()
    sent = {"content-type": "text/html; charset=utf-8", "content-length": str(len(content)), **headers}
    pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})

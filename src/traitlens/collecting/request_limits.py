"""Limits that protect a public server: maximum duration of requests and number of connections."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

LONGEST_REQUEST = 20.0
"""Maximum seconds from the first byte of a request (or the connection) to the end of the response."""
MOST_CONNECTIONS = 1000
RESERVED_FILES = 64
"""Number of file descriptors reserved for the database, the faces and the log."""


def connection_limit() -> int:
    """Raise the process's limit of open files, and return the maximum number of simultaneous connections."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + RESERVED_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(8, min(soft, wanted) - RESERVED_FILES)


class LimitedProtocol(H11Protocol):  # type: ignore[misc]
    """HTTP protocol that limits the duration of requests and the number of connections."""

    most = MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the timer; if there are too many connections, close the one that was idle the longest."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self.deadline = self.loop.call_later(LONGEST_REQUEST, self.transport.abort)
        if len(self.connections) > self.most:
            idle = [one for one in self.connections if one is not self and one.is_idle()]
            min(idle, key=lambda one: one.since, default=self).transport.abort()

    def is_idle(self) -> bool:
        """Return whether no request is being answered on this connection."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def data_received(self, data: bytes) -> None:
        """Start the timer at the first byte of a request."""
        if self.deadline is None:
            self.deadline = self.loop.call_later(LONGEST_REQUEST, self.transport.abort)
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Stop the timer, and record since when the connection is idle."""
        self.since = self.loop.time()
        self._stop_timer()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer of a closed connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        """Stop the timer of the current request."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


class RequestGuard:
    """ASGI application that refuses malformed requests, and logs unexpected errors of another application."""

    def __init__(self, app: Any, log: Any):
        self.app, self.log = app, log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Forward a well-formed request to the application."""
        if scope["type"] != "http":
            return
        started = False

        async def sending(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        hosts = sum(name == b"host" for name, _ in scope["headers"])
        if hosts != 1:
            await _answer(send, 400, f"a request must have one Host header, not {hosts}")
            return
        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            self.log.error(
                "500 %s %s: %s", scope["method"], ascii(scope["path"][:80]), ascii(repr(error)[:200])
            )
            if not started:
                await _answer(send, 500, "the server could not answer")


async def _answer(send: Any, status: int, text: str) -> None:
    """Send a plain-text response and close the connection."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})

"""Limits of a public server: duration of requests, number of connections, short answers to errors."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

LONGEST_REQUEST = 20.0
"""Maximum seconds from the first byte of a request (or the connection) to the end of its answer."""
MOST_CONNECTIONS = 1000
KEPT_FILES = 64
"""File descriptors reserved for the database, the faces and the log."""


def most_connections() -> int:
    """Return the limit of simultaneous connections, after raising the limit of open files."""
    try:
        import resource
    except ImportError:  # Windows limits handles by memory
        return MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + KEPT_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(8, min(soft, wanted) - KEPT_FILES)


class LimitedProtocol(H11Protocol):  # type: ignore[misc]
    """HTTP protocol that limits the time of requests and the number of connections."""

    most = MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the timer, and close the longest idle connection at the limit."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self.deadline = self.loop.call_later(LONGEST_REQUEST, self.transport.abort)
        if len(self.connections) > self.most:
            idle = [one for one in self.connections if one is not self and one.is_idle()]
            min(idle, key=lambda one: one.since, default=self).transport.abort()

    def is_idle(self) -> bool:
        """Return whether no request is being answered.

        Returns
        -------
        bool
            True before the first request and after each answer.
        """
        return self.cycle is None or bool(self.cycle.response_complete)

    def data_received(self, data: bytes) -> None:
        """Start the timer of the next request."""
        if self.deadline is None:
            self.deadline = self.loop.call_later(LONGEST_REQUEST, self.transport.abort)
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Stop the timer."""
        self.since = self.loop.time()
        self._stop()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def _stop(self) -> None:
        """Stop the timer of the current request."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


class Guard:
    """ASGI application that refuses malformed requests and answers unexpected errors in one line."""

    def __init__(self, app: Any, log: Any):
        self.app, self.log = app, log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Forward a request."""
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
    """Send a short text."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})

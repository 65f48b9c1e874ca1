"""Web server for this computer only, which listens on a loopback address and requires a token."""

import secrets
import socket
from collections.abc import Callable
from typing import Any

from traitlens.explorer.access import LARGEST_REQUEST, OPEN, TokenGate

LOOPBACK = "127.0.0.1"


def serve_on_loopback(
    app: Any,
    announce: Callable[[str], None],
    paths: tuple[str, ...] = OPEN,
    largest: int = LARGEST_REQUEST,
) -> None:
    """Serve an application to this computer only, behind a token, until interrupted.

    Parameters
    ----------
    app : ASGI application
        The web application.
    announce : callable
        Called with the page's address when the server listens.
    paths, largest : optional
        As in :class:`~traitlens.explorer.access.TokenGate`.
    """
    import uvicorn

    token = secrets.token_urlsafe(32)
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen()
        port = listening.getsockname()[1]
        gate = TokenGate(app, port, token, paths, largest)
        config = uvicorn.Config(
            gate, log_level="warning", access_log=False, proxy_headers=False, timeout_graceful_shutdown=3
        )
        # Requests before the server has started wait in the socket's queue.
        announce(f"http://{LOOPBACK}:{port}/?token={token}")
        uvicorn.Server(config).run(sockets=[listening])

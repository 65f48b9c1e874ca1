"""The explorer's server: on the loopback address, at a free port, protected by a token."""

import secrets
import socket
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from traitlens.computing.machine import Machine
from traitlens.explorer.access import LARGEST_REQUEST, OPEN, TokenGate
from traitlens.explorer.explorer_data import ExplorerData, open_explorer_data
from traitlens.explorer.served_files import KINDS, POLICY, find_file
from traitlens.problems import Problem, TraitlensError

LOOPBACK = "127.0.0.1"


def explore(results: Path, machine: Machine | None = None, announce: Callable[[str], None] = print) -> None:
    """Serve the explorer of a results folder until interrupted.

    Parameters
    ----------
    results : Path
        A results folder, or a study folder.
    machine : Machine or None
        Device and precision of the network, for new faces and other methods.
    announce : callable
        Called with the page's address when it can be opened.

    Raises
    ------
    TraitlensError
        If NiceGUI is not installed, or there are no results.
    """
    if not find_spec("nicegui"):
        raise TraitlensError(
            Problem("the explorer needs NiceGUI, which is not installed", "pip install 'traitlens[app]'")
        )
    serve_on_loopback(make_app(open_explorer_data(results, machine)), announce)


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
        The application.
    announce : callable
        Told the page's address once it can be opened.
    paths, largest : optional
        See :class:`~traitlens.explorer.access.TokenGate`.
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


def make_app(data: ExplorerData) -> Any:
    """Return the web application, without access control."""
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import FileResponse
    from nicegui import ui

    from traitlens.explorer.explorer_page import Page

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    def hand_out(name: str) -> Any:
        file = find_file(data.results.folder, name)
        if file is None:
            raise HTTPException(404, "File not found.")
        return FileResponse(
            file, media_type=KINDS[file.suffix.lower()], headers={"content-security-policy": POLICY}
        )

    app.get("/results/{name:path}")(hand_out)

    def show_page() -> None:
        Page(data).build()

    ui.run_with(
        app, root=show_page, title="traitlens", favicon="data:,", tailwind=False, show_welcome_message=False
    )
    return app

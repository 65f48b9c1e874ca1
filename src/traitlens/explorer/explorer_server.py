"""The explorer's web server, which serves the page, thumbnails and result files, and receives photographs."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from traitlens.computing.machine import Machine
from traitlens.explorer.explorer_data import ExplorerData, open_explorer_data
from traitlens.explorer.loopback import serve_on_loopback
from traitlens.explorer.served_files import KINDS, POLICY, find_file
from traitlens.problems import Problem, TraitlensError

MOST_UPLOADS = 4
"""Maximum number of uploaded photographs held in memory until the page reads them."""


def explore(results: Path, machine: Machine | None = None, announce: Callable[[str], None] = print) -> None:
    """Serve the explorer of a results folder until interrupted.

    Parameters
    ----------
    results : Path
        A results folder, or a study folder.
    machine : Machine or None
        Device and precision of the network, for new faces and for maps by other methods.
    announce : callable
        Called with the page's address when the server listens.

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


def make_app(data: ExplorerData) -> Any:
    """Create the web application, without access control."""
    from fastapi import FastAPI, HTTPException, Request
    from fastapi.responses import FileResponse, PlainTextResponse, Response
    from nicegui import ui

    from traitlens.explorer.explorer_page import Page

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    def send_file(name: str) -> Any:
        file = find_file(data.results.folder, name)
        if file is None:
            raise HTTPException(404, "File not found.")
        return FileResponse(
            file, media_type=KINDS[file.suffix.lower()], headers={"content-security-policy": POLICY}
        )

    app.get("/results/{name:path}")(send_file)

    def draw_thumbnail(name: str) -> Any:
        number = name.removesuffix(".jpg")
        if not number.isdecimal() or int(number) >= len(data.images):
            raise HTTPException(404, "File not found.")
        return Response(data.thumbnail(data.images[int(number)]), media_type="image/jpeg")

    app.get("/faces/{name}")(draw_thumbnail)
    uploads: OrderedDict[str, bytes] = OrderedDict()

    async def receive_upload(name: str, request: Request) -> Any:
        content = await request.body()
        if len(content) != int(request.headers.get("content-length", len(content))):
            return PlainTextResponse("was not uploaded completely", 400)
        key = secrets.token_urlsafe(16)
        uploads[key] = content
        while len(uploads) > MOST_UPLOADS:
            uploads.popitem(last=False)
        return {"name": name.replace("\\", "/"), "id": key}

    # FastAPI resolves annotations by name in the module, where the local import of Request is not visible.
    receive_upload.__annotations__ = {"name": str, "request": Request}
    app.post("/upload/face")(receive_upload)

    def show_page() -> None:
        Page(data, uploads).build()

    ui.run_with(
        app,
        root=show_page,
        title="traitlens",
        favicon="data:,",
        dark=None,
        tailwind=False,
        show_welcome_message=False,
    )
    return app

"""The app's web server: page, uploads and downloads."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from traitlens.app.workspace import Workspace, is_inside, list_recent, remember
from traitlens.explorer.loopback import serve_on_loopback
from traitlens.explorer.served_files import KINDS, POLICY, find_file
from traitlens.locking import Lock
from traitlens.problems import Problem, TraitlensError

LARGEST_UPLOAD = 200 * 2**20
"""Maximum size of an uploaded file, in bytes."""
PATHS = ("/_nicegui/", "/_nicegui_ws/", "/results/", "/faces/", "/exports/", "/upload/")
"""Prefixes of paths that are served in addition to the page."""
SENT = {**KINDS, ".zip": "application/zip", ".eps": "application/postscript", ".tif": "image/tiff"}
"""Suffixes of files that may be downloaded."""


class Session:
    """State of the server: the open study, if any.

    Parameters
    ----------
    folder : Path or None
        The study to open.
    """

    def __init__(self, folder: Path | None = None):
        self.workspace: Workspace | None = None
        self._explorers: list[subprocess.Popen[str]] = []
        self._lock: Lock | None = None
        if folder is not None:
            self.open(folder)

    def open(self, folder: Path) -> None:
        """Open a study.

        Parameters
        ----------
        folder : Path
            Its folder; created if missing.

        Raises
        ------
        TraitlensError
            If the folder cannot be created or written, or is open in another window of the app.
        """
        try:
            workspace = Workspace(folder)
            lock = _hold(workspace)
            workspace.change(step=workspace.choices.step)
        except OSError as error:
            advice = "choose another folder"
            raise TraitlensError(
                Problem(f"cannot be written ({error.strerror})", advice, str(folder))
            ) from error
        self.close()
        self.workspace, self._lock = workspace, lock
        remember(workspace.folder)

    def close(self) -> None:
        """Close the study."""
        self.workspace = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def explorer(self, results: Path) -> str:
        """Start the explorer of a results folder in a child process.

        Raises
        ------
        TraitlensError
            If it does not start.
        """
        command = [sys.executable, "-m", "traitlens.cli", "--json", "explore", str(results), "--no-browser"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._explorers.append(process)
        assert process.stdout is not None
        try:
            return str(json.loads(process.stdout.readline())["address"])
        except (ValueError, KeyError) as error:
            process.terminate()
            raise TraitlensError(Problem("the explorer did not start", "run the study again")) from error

    def end(self) -> None:
        """Close the study and stop its explorers."""
        self.close()
        for process in self._explorers:
            process.terminate()


def serve(folder: Path | None = None, announce: Callable[[str], None] = print) -> None:
    """Serve the app to this computer, until interrupted.

    Parameters
    ----------
    folder : Path or None
        The study to open; the most recent one if None.
    announce : callable
        Called with the page's address when the server is ready.

    Raises
    ------
    TraitlensError
        If NiceGUI is not installed, or the folder cannot be written.
    """
    if not find_spec("nicegui"):
        raise TraitlensError(
            Problem("the app needs NiceGUI, which is not installed", "pip install 'traitlens[app]'")
        )
    session = Session(folder)
    for recent in list_recent()[:1] if folder is None else ():
        with suppress(TraitlensError):  # it is open in another window, or cannot be written any more
            session.open(recent)
    try:
        serve_on_loopback(make_app(session), announce, PATHS, LARGEST_UPLOAD)
    finally:
        session.end()


def _hold(workspace: Workspace) -> Lock:
    """Lock a study, so that two windows of the app do not overwrite each other's choices."""
    try:
        return Lock(workspace.private / "open")
    except TraitlensError as error:
        advice = "use that window, or close it first"
        problem = Problem("is open in another window of the app", advice, str(workspace.folder))
        raise TraitlensError(problem) from error


def make_app(session: Session) -> Any:
    """Create the web application, without access control."""
    from fastapi import FastAPI, HTTPException, Request
    from fastapi.responses import FileResponse, PlainTextResponse
    from nicegui import ui
    from starlette.requests import ClientDisconnect

    from traitlens.app.app_page import AppPage

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    def send(folder: str, name: str) -> Any:
        workspace = session.workspace
        file = None if workspace is None else find_file(workspace.folder / folder, name, SENT)
        if file is None:
            raise HTTPException(404, "There is no such file.")
        headers = {"content-security-policy": POLICY, "x-frame-options": "SAMEORIGIN"}
        return FileResponse(file, media_type=SENT[file.suffix.lower()], headers=headers)

    app.get("/results/{name:path}")(lambda name: send("results", name))
    app.get("/faces/{name:path}")(lambda name: send("faces", name))
    app.get("/exports/{name:path}")(lambda name: send("exports", name))

    async def take(kind: str, name: str, request: Request) -> Any:
        workspace = session.workspace
        if workspace is None or not is_inside(name) or kind not in ("table", "picture"):
            return PlainTextResponse("this name cannot be used for a file", 400)
        folder = Path(tempfile.mkdtemp(prefix="upload-", dir=workspace.private))
        try:
            size = 0
            with (folder / "file").open("wb") as file:
                async for part in request.stream():
                    size += len(part)
                    file.write(part)
            if size != int(request.headers.get("content-length", size)):
                return PlainTextResponse("was not uploaded completely", 400)
            if kind == "table":
                workspace.save_table(name, folder / "file")
                return True
            return workspace.save_picture(name, folder / "file")
        except ClientDisconnect:
            return PlainTextResponse("was not uploaded completely", 400)
        except TraitlensError as error:
            return PlainTextResponse(error.problems[0].what, 400)
        except OSError as error:
            return PlainTextResponse(f"cannot be kept ({error.strerror})", 507)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # FastAPI looks up annotations of local functions by name in the module.
    take.__annotations__ = {"kind": str, "name": str, "request": Request}
    app.post("/upload/{kind}")(take)

    def show_page() -> None:
        AppPage(session).build()

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

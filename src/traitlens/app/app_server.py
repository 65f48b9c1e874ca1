"""The app's web server, which serves the page, stores uploads and sends downloads."""

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

from traitlens.app.workspace import Workspace, add_to_recent_studies, is_inside, list_recent_studies
from traitlens.explorer.loopback import serve_on_loopback
from traitlens.explorer.served_files import KINDS, POLICY, find_file
from traitlens.locking import Lock
from traitlens.problems import Problem, TraitlensError

LARGEST_UPLOAD = 200 * 2**20
"""Maximum size of an uploaded file, in bytes."""
PATHS = ("/_nicegui/", "/_nicegui_ws/", "/results/", "/faces/", "/exports/", "/upload/")
"""Prefixes of the valid request paths, in addition to the page itself."""
DOWNLOADS = {**KINDS, ".zip": "application/zip", ".eps": "application/postscript", ".tif": "image/tiff"}
"""Content types of files that may be downloaded, by suffix."""


class Session:
    """State of the server: the open study and its explorers.

    Parameters
    ----------
    folder : Path or None
        Folder of the study to open; no study is open if None.
    """

    def __init__(self, folder: Path | None = None):
        self.workspace: Workspace | None = None
        self._explorers: list[subprocess.Popen[str]] = []
        self._lock: Lock | None = None
        if folder is not None:
            self.open(folder)

    def open(self, folder: Path) -> None:
        """Open a study, close the previous one, and add the study to the recent studies.

        Parameters
        ----------
        folder : Path
            Folder of the study; created if missing.

        Raises
        ------
        TraitlensError
            If the folder cannot be created or written, or is open in another window of the app.
        """
        try:
            workspace = Workspace(folder)
            lock = _lock_study(workspace)
            workspace.change(step=workspace.choices.step)
        except OSError as error:
            advice = "choose another folder"
            raise TraitlensError(
                Problem(f"cannot be written ({error.strerror})", advice, str(folder))
            ) from error
        self.close()
        self.workspace, self._lock = workspace, lock
        add_to_recent_studies(workspace.folder)

    def close(self) -> None:
        """Close the open study, if any, so that another window of the app can open it."""
        self.workspace = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def start_explorer(self, results: Path) -> str:
        """Start the explorer of a results folder in a child process, and return its address.

        Raises
        ------
        TraitlensError
            If the explorer does not start.
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
        """Close the study and stop all explorers that were started from the app."""
        self.close()
        for process in self._explorers:
            process.terminate()


def serve(folder: Path | None = None, announce: Callable[[str], None] = print) -> None:
    """Serve the app to this computer until interrupted.

    Parameters
    ----------
    folder : Path or None
        The study to open; the most recent one if None.
    announce : callable
        Called with the page's address when the server listens.

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
    for recent in list_recent_studies()[:1] if folder is None else ():
        with suppress(TraitlensError):  # open in another window, or no longer writable
            session.open(recent)
    try:
        serve_on_loopback(make_app(session), announce, PATHS, LARGEST_UPLOAD)
    finally:
        session.end()


def _lock_study(workspace: Workspace) -> Lock:
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

    def send_file(folder: str, name: str) -> Any:
        workspace = session.workspace
        file = None if workspace is None else find_file(workspace.folder / folder, name, DOWNLOADS)
        if file is None:
            raise HTTPException(404, "There is no such file.")
        headers = {"content-security-policy": POLICY, "x-frame-options": "SAMEORIGIN"}
        return FileResponse(file, media_type=DOWNLOADS[file.suffix.lower()], headers=headers)

    app.get("/results/{name:path}")(lambda name: send_file("results", name))
    app.get("/faces/{name:path}")(lambda name: send_file("faces", name))
    app.get("/exports/{name:path}")(lambda name: send_file("exports", name))

    async def receive_upload(kind: str, name: str, request: Request) -> Any:
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
                return PlainTextResponse("The file was not uploaded completely. Choose it again.", 400)
            if kind == "table":
                workspace.save_table(name, folder / "file")
                return True
            return workspace.save_picture(name, folder / "file")
        except ClientDisconnect:
            return PlainTextResponse("The file was not uploaded completely. Choose it again.", 400)
        except TraitlensError as error:
            return PlainTextResponse(error.problems[0].what, 400)
        except OSError as error:
            return PlainTextResponse(f"cannot be stored ({error.strerror})", 507)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # FastAPI resolves annotations by name in the module, where the local import of Request is not visible.
    receive_upload.__annotations__ = {"kind": str, "name": str, "request": Request}
    app.post("/upload/{kind}")(receive_upload)

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

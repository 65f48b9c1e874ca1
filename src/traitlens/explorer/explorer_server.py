"""The explorer's web server, which serves the page, maps, thumbnails and result files."""

import secrets
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlens.computing.machine import Machine
from traitlens.explorer.explorer_data import ExplorerData, open_explorer_data
from traitlens.explorer.explorer_page import describe_face, describe_maps, describe_study
from traitlens.explorer.face_view import ShownFace
from traitlens.explorer.loopback import serve_on_loopback
from traitlens.explorer.served_files import KINDS, POLICY, find_file
from traitlens.problems import Problem, TraitlensError
from traitlens.report.colouring import data_uri
from traitlens.report.page import read_template

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MOST_NEW_FACES = 16
"""Maximum number of new faces held in memory."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of the page: it may only connect to this server."""
SCRIPTS = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
"""Content types of the page's scripts and style sheets, by suffix."""


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
        If the web server is not installed, or there are no results.
    """
    if not (find_spec("starlette") and find_spec("uvicorn")):
        raise TraitlensError(
            Problem("the explorer needs a web server, which is not installed", "pip install 'traitlens[app]'")
        )
    serve_on_loopback(make_app(open_explorer_data(results, machine)), announce)


@cache
def _read(name: str) -> str:
    """Read a file of the page; the files of the face picker are shared with the report."""
    if name.startswith("faces."):
        return read_template(name)
    text = (files("traitlens.explorer") / "page" / name).read_text("utf-8")
    return text.replace("<!-- faces -->", read_template("faces.html")) if name.endswith(".html") else text


def make_app(data: ExplorerData) -> "Starlette":
    """Create the web application, without access control."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    new_faces: OrderedDict[str, ShownFace] = OrderedDict()

    def show_page(_request: "Request") -> "Response":
        return HTMLResponse(_read("explorer.html"), headers={"content-security-policy": PAGE_POLICY})

    def send_part(request: "Request") -> "Response":
        name = request.path_params["name"]
        if name not in ("faces.js", "faces.css", "explorer.js", "explorer.css"):
            raise HTTPException(404, "File not found.")
        return Response(_read(name), media_type=SCRIPTS[name.rsplit(".")[-1]])

    def send_result(request: "Request") -> "Response":
        file = find_file(data.results.folder, request.path_params["name"])
        if file is None:
            raise HTTPException(404, "File not found.")
        kind = KINDS[file.suffix.lower()]
        return FileResponse(file, media_type=kind, headers={"content-security-policy": POLICY})

    def send_thumbnail(request: "Request") -> "Response":
        number = request.path_params["name"].removesuffix(".jpg")
        return Response(data.thumbnail(find_image(number)), media_type="image/jpeg")

    def find_image(number: str) -> str:
        if not number.isdecimal() or len(number) > 9 or int(number) >= len(data.images):
            raise HTTPException(404, "There is no such face.")
        return data.images[int(number)]

    def send_study(_request: "Request") -> "Response":
        return JSONResponse(describe_study(data))

    def send_maps(request: "Request") -> "Response":
        asked = request.query_params
        key, trait, method = (asked.get(name, "") for name in ("key", "trait", "method"))
        if key and key not in new_faces:
            raise HTTPException(404, "This face is no longer in memory. Choose the photograph again.")
        face = new_faces[key] if key else data.face(find_image(asked.get("image", "")))
        traits = data.results.traits
        if (
            not trait.isdecimal()
            or len(trait) > 9
            or int(trait) >= len(traits)
            or method not in (data.methods or [""])
        ):
            raise HTTPException(404, "There is no such trait or method.")
        try:
            threshold = min(max(float(asked.get("threshold", "0")), 0.0), 1.0)
        except ValueError:
            raise HTTPException(422, "The threshold is not a number.") from None
        insist = asked.get("insist") == "1"
        return JSONResponse(describe_maps(data, face, traits[int(trait)], method, threshold, insist))

    def add_face(content: bytes, name: str, number: str | None) -> dict[str, Any]:
        """Predict impressions of a new face; the uploaded photograph is deleted at once."""
        with tempfile.TemporaryDirectory(prefix="traitlens-") as folder:
            path = Path(folder) / "photograph"
            path.write_bytes(content)
            several = data.find_several(path, name) if number is None else []
            if several:
                return {"several": [data_uri(square, 192, quality=90) for square in several]}
            face = data.predict_new_face(path, name, int(number or 0))
        key = secrets.token_urlsafe(16)
        new_faces[key] = face
        while len(new_faces) > MOST_NEW_FACES:
            new_faces.popitem(last=False)
        return describe_face(data, face, key)

    async def take_face(request: "Request") -> "Response":
        content = await request.body()
        if len(content) != int(request.headers.get("content-length", len(content))):
            return PlainTextResponse("The photograph was not uploaded completely. Choose it again.", 400)
        name = Path(request.query_params.get("name", "").replace("\\", "/")).name or "photograph"
        number = request.query_params.get("number")
        if number is not None and not (number.isdecimal() and len(number) < 4):
            raise HTTPException(404, "There is no such face.")
        return JSONResponse(await run_in_threadpool(add_face, content, name, number))

    def refuse(_request: "Request", error: Exception) -> "Response":
        assert isinstance(error, TraitlensError)
        return PlainTextResponse("; ".join(map(str, error.problems)), 422)

    routes = [
        Route("/", show_page),
        Route("/page/{name}", send_part),
        Route("/results/{name:path}", send_result),
        Route("/faces/{name}", send_thumbnail),
        Route("/api/study", send_study),
        Route("/api/maps", send_maps),
        Route("/api/face", take_face, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={TraitlensError: refuse})

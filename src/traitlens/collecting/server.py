"""Web server of rating sessions.

The server consists of plain Starlette routes, because NiceGUI's pages would hold their state in memory and
lose it when the server is killed. Here the only state is the participant's position in the database.
"""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from traitlens.collecting.design import settings_for_page
from traitlens.collecting.panels import PANELS
from traitlens.collecting.questionnaires import describe_questionnaires
from traitlens.collecting.request_body import parse_object, read_body
from traitlens.collecting.session_manager import RequestRefused, SessionManager
from traitlens.collecting.transactions import OutOfTurn, Participant
from traitlens.problems import Problem, TraitlensError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LONGEST_HEAD = 8192
"""Maximum size of a request's headers in bytes."""

PAGES = {
    "/": ("session.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/session.js": ("session.js", "text/javascript; charset=utf-8"),
    "/experimenter": ("experimenter.html", "text/html; charset=utf-8"),
    "/experimenter.css": ("experimenter.css", "text/css; charset=utf-8"),
    "/experimenter.js": ("experimenter.js", "text/javascript; charset=utf-8"),
}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_app(
    sessions: SessionManager, secret: str | None = None, address: str = "", study: str = ""
) -> "Starlette":
    """Create the web application with the participants' pages and, optionally, the experimenter's page.

    Parameters
    ----------
    sessions : SessionManager
        State of the sessions.
    secret : str, optional
        Token of the experimenter's page; without a token there is no such page.
    address : str, default ""
        Address of the server, for the links on the experimenter's page.
    study : str, default ""
        Name of the study, for the experimenter's page.
    """
    import asyncio

    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Route

    def get_participant(request: "Request") -> Participant:
        """Return the participant whose token the request contains."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        found = (
            sessions.store.find_by_token(token.strip().lower())
            if kind == "Bearer" and len(token) < 40
            else None
        )
        if found is None:
            raise RequestRefused(401, "the token is unknown")
        return found

    async def page(request: "Request") -> "Response":
        name, kind = PAGES[request.url.path]
        return Response(_page(name), media_type=kind)

    async def texts(_request: "Request") -> "Response":
        panel = sessions.settings.panel
        return JSONResponse(
            {
                "texts": sessions.texts,
                "scale": settings_for_page(sessions.design),
                "questionnaires": describe_questionnaires(sessions.questionnaires),
                "panel": None
                if panel is None
                else {"title": PANELS[panel].title, "parameters": PANELS[panel].parameters},
            }
        )

    async def join(request: "Request") -> "Response":
        """Return the token of someone who comes from a panel, or the consent page before they have agreed."""
        body = parse_object(await read_body(request))
        token = await asyncio.to_thread(sessions.join, body.get("ids"), body.get("agreed") is True)
        return JSONResponse({"state": sessions.opening_state()} if token is None else {"token": token})

    async def session(request: "Request") -> "Response":
        return JSONResponse(sessions.state(get_participant(request)))

    async def face(request: "Request") -> "Response":
        get_participant(request)
        number = request.path_params["number"]
        if not re.fullmatch("[0-9]{1,6}", number) or int(number) >= len(sessions.faces.files):
            raise RequestRefused(404, "there is no such face")
        return FileResponse(sessions.faces.files[int(number)], media_type="image/jpeg")

    async def answer(request: "Request") -> "Response":
        participant = get_participant(request)
        body = parse_object(await read_body(request))
        if body.get("participant") != participant.id:
            raise RequestRefused(403, "the token is another participant's")
        try:
            await asyncio.wrap_future(sessions.store.submit(sessions.make_job(participant, body)))
        except OutOfTurn:
            state = sessions.state(get_participant(request))
            raise RequestRefused(409, "the answer was sent twice at the same time", state) from None
        return JSONResponse(sessions.state(get_participant(request)))

    async def refuse(request: "Request", error: Exception) -> "Response":
        """Log a refused request, and respond with the reason and the participant's state."""
        assert isinstance(error, RequestRefused)
        client = request.client.host if request.client else "?"
        # Escaped so that requests cannot inject lines or control codes into the log.
        details = (request.method[:16], request.url.path[:80], client, error.reason)
        sessions.log.warning("%d %s %s from %s: %s", error.status, *(ascii(text)[1:-1] for text in details))
        content = {"refused": error.reason, "state": error.state}
        return JSONResponse(
            content, error.status, headers={"Connection": "close"} if error.status == 413 else None
        )

    async def refuse_address(request: "Request", error: Exception) -> "Response":
        """Refuse a request for an unknown address or with a wrong method."""
        assert isinstance(error, HTTPException)
        return await refuse(request, RequestRefused(error.status_code, error.detail))

    routes = [
        *(Route(path, page) for path in PAGES),
        Route("/api/texts", texts),
        Route("/api/session", session),
        Route("/api/join", join, methods=["POST"]),
        Route("/api/faces/{number}", face),
        Route("/api/answer", answer, methods=["POST"]),
    ]
    if secret is not None:
        from traitlens.collecting.experimenter import experimenter_routes

        routes += experimenter_routes(sessions, secret, address, study)
    app = Starlette(routes=routes, exception_handlers={RequestRefused: refuse, HTTPException: refuse_address})
    app.add_middleware(_SafeHeaders)
    return app


class _SafeHeaders:
    """ASGI middleware that adds security headers to every response."""

    def __init__(self, app: Any):
        self.app = app
        self.added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.added]
            await send(message)

        await self.app(scope, receive, send_with)


@cache
def _page(name: str) -> bytes:
    return (Path(__file__).parent / "pages" / name).read_bytes()


def reachable_address(host: str) -> str:
    """Return the host name or IP address for links; this computer's own IP address for "0.0.0.0" and "::"."""
    import socket

    if host not in ("0.0.0.0", "::"):
        return f"[{host}]" if ":" in host else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a reserved address; connecting a datagram socket sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def check_address(address: str) -> str:
    """Check the address of a server, and return it without a slash at the end.

    Raises
    ------
    TraitlensError
        If the address is not that of a web server, or has parameters.

    Examples
    --------
    >>> check_address("https://rate.example.org/")
    'https://rate.example.org'
    """
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"[\s?#\"'<>@]", address):
        raise TraitlensError(
            Problem(f"{address!r} is not the address of a server", "write https://rate.example.org")
        )
    return address.rstrip("/")


def allowed_hosts(address: str) -> list[str]:
    """Return the valid Host headers of a server on the loopback address, with that of a proxy in front of it.

    Examples
    --------
    >>> allowed_hosts("https://rate.example.org")
    ['127.0.0.1', 'localhost', '[::1]', 'rate.example.org']
    """
    own = ["127.0.0.1", "localhost", "[::1]"]
    proxy = urlsplit(address).hostname
    return own if proxy is None or proxy in own else [*own, proxy]


def serve(
    sessions: SessionManager,
    host: str = "127.0.0.1",
    port: int = 8080,
    secret: str | None = None,
    address: str = "",
    study: str = "",
) -> None:
    """Serve rating sessions until interrupted.

    Parameters
    ----------
    sessions : SessionManager
        The sessions; their database is closed at the end.
    host : str, default "127.0.0.1"
        IP address to listen on; the default can be reached from this computer only.
    port : int, default 8080
        Port to listen on.
    secret : str, optional
        Token of the experimenter's page; without a token there is no such page.
    address, study : str
        Address of the server and name of the study, for the experimenter's page.

    Raises
    ------
    TraitlensError
        If the web packages are not installed, or the port is taken.
    """
    import socket

    try:
        import uvicorn
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        from traitlens.collecting.request_limits import LimitedProtocol, RequestGuard, connection_limit
    except ImportError as error:
        what = f"collecting ratings needs a package that is not installed ({error.name})"
        raise TraitlensError(Problem(what, "pip install 'traitlens[app]'")) from error
    app = make_app(sessions, secret, address, study)
    if host in LOOPBACK:
        # Check the Host header, so that other sites cannot reach a session by DNS rebinding.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(address))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            LimitedProtocol.most = connection_limit()
            config = uvicorn.Config(
                RequestGuard(app, sessions.log),
                http=LimitedProtocol,
                ws="none",
                log_level="critical",
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=5,  # seconds that a half-sent request may delay the end
                h11_max_incomplete_event_size=LONGEST_HEAD,
            )
            uvicorn.Server(config).run(sockets=[listening])
    except OSError as error:
        what = f"the server cannot use {host}:{port} ({error.strerror})"
        raise TraitlensError(Problem(what, "choose another --port")) from error
    finally:
        sessions.store.close()

"""The web front of a session: a few addresses, each of which checks everything that it is sent.

Plain routes of Starlette, on which NiceGUI is built: NiceGUI's own pages keep their state in the server's
memory and a socket, which a killed server loses; here the state is the participant's position in the store.
"""

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from logging.handlers import RotatingFileHandler
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from traitlens.collecting.design import (
    COLLECTED,
    EVERYONE,
    ShownFaces,
    describe_scale,
    read_design,
    show_faces,
)
from traitlens.collecting.session import (
    RATED,
    Design,
    Step,
    find_fault,
    make_steps,
    opening,
    progress,
    upcoming_images,
)
from traitlens.collecting.store import (
    Answer,
    Job,
    OutOfTurn,
    Participant,
    Store,
    give_answer,
    join_group,
    move_on,
)
from traitlens.collecting.texts import Texts, read_texts
from traitlens.problems import Problem, StudyError, TraitlensError, unknown_choice
from traitlens.watching import Watcher

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LONGEST_BODY = 4096
"""Bytes that an answer may have."""

USUAL_SECONDS = 6.0
"""How long a trial takes before it is known of a participant."""

PAGES = {
    "/": ("session.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/session.js": ("session.js", "text/javascript; charset=utf-8"),
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


class Refused(Exception):
    """A request that changes nothing.

    Parameters
    ----------
    status : int
        The status of its answer.
    reason : str
        Why it is refused.
    state : dict, optional
        Where the participant is, for a page that went another way.
    """

    def __init__(self, status: int, reason: str, state: dict[str, Any] | None = None):
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.state = state


@dataclass(frozen=True)
class Room:
    """Everything that the answers to requests are made of.

    Parameters
    ----------
    design : Design
        What every session has in common.
    texts : dict
        Language -> texts.
    faces : ShownFaces
        The faces that are shown.
    store : Store
        The answers.
    log : Logger
        Is told of every refused request.
    """

    design: Design
    texts: dict[str, Texts]
    faces: ShownFaces
    store: Store
    log: logging.Logger

    def steps(self, participant: Participant) -> tuple[Step, ...]:
        """Give a participant's steps.

        Parameters
        ----------
        participant : Participant
            Who.

        Returns
        -------
        tuple of Step
            The whole session; before the group is known, its opening.
        """
        return self.store.steps(participant.id) or opening(self.design, participant.group)

    def state(self, participant: Participant) -> dict[str, Any]:
        """Describe where a participant is, and what comes next.

        Parameters
        ----------
        participant : Participant
            Who.

        Returns
        -------
        dict
            What a page needs to show the step, the progress, and what comes next.
        """
        steps = self.steps(participant)
        position = participant.position
        begun = participant.begun
        everything = steps if begun else make_steps(self.design, known=participant.group)
        done, total = progress(everything, position)
        step = steps[position]
        following = everything[position + 1].kind if position + 1 < len(everything) else ""
        blocks = [one.kind == "block" for one in everything]
        return {
            "participant": participant.id,
            "position": position,
            "step": {
                "kind": step.kind,
                "traits": step.traits,
                "image": None if step.image is None else self.faces.number(step.image),
                "wanted": step.wanted,
            },
            "next": following,
            "done": done,
            "total": total,
            "part": sum(blocks[: position + 1]),
            "parts": sum(blocks),
            "minutes": self._minutes_left(participant, everything),
            "ahead": [self.faces.number(name) for name in upcoming_images(steps, position)],
        }

    def _minutes_left(self, participant: Participant, steps: tuple[Step, ...]) -> int:
        """Estimate the minutes left from how long the latest answers took."""
        left = sum(step.kind in RATED for step in steps[participant.position :])
        times = self.store.recent_times(participant.id) if participant.begun else []
        seconds = median(times) / 1000 + 1.5 if len(times) >= 5 else USUAL_SECONDS
        return math.ceil(left * seconds / 60)

    def job(self, participant: Participant, body: Mapping[str, Any]) -> Job[None]:
        """Turn what was sent for the present step into what is written.

        Parameters
        ----------
        participant : Participant
            Who.
        body : mapping
            What was sent.

        Returns
        -------
        callable
            For the store.

        Raises
        ------
        Refused
            If the step is over or yet to come, or the answer does not count.
        """
        steps, position = self.steps(participant), participant.position
        number = body.get("step")
        if isinstance(number, bool) or not isinstance(number, int):
            raise Refused(422, "the step is not a number")
        if number != position:
            raise Refused(409, f"step {number} while at {position}", self.state(participant))
        step = steps[position]
        if step.kind == "end":
            raise Refused(409, "the session is over", self.state(participant))
        if step.kind in RATED:
            return give_answer(participant.id, position, step, self._answer(body))
        last_before = not participant.begun and position == len(steps) - 1
        if not last_before:
            return move_on(participant.id, position)
        known = participant.group
        group = self._group(step, body) if known is None else known
        return join_group(
            participant.id, position, group, lambda place: make_steps(self.design, group, place, known)
        )

    def _group(self, step: Step, body: Mapping[str, Any]) -> str:
        """Read the group that was chosen, or the only one that there is."""
        if step.kind != "group":
            return self.design.groups[0] if self.design.groups else EVERYONE
        if body.get("group") not in self.design.groups:
            raise Refused(422, "there is no such group")
        return str(body["group"])

    def _answer(self, body: Mapping[str, Any]) -> Answer:
        """Check an answer."""
        moved, device, language = body.get("moved"), body.get("device"), body.get("language")
        fault = find_fault(self.design, body.get("rating"), body.get("rt"), moved)
        if fault is not None:
            raise Refused(422, fault)
        if not (isinstance(device, str) and re.fullmatch(r"[a-z]{1,12} \d{1,5}x\d{1,5}", device)):
            raise Refused(422, "the device is not described")
        if language not in self.texts:
            raise Refused(422, "there is no such language")
        moved = moved if self.design.answer == "slider" else None
        return Answer(float(body["rating"]), float(body["rt"]), moved, device, str(language))


def make_app(room: Room) -> "Starlette":
    """Make the web application of a room.

    Parameters
    ----------
    room : Room
        What its answers are made of.

    Returns
    -------
    Starlette
        The application.
    """
    import asyncio

    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Route

    def who(request: "Request") -> Participant:
        """Find whose token was sent."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        found = room.store.find(token.strip().lower()) if kind == "Bearer" and len(token) < 40 else None
        if found is None:
            raise Refused(401, "the token is unknown")
        return found

    async def page(request: "Request") -> "Response":
        name, kind = PAGES[request.url.path]
        return Response(_page(name), media_type=kind)

    async def texts(_request: "Request") -> "Response":
        return JSONResponse({"texts": room.texts, "scale": describe_scale(room.design)})

    async def session(request: "Request") -> "Response":
        return JSONResponse(room.state(who(request)))

    async def face(request: "Request") -> "Response":
        who(request)
        number = request.path_params["number"]
        if number >= len(room.faces.files):
            raise Refused(404, "there is no such face")
        return FileResponse(room.faces.files[number], media_type="image/jpeg")

    async def answer(request: "Request") -> "Response":
        participant = who(request)
        body = _parse(await _read_body(request))
        if body.get("participant") != participant.id:
            raise Refused(403, "the token is another participant's")
        try:
            await asyncio.wrap_future(room.store.submit(room.job(participant, body)))
        except OutOfTurn:
            state = room.state(who(request))
            raise Refused(409, "sent twice at the same time", state) from None
        return JSONResponse(room.state(who(request)))

    async def refuse(request: "Request", error: Exception) -> "Response":
        """Refuse, say so in the log, and tell where the participant is."""
        assert isinstance(error, Refused)
        client = request.client.host if request.client else "?"
        room.log.warning(
            "%d %s %s from %s: %s", error.status, request.method, request.url.path[:80], client, error.reason
        )
        content = {"refused": error.reason, "state": error.state}
        return JSONResponse(
            content, error.status, headers={"Connection": "close"} if error.status == 413 else None
        )

    async def refuse_address(request: "Request", error: Exception) -> "Response":
        """Refuse an address or a method that there is none of."""
        assert isinstance(error, HTTPException)
        return await refuse(request, Refused(error.status_code, error.detail))

    routes = [
        *(Route(path, page) for path in PAGES),
        Route("/api/texts", texts),
        Route("/api/session", session),
        Route("/api/faces/{number:int}", face),
        Route("/api/answer", answer, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={Refused: refuse, HTTPException: refuse_address})
    app.add_middleware(_SafeHeaders)
    return app


class _SafeHeaders:
    """Adds the headers that keep a page to itself."""

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


async def _read_body(request: "Request") -> bytes:
    """Read what was sent, but no more than an answer may have."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > LONGEST_BODY:
        raise Refused(413, "more was sent than an answer may have")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise Refused(413, "more was sent than an answer may have")
    return body


def _parse(body: bytes) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "what was sent is no JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "what was sent is no JSON object")
    return value


def open_room(folder: Path, watcher: Watcher | None = None) -> Room:
    """Prepare everything for a study's sessions.

    Parameters
    ----------
    folder : Path
        The study's folder; answers, faces as shown and the log of refused requests lie in its `collected/`.
    watcher : Watcher, optional
        Who is told of the progress.

    Returns
    -------
    Room
        The room; its store must be closed.

    Raises
    ------
    StudyError
        With every fault of settings, texts and images, and every session that no longer fits the study.
    """
    folder = Path(folder)
    design, settings = read_design(folder)
    texts = read_texts(folder, settings.collecting.languages, design.groups, design.traits)
    faces = show_faces(folder, design, watcher)
    store = Store(folder / COLLECTED / "answers.sqlite")
    problems = _sessions_that_no_longer_fit(store, design, faces)
    if problems:
        store.close()
        raise StudyError(problems)
    return Room(design, texts, faces, store, _open_log(folder / COLLECTED / "refused.log"))


def _sessions_that_no_longer_fit(store: Store, design: Design, faces: ShownFaces) -> list[Problem]:
    """Find sessions that were begun and show what the study no longer has."""
    images, traits = set(faces.names), set(design.traits)
    missing: set[str] = set()
    for participant in store.participants():
        for step in store.steps(participant.id) or ():
            missing |= {f"images/{step.image}"} if step.image not in images | {None} else set()
            missing |= {f"trait {trait!r}" for trait in step.traits if trait not in traits}
    return [
        Problem(f"{what} is missing, and sessions that have begun show it", "put it back", "study.toml")
        for what in sorted(missing)
    ]


def _open_log(path: Path) -> logging.Logger:
    """Open the log of refused requests, which cannot fill the disk."""
    log = logging.Logger(f"traitlens.collecting.{path}")
    handler = RotatingFileHandler(path, maxBytes=10**6, backupCount=3, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    return log


def serve(room: Room, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Answer requests until interrupted.

    Parameters
    ----------
    room : Room
        What the answers are made of; its store is closed at the end.
    host : str, default "127.0.0.1"
        The address to listen at; only this computer reaches the default one.
    port : int, default 8080
        The port.

    Raises
    ------
    TraitlensError
        If the web packages are not installed, or the port is taken.
    """
    import socket

    try:
        import uvicorn
        from starlette.middleware.trustedhost import TrustedHostMiddleware
    except ImportError as error:
        what = f"collecting ratings needs a package that is not installed ({error.name})"
        raise TraitlensError(Problem(what, "pip install 'traitlens[app]'")) from error
    app = make_app(room)
    if host in LOOPBACK:
        # Pages of other sites must not reach a session by a name that leads here.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            config = uvicorn.Config(
                app, log_level="error", access_log=False, server_header=False, lifespan="off"
            )
            uvicorn.Server(config).run(sockets=[listening])
    except OSError as error:
        what = f"{host}:{port} cannot be listened at ({error.strerror})"
        raise TraitlensError(Problem(what, "choose another --port")) from error
    finally:
        room.store.close()


def invite(room: Room, number: int, group: str | None = None) -> list[Participant]:
    """See to it that there are so many participants.

    Parameters
    ----------
    room : Room
        The room.
    number : int
        How many there shall be in all.
    group : str, optional
        The group of those who are added.

    Returns
    -------
    list of Participant
        All participants.

    Raises
    ------
    TraitlensError
        If the study has no such group.
    """
    groups = room.design.groups
    if group is not None and group not in (groups or (EVERYONE,)):
        room.store.close()
        raise unknown_choice("group", group, groups or (EVERYONE,))
    there = room.store.participants()
    return there + room.store.invite(max(number - len(there), 0), group)

"""The experimenter's page, with participants' progress, group sizes, links with QR codes, and a pause."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.design import EVERYONE
from traitlens.collecting.request_body import parse_object, read_body
from traitlens.collecting.session_manager import RequestRefused, SessionManager
from traitlens.collecting.session_steps import SessionDesign, count_trials, make_steps
from traitlens.columns import GROUP

if TYPE_CHECKING:
    from starlette.routing import Route

MOST_AT_ONCE = 500
"""Maximum number of participants created at once."""
UNKNOWN = "not known yet"
"""Label of participants whose group is not known yet."""

STATES = ("not begun", "under way", "done")
SCREENED = "no place"
"""State of participants who were turned away because their group was full."""


def tabulate_progress(store: AnswerDatabase, design: SessionDesign) -> pd.DataFrame:
    """Tabulate the progress of all participants.

    Returns
    -------
    DataFrame
        A row per participant: participant, group, state ("not begun", "under way", "done", "no place"),
        trials_done, trials, last_answer (UTC).
    """
    rows = []
    for one in store.participants():
        steps = store.steps(one.id) or make_steps(design, known=one.group)
        done, total = count_trials(steps, one.position)
        state = "done" if one.position >= len(steps) - 1 and one.begun else "under way"
        state = "not begun" if one.position == 0 else state
        state = SCREENED if steps[-1].kind == "screened" else state
        rows.append((one.id, one.group or "", state, done, total, one.seen))
    return pd.DataFrame(rows, columns=["participant", GROUP, "state", "trials_done", "trials", "last_answer"])


def summarise_sessions(sessions: SessionManager, study: str) -> dict[str, Any]:
    """Collect the data shown on the experimenter's page.

    Returns
    -------
    dict
        study, paused, groups, states, participants (rows of :func:`tabulate_progress`), and balance (the
        number of participants in each state, by group).
    """
    table = tabulate_progress(sessions.store, sessions.design)
    groups = sessions.design.groups or (EVERYONE,)
    named = table.assign(**{GROUP: table[GROUP].replace("", UNKNOWN)})
    counts = named.groupby([GROUP, "state"]).size()
    shown = [*groups, *([UNKNOWN] if (named[GROUP] == UNKNOWN).any() else [])]
    states = [*STATES, *([SCREENED] if (named["state"] == SCREENED).any() else [])]
    balance = [
        {GROUP: group, **{state: int(counts.get((group, state), 0)) for state in states}} for group in shown
    ]
    return {
        "study": study,
        "paused": sessions.paused,
        "groups": list(groups),
        "states": states,
        "participants": table.to_dict("records"),
        "balance": balance,
    }


def make_cards(store: AnswerDatabase, address: str) -> list[dict[str, str]]:
    """Create the data of a card for each participant, with a personal link and its QR code.

    Parameters
    ----------
    store : AnswerDatabase
        The participants.
    address : str
        Address of the server, without a slash at the end.

    Returns
    -------
    list of dict
        participant, group, code, link, and qr (an SVG image as a data URI).
    """
    import segno

    cards = []
    for one in store.participants():
        link = f"{address}/#{one.token}"
        image = segno.make(link, error="m", micro=False).svg_data_uri(scale=4, border=4, light="#fff")
        cards.append(
            {"participant": one.id, GROUP: one.group or "", "code": one.token, "link": link, "qr": image}
        )
    return cards


def experimenter_routes(sessions: SessionManager, secret: str, address: str, study: str) -> "list[Route]":
    """Create the web server's routes for the experimenter's page.

    Parameters
    ----------
    sessions : SessionManager
        State of the sessions.
    secret : str
        The experimenter's token; requests without the token are refused.
    address : str
        Address of the server, for the links.
    study : str
        Name of the study.
    """
    import asyncio
    import hmac

    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    def check(request: Request) -> None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not hmac.compare_digest(token.encode(), secret.encode()):
            raise RequestRefused(401, "the experimenter's token is wrong")

    async def overview(request: Request) -> Response:
        check(request)
        return JSONResponse(summarise_sessions(sessions, study))

    async def cards(request: Request) -> Response:
        check(request)
        return JSONResponse(make_cards(sessions.store, address))

    async def pause(request: Request) -> Response:
        check(request)
        wanted = parse_object(await read_body(request)).get("paused")
        if not isinstance(wanted, bool):
            raise RequestRefused(422, "paused is neither true nor false")
        await asyncio.to_thread(sessions.pause, wanted)
        return JSONResponse(summarise_sessions(sessions, study))

    async def create(request: Request) -> Response:
        check(request)
        body = parse_object(await read_body(request))
        number, group = body.get("number"), body.get("group")
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST_AT_ONCE:
            raise RequestRefused(422, f"the number is not a whole number from 1 to {MOST_AT_ONCE}")
        if group is not None and group not in (sessions.design.groups or (EVERYONE,)):
            raise RequestRefused(422, "there is no such group")
        await asyncio.to_thread(sessions.store.add_participants, number, group)
        return JSONResponse(summarise_sessions(sessions, study))

    return [
        Route("/api/experimenter", overview),
        Route("/api/experimenter/cards", cards),
        Route("/api/experimenter/pause", pause, methods=["POST"]),
        Route("/api/experimenter/participants", create, methods=["POST"]),
    ]

"""Two hundred participants at once, while others hold idle connections open: no answer is lost."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pandas as pd
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="ends the server by SIGINT")]

PARTICIPANTS, IDLE = 200, 300
SLOWEST = float(os.environ.get("TRAITLENS_SLOWEST_PAGE", "10"))
"""Maximum seconds of a page; 2 on an idle computer with two cores."""
ANSWER = {"rating": 4, "rt": 900.5, "moved": None, "device": "keyboard 1440x900", "language": "en"}


async def ask(streams, method, address, token, body=None):
    """Send one request over an open connection; give status, content and seconds."""
    reader, writer = streams
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {address} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    start = time.perf_counter()
    await writer.drain()
    status = int((await reader.readline()).split()[1])
    length = 0
    while (line := (await reader.readline()).strip()) != b"":
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    answer = await reader.readexactly(length)
    return status, answer, time.perf_counter() - start


async def take_part(port, token, group, seconds):
    """Take part from the first page to the last; a participant thinks for a moment before each answer."""
    streams = await asyncio.open_connection("127.0.0.1", port)
    _, answer, _ = await ask(streams, "GET", "/api/session", token)
    state = json.loads(answer)
    given = 0
    while state["step"]["kind"] != "end":
        if state["step"]["image"] is not None:
            status, _, took = await ask(streams, "GET", f"/api/faces/{state['step']['image']}", token)
            assert status == 200
            seconds.append(took)
        await asyncio.sleep(1)
        body = {"participant": state["participant"], "step": state["position"], "group": group, **ANSWER}
        status, answer, took = await ask(streams, "POST", "/api/answer", token, body)
        assert status == 200
        seconds.append(took)
        given += state["step"]["kind"] == "trial"
        state = json.loads(answer)
    streams[1].close()
    return given


async def crowd(port, tokens):
    """Let all take part at once; give the number of trials that were acknowledged, and all waiting times."""
    seconds = []
    groups = ("autistic", "non-autistic")
    people = [take_part(port, token, groups[i % 2], seconds) for i, token in enumerate(tokens)]
    return sum(await asyncio.gather(*people)), seconds


def test_no_answer_of_two_hundred_participants_is_lost(make_study):
    folder = make_study(images=6, settings="practice = 0\nchecks = 1\nrepeats = 0.0\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "traitlens.cli", "--json", "rate", "serve", str(folder)]
    command += ["--participants", str(PARTICIPANTS), "--port", str(port)]
    idle = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            links = json.loads(server.stdout.readline())["links"].values()
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.1)
            for number in range(IDLE):
                held = socket.create_connection(("127.0.0.1", port))
                held.sendall(b"GET /api/session HTTP/1.1\r\n" if number % 2 else b"")
                idle.append(held)
            tokens = [link.partition("#")[2] for link in links]
            acknowledged, seconds = asyncio.run(crowd(port, tokens))
        finally:
            for held in idle:
                held.close()
            server.send_signal(signal.SIGINT)
            server.wait(60)
    waits = pd.Series(seconds)
    print(f"{len(waits)} requests: median {waits.median():.3f} s, slowest {waits.max():.3f} s")
    with sqlite3.connect(folder / "collected" / "answers.sqlite") as connection:
        rows = pd.read_sql("SELECT * FROM answers WHERE kind = 'trial'", connection)
    assert len(rows) == acknowledged == PARTICIPANTS * 12
    assert not rows.duplicated(["participant", "image", "trait", "repeat"]).any()
    assert waits.max() < SLOWEST

"""Measure the server's response times while many participants rate at once, and check that no row is lost.

    python benchmarks/collecting.py [--participants 200] [--answers 30] [--think 1.0]

Starts `traitlens rate serve` on the loopback address, with simulated participants who answer after random
pauses.
"""

import argparse
import asyncio
import json
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SETTINGS = """
groups = ["autistic", "non-autistic"]
traits = ["warm", "critical"]
scale = [1, 7]

[collecting]
practice = 0
checks = 1
"""
ANSWER = {"rating": 4, "rt": 900.5, "moved": None, "device": "keyboard 1440x900", "language": "en"}


@dataclass
class Outcome:
    """Result of a run: response time of each answer in seconds, acknowledged answers, and stored rows."""

    seconds: list[float] = field(default_factory=list)
    acknowledged: int = 0
    kept: int = 0
    lasted: float = 0.0


def make_study(folder: Path, images: int) -> None:
    """Write a study with small random images."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for image in range(images):
        pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{image:03d}.png")
    (folder / "study.toml").write_text(SETTINGS)


class Connection:
    """A persistent connection with minimal HTTP, so that the clients use little processor time."""

    def __init__(self, port: int, token: str):
        self.port, self.token = port, token
        self.reader: asyncio.StreamReader | None = None

    async def ask(self, method: str, address: str, body: bytes = b"") -> tuple[int, dict]:
        """Send a request, and return status and content of the response."""
        if self.reader is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = (
            f"{method} {address} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
        length = next(
            int(line[15:]) for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        return status, json.loads(await self.reader.readexactly(length))


async def take_part(port: int, token: str, answers: int, think: float, seed: int, outcome: Outcome) -> None:
    """Answer a number of trials, each after a random pause of about `think` seconds."""
    rng = random.Random(seed)
    connection = Connection(port, token)
    await asyncio.sleep(rng.random() * think)
    _, state = await connection.ask("GET", "/api/session")
    given = 0
    while given < answers and state["step"]["kind"] != "end":
        rated = state["step"]["kind"] in ("trial", "check")
        more = ANSWER if rated else {"group": rng.choice(["autistic", "non-autistic"])}
        body = json.dumps({"participant": state["participant"], "step": state["position"], **more}).encode()
        start = time.perf_counter()
        status, state = await connection.ask("POST", "/api/answer", body)
        if rated:
            outcome.seconds.append(time.perf_counter() - start)
            outcome.acknowledged += status == 200
            given += 1
        await asyncio.sleep(think * (0.5 + rng.random()))
    connection.writer.close()


def run_load(participants: int = 200, answers: int = 30, think: float = 1.0) -> Outcome:
    """Start a server, simulate the participants, and return response times and counts."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        study = Path(folder) / "study"
        make_study(study, images=40)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [sys.executable, "-m", "traitlens.cli", "--json", "rate", "serve", str(study)]
        command += ["--participants", str(participants), "--port", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout is not None
            links = json.loads(server.stdout.readline())["links"].values()
            tokens = [link.split("#")[1] for link in links]
            for _ in range(300):
                with socket.socket() as trial:
                    if trial.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)

            async def everybody() -> None:
                async with asyncio.timeout(120 + answers * think * 3):
                    await asyncio.gather(
                        *(
                            take_part(port, token, answers, think, seed, outcome)
                            for seed, token in enumerate(tokens)
                        )
                    )

            start = time.perf_counter()
            asyncio.run(everybody())
            outcome.lasted = time.perf_counter() - start
        finally:
            server.kill()
            server.wait()
        with sqlite3.connect(study / "collected" / "answers.sqlite") as connection:
            (outcome.kept,) = connection.execute("SELECT count(*) FROM answers").fetchone()
    return outcome


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=200)
    parser.add_argument("--answers", type=int, default=30)
    parser.add_argument("--think", type=float, default=1.0)
    found = run_load(**vars(parser.parse_args()))
    milliseconds = np.array(found.seconds) * 1000
    print(f"{found.acknowledged} answers acknowledged, {found.kept} rows kept, in {found.lasted:.0f} s")
    print(
        f"response time in ms: median {np.median(milliseconds):.1f}, 95 % below "
        f"{np.quantile(milliseconds, 0.95):.1f}, longest {milliseconds.max():.1f}"
    )

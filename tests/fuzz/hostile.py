"""Damaged and hostile inputs, made from valid ones, and the rules that reading them must keep."""

import copy
import json
import os
import random
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from traitlens.problems import TraitlensError

SECONDS = 20
BYTES = 2 * 2**30
BASE = int(os.environ.get("TRAITLENS_FUZZ_SEED", "1"))
"""Another number makes other inputs."""
SHARE = float(os.environ.get("TRAITLENS_FUZZ_SHARE", "1"))
"""Less than one makes fewer inputs of each kind."""

SECRET = "secret.txt"
WORDS = [
    f"../{SECRET}",
    f"..\\{SECRET}",
    "/etc/passwd",
    "",
    " ",
    "\x1b[2J",
    "=cmd|' /C calc'!A0",
    "x" * 5000,
    "NaN",
    "inf",
    "-1",
    "0",
    "1e999",
    "-1e-320",
    "9" * 5000,
    "١",
    "con",
    "\u202e",
    "\ud83d\ude00",
    "null",
    "true",
    "[",
    "{",
    "0x10",
    "1,5",
    '"',
    "'",
    "\r",
    "a\nb",
    "(a+)+$",
    "%s%n",
    "\x85",
    "\ufeff",
    ".",
    "~",
    "1_000",
]
VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    10**40,
    2**63,
    1e-320,
    [],
    {},
    [[]],
    "",
    [None],
    {"a": None},
    *WORDS,
]


SLOW = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited as Linux does it"),
    pytest.mark.usefixtures("bounded"),
]
"""Marks of every module of fuzzed inputs."""


def inputs(number):
    """Run a slow test with this many numbers, each of which makes one input; the same ones each time."""
    number = max(1, round(number * SHARE))

    def decide(test):
        run = settings(
            max_examples=number, deadline=None, database=None, phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck), print_blob=False,
        )  # fmt: skip
        return run(seed(BASE)(given(number=st.integers(0, 2**48))(test)))

    return decide


def damage(content, chance):
    """Damage bytes: flip, cut, repeat, insert, move, or put hostile words in the place of values."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        kind = chance.randrange(8)
        place = chance.randrange(len(data) + 1)
        end = min(len(data), place + chance.choice([1, 4, 40, 4000]))
        if kind == 0 and data:
            for _ in range(chance.choice([1, 3, 30])):
                data[chance.randrange(len(data))] = chance.randrange(256)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = data[place:end] * chance.choice([1, 2, 50])
        elif kind == 3:
            data[place:place] = chance.randbytes(chance.choice([1, 8, 100]))
        elif kind == 4:
            del data[place:end]
        elif kind == 5:
            lines = bytes(data).split(b"\n")
            chance.shuffle(lines)
            data = bytearray(b"\n".join(lines[: chance.randrange(len(lines)) + 1]))
        else:
            word = chance.choice(WORDS).encode("utf-8", "surrogatepass")
            found = list(re.finditer(rb"[\w.+-]+", bytes(data[:200_000])))
            if found:
                start, stop = chance.choice(found).span()
                data[start:stop] = word
    return bytes(data)


def damage_json(text, chance):
    """Replace, remove or double values of a JSON text, nest them deeply, or damage its bytes."""
    if chance.random() < 0.25:
        return damage(text.encode(), chance)
    value = json.loads(text)
    for _ in range(chance.choice([1, 1, 2, 6])):
        value = _changed(value, chance)
    nested = json.dumps(value, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.05:
        depth = chance.choice([200, 100_000])
        nested = nested.replace("null", "[" * depth + "]" * depth, 1)
    return nested.encode("utf-8", "surrogatepass")


def _changed(value, chance):
    """Change one place of a JSON value, at any depth."""
    if isinstance(value, dict | list) and value and chance.random() < 0.8:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = chance.choice(keys)
        kind = chance.randrange(6)
        if kind == 0:
            del value[key]
        elif kind == 1 and isinstance(value, list):
            value.insert(key, copy.deepcopy(value[key]))
        elif kind == 1:
            value[str(chance.choice(WORDS))] = value.pop(key)
        else:
            value[key] = _changed(value[key], chance)
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and chance.random() < 0.5:
        return chance.choice([-value, value + 1, value * 1000, value / 3, str(value), [value]])
    return copy.deepcopy(chance.choice(VALUES))


_noted = {}


def _note(event, arguments):
    """Note which files are opened, written and removed."""
    events = _noted.get("events")
    if events is None:
        return
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        mode, flags = str(arguments[1] or ""), arguments[2] or 0
        writes = bool(set(mode) & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        events.append(("write" if writes else "read", os.fsdecode(arguments[0])))
    elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod"):
        folders = [one for one in arguments if isinstance(one, int) and one > 2 and event != "os.chmod"]
        for one in arguments[:2]:
            if isinstance(one, str | os.PathLike):  # relative to a folder that is open, or to the current one
                below = os.readlink(f"/proc/self/fd/{folders[0]}") if folders else ""  # noqa: PTH115
                events.append(("write", os.path.join(below, os.fsdecode(one))))  # noqa: PTH118
    elif event in ("os.system", "subprocess.Popen", "socket.connect", "pickle.find_class"):
        events.append((event, str(arguments)[:200]))


HARMLESS = ("torch._utils", "torch ", "collections", "'torch'", "'torch._utils'")


@contextmanager
def kept_inside(folder):
    """Fail if anything outside of the folder is written, the secret beside it read, or code looked up."""
    if "hook" not in _noted:
        _noted["hook"] = True
        sys.addaudithook(_note)
    _noted["events"] = events = []
    folder = folder.resolve()
    try:
        yield
    finally:
        _noted["events"] = None
    for event, told in events:
        if event == "write":
            path = Path(os.path.abspath(told))  # noqa: PTH100 (links are not followed)
            inside = path == folder or path.is_relative_to(folder) or "__pycache__" in path.parts
            assert inside or path.is_relative_to("/dev") or path.is_relative_to("/proc"), f"wrote {path}"
        elif event == "read":
            assert not told.endswith(SECRET), f"read {told}"
        else:
            is_harmless = event == "pickle.find_class" and any(one in told for one in HARMLESS)
            assert is_harmless, f"{event}: {told}"


def read_or_refuse(folder, read):
    """Read; the only errors are those that a command prints in one line. Bounded in time and memory.

    Returns
    -------
    str
        What was said; empty where it was read.
    """
    start, said = time.perf_counter(), ""
    with kept_inside(folder):
        try:
            read()
        except TraitlensError as error:
            for problem in error.problems:
                line = str(problem)
                assert line.strip(), "an error says nothing"
                assert not re.search(r"[\n\r\x1b]", line), f"not one line: {line[:300]!r}"
                assert len(line) < 5000, f"a line of {len(line)} letters: {line[:300]!r}"
            said = str(error)
        except OSError as error:
            said = str(error)
    assert time.perf_counter() - start < SECONDS
    return said


def random_of(number):
    """Return the randomness of an input's number."""
    return random.Random(number)

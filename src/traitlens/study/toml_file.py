"""Reading of TOML files of unknown origin, with limits on size and nesting depth."""

import re
import tomllib
from pathlib import Path
from typing import Any

MOST_BYTES = 2**20
DEEPEST = 64
"""Maximum nesting depth of tables, lists and dotted keys."""

_STRING = re.compile(r"""\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""", re.DOTALL)
_KEY = re.compile(r"""\s*(?:[\w-]+|"[^"\n]*"|'[^'\n]*')\s*""")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    OSError
        If the file cannot be read.
    tomllib.TOMLDecodeError
        If it is not TOML in UTF-8, larger than :data:`MOST_BYTES`, or nested more deeply than
        :data:`DEEPEST`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.toml"
    >>> _ = path.write_text("seed = 1")
    >>> read_toml(path)
    {'seed': 1}
    """
    with Path(path).open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise tomllib.TOMLDecodeError("it is larger than a megabyte")
    try:
        text = content.decode("utf-8-sig")
        if _is_deep(text):
            raise tomllib.TOMLDecodeError("it is nested too deeply")
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("it is nested too deeply") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # not UTF-8, or a number that is too long
        raise tomllib.TOMLDecodeError(str(error)) from None


def _is_deep(text: str) -> bool:
    """Return whether brackets or dotted keys are nested too deeply, without parsing the text."""
    text = _STRING.sub('""', text)
    depth = 0
    for mark in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if mark in "[{" else max(depth - 1, 0)
        if depth > DEEPEST:
            return True
    run = 0
    for piece in text.split("."):
        run = run + 1 if _KEY.fullmatch(piece) else 0
        if run > DEEPEST:
            return True
    return False

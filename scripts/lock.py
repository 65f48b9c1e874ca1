"""Pin the versions of all dependencies, for Python 3.11 to 3.14 on Linux, macOS and Windows.

Writes requirements.txt with the hashes of all files, for `pip install --require-hashes`, and constraints.txt
with the same versions without hashes, which `make` uses.

Usage: python scripts/lock.py [--newer]
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKED, CONSTRAINTS = ROOT / "requirements.txt", ROOT / "constraints.txt"
EXTRAS = ("dev", "docs", "cross-check", "release")
LOWEST = "3.11.5"
"""Oldest version of Python; the documentation's theme needs 3.11.5, traitlens itself needs 3.11."""

HEADING = """\
# {what}. Written by `make lock`.
# Python {lowest} to 3.14 on Linux, macOS and Windows. On Linux, PyTorch depends on the CUDA packages.
"""


def main() -> None:
    """Write both files; versions that are pinned already stay, unless --newer is given."""
    newer = sys.argv[1:] == ["--newer"]
    if sys.argv[1:] and not newer:
        sys.exit(__doc__)
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--no-annotate",
        "--no-header",
    ]
    command += ["--python-version", LOWEST, "--generate-hashes", "pyproject.toml"]
    command += [part for extra in EXTRAS for part in ("--extra", extra)]
    command += [] if newer else ["--constraint", CONSTRAINTS.name]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    pins = [line.removesuffix(" \\") for line in done.stdout.splitlines() if not line.startswith(" ")]
    heading = HEADING.format(what="Every package with the hashes of its files", lowest=LOWEST)
    LOCKED.write_text(heading + done.stdout, encoding="utf-8", newline="\n")
    heading = HEADING.format(what="Versions for development and for the checks", lowest=LOWEST)
    CONSTRAINTS.write_text(heading + "\n".join(pins) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

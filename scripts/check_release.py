"""Check that tag, version, CITATION.cff, changelog and project metadata are consistent before a release.

Usage: python scripts/check_release.py v0.1.0
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def read(name: str) -> str:
    """Read a text file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def found(pattern: str, text: str) -> str | None:
    """Return the first group of the first match of a pattern; None without a match."""
    match = re.search(pattern, text, flags=re.MULTILINE)
    return match and match[1]


def faults(tag: str) -> list[str]:
    """Return the reasons why a tag cannot be released."""
    version = found(r'^__version__ = "(.+)"', read("src/traitlens/__init__.py"))
    citation, changes = read("CITATION.cff"), read("CHANGELOG.md")
    date = found(r'^date-released: "?([0-9-]+)"?', citation)
    checks = {
        f"the tag is {tag}, and the version {version}": tag == f"v{version}",
        "CITATION.cff has another version": found(r'^version: "?([^"\n]+)"?', citation) == version,
        f"CHANGELOG.md has no heading `## {version} ({date})`": f"## {version} ({date})" in changes,
        "pyproject.toml has no address in [project.urls]": bool(
            tomllib.loads(read("pyproject.toml"))["project"].get("urls")
        ),
    }
    return [fault for fault, holds in checks.items() if not holds]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit("\n".join(faults(sys.argv[1])) or None)

"""What the documentation says is so: its commands exist, and the tutorial runs as written."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from traitlens import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
BLOCK = re.compile(
    r"^```(?:\{code-block\} )?(\w+)\n((?::[a-z-]+: [^\n]*\n)*)(.*?)^```", re.MULTILINE | re.DOTALL
)


def blocks_of(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    return [(found[1], found[3]) for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def commands_of(page: Path) -> list[str]:
    """The commands of a page's consoles."""
    consoles = [text for language, text in blocks_of(page) if language == "console"]
    return [
        line.removeprefix("$ ") for text in consoles for line in text.splitlines() if line.startswith("$ ")
    ]


ALL_COMMANDS = [(page, command) for page in PAGES for command in commands_of(page)]


@pytest.mark.parametrize(("page", "command"), ALL_COMMANDS, ids=[command for _, command in ALL_COMMANDS])
def test_every_command_in_the_documentation_exists(page, command):
    program, *words = shlex.split(command)
    assert program == "traitlens", page
    parser = typer.main.get_command(cli.app)
    while inner := getattr(parser, "commands", None):
        parser = inner[words.pop(0)]
    # Raises where an argument is missing or an option is unknown; runs nothing.
    parser.make_context(parser.name, words)


def test_every_function_that_the_documentation_lists_exists():
    listed = re.findall(r"^ {3}(traitlens\.[\w.]+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert len(listed) > 20
    for path in listed:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.timeout(1200)
def test_the_tutorial_runs_as_written(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "MPLBACKEND": "agg"}

    def call(*arguments: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{arguments}\n{done.stderr[-2000:]}"
        return done

    told = {}
    for language, text in blocks_of(ROOT / "docs" / "tutorial.md"):
        if language == "toml":
            with (tmp_path / "mystudy" / "study.toml").open("a", encoding="utf-8") as settings:
                settings.write(text)
        elif language == "python":
            told[language] = call("-c", text).stdout
        else:
            for line in text.splitlines():
                command = line.removeprefix("$ traitlens ")
                told[command] = call("-m", "traitlens.cli", *shlex.split(command)).stdout
    results = tmp_path / "mystudy" / "results"
    assert "ceiling" in told["run mystudy"]
    assert "ceiling_r" in told["python"]
    assert "Cao, R." in told["cite mystudy/results"]
    report = (results / "report.html").read_text(encoding="utf-8")
    assert "never a fact about" in report
    for part in ("reliability", "regions", "performance"):
        assert (results / "comparisons" / f"{part}.csv").is_file()
    assert (tmp_path / "warm.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "performance.png").is_file()

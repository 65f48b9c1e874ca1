"""What the documentation says is so: its commands exist, and the tutorial runs as written."""

import importlib
import os
import re
import runpy
import shlex
import shutil
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


def between(text, name):
    return text.split(f"<!-- {name} -->\n")[1].split(f"<!-- end of {name} -->")[0]


def test_the_page_on_architecture_lists_the_stages_of_the_flow():
    from traitlens.pipeline import FLOW

    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert between(page, "stages") == describe_stages(FLOW)


def describe_stages(flow):
    """Write the flow as a table."""
    lines = ["| stage | what | reads |", "|---|---|---|"]
    for stage in flow:
        reads = [f"`{one if isinstance(one, str) else one.path}`" for one in stage.inputs]
        told = "all results" if len(reads) > 25 else ", ".join(reads)
        lines.append(f"| `{stage.name}` | {stage.label} | {told} |")
    return "\n".join(lines) + "\n"


def test_the_page_on_architecture_lists_every_file_of_a_results_folder():
    from traitlens.artifacts import ARTIFACTS

    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = ["| file | what it holds |", "|---|---|"]
    lines += [f"| `{one.path}` | {one.meaning} |" for one in ARTIFACTS.values()]
    assert between(page, "artifacts") == "\n".join(lines) + "\n"


WITHOUT_PICTURE = {"api", "changes", "command_line", "glossary", "security", "statistics"}
"""Pages of words or signatures only."""


def test_the_tests_for_other_processors_are_there():
    script = runpy.run_path(str(ROOT / "scripts" / "test_processors.py"))
    assert [name for name in script["TESTS"] if not (ROOT / name).exists()] == []


def test_every_page_shows_a_picture_that_is_there():
    for page in (ROOT / "docs").glob("*.md"):
        shown = re.findall(r"images/[\w.-]+\.png", page.read_text(encoding="utf-8"))
        assert shown or page.stem in WITHOUT_PICTURE, page.name
        assert all((ROOT / "docs" / image).is_file() for image in shown), page.name


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_the_script_for_r_reads_the_results(tmp_path):
    from tests.report.results_folder import make_results

    results = make_results(tmp_path / "results", hostile=False, traits=("warm", "strong"))
    script, figure = ROOT / "docs" / "examples" / "results.R", tmp_path / "figure.pdf"
    done = subprocess.run(["Rscript", script, results, figure], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Welch Two Sample t-test" in done.stdout
    assert figure.read_bytes().startswith(b"%PDF")

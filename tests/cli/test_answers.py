"""What every command has in common: an example, one-line errors, answers for scripts, completion."""

import errno
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import typer

from traitlens import cli
from traitlens.study.settings import Settings
from traitlens.study.simulated_study import simulate_study

COMMANDS = typer.main.get_command(cli.app)


def all_commands(command=COMMANDS, words=()):
    """Every command with the words that call it."""
    inner = getattr(command, "commands", None)
    if not inner:
        return [(words, command)]
    return [found for name, one in inner.items() for found in all_commands(one, (*words, name))]


@pytest.mark.parametrize(("words", "command"), all_commands(), ids=lambda value: str(value)[:40])
def test_every_command_has_an_example_of_itself(words, command):
    assert f"Example: traitlens {' '.join(words)}" in " ".join(command.help.split())


@pytest.mark.parametrize(("words", "command"), all_commands(), ids=lambda value: str(value)[:40])
def test_every_argument_and_option_is_explained(words, command):
    unexplained = [parameter.name for parameter in command.params if not getattr(parameter, "help", "")]
    assert unexplained == []


def test_the_help_keeps_the_order_of_work(traitlens):
    code, out, _ = traitlens("--help")
    assert code == 0
    places = [out.index(f"─ {heading} ") for heading in cli.COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rnu"], "no such command 'rnu'; did you mean 'run'?; see traitlens --help"),
        (["run"], "missing argument 'STUDY'; see traitlens run --help"),
        (["run", "a", "--nope"], "no such option: --nope; see traitlens run --help"),
        (["simulate", "a", "--seed", "x"], "see traitlens simulate --help"),
        (["check", "nowhere"], "nowhere: there is no such folder; name the study folder"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(traitlens, arguments, told):
    code, out, err = traitlens(*arguments)
    lines = [line for line in err.splitlines() if "✗" in line]
    assert (code, out, len(lines)) == (2, "", 1)
    assert told in lines[0]


@pytest.mark.parametrize("arguments", [("--json", "check", "nowhere"), ("check", "nowhere", "--json")])
def test_scripts_get_errors_as_json(traitlens, arguments):
    code, out, _ = traitlens(*arguments)
    assert code == 2
    (problem,) = json.loads(out)["problems"]
    assert problem["file"] == "nowhere"
    assert problem["what"] == "there is no such folder"


def test_scripts_get_answers_as_json_and_nothing_else(traitlens, tmp_path):
    simulate_study(tmp_path / "study", identities=12, images=1, traits=2, raters=6, seed=3, size=64)
    code, out, err = traitlens("check", tmp_path / "study", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["images"] == 12
    assert len(told["groups"]) == len(told["traits"]) == 2


def test_scripts_get_tables_as_rows(capsys):
    cli.print_only_json(True)
    cli.print_result(
        {"table": pd.DataFrame({"r": [0.5, float("nan")], "trait": "é"}), "out": Path("a")}, "for people"
    )
    cli.print_only_json(False)
    rows = [{"r": 0.5, "trait": "é"}, {"r": None, "trait": "é"}]
    assert json.loads(capsys.readouterr().out) == {"table": rows, "out": "a"}


def test_scripts_get_the_version(traitlens):
    code, out, _ = traitlens("--version", "--json")
    assert (code, json.loads(out)) == (0, {"version": cli.traitlens.__version__})


def test_init_writes_settings_that_check_accepts(traitlens, tmp_path):
    code, out, _ = traitlens("init", tmp_path / "study")
    assert code == 0
    assert "traitlens check" in " ".join(out.split())
    assert (tmp_path / "study" / "images").is_dir()
    settings = tomllib.loads((tmp_path / "study" / "study.toml").read_text("utf-8"))
    assert Settings.model_validate(settings) == Settings(name="study")
    before = (tmp_path / "study" / "study.toml").read_bytes()
    assert traitlens("init", tmp_path / "study")[0] == 2
    assert (tmp_path / "study" / "study.toml").read_bytes() == before


def test_doctor_tells_what_is_good_and_what_is_not(traitlens, tmp_path, monkeypatch):
    monkeypatch.delenv("TRAITLENS_WEIGHTS", raising=False)
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))
    code, out, _ = traitlens("doctor", tmp_path, "--json")
    findings = {finding["what"]: finding for finding in json.loads(out)["findings"]}
    assert code == 0
    assert {"traitlens", "packages", "device", "weights", "cache", "folder"} <= set(findings)
    assert findings["weights"]["state"] == "missing"
    assert "torch" in findings["packages"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_doctor_fails_where_the_weights_are_wrong(traitlens, tmp_path, monkeypatch):
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    monkeypatch.setenv("TRAITLENS_WEIGHTS", str(tmp_path / "weights.safetensors"))
    code, out, _ = traitlens("doctor", tmp_path)
    assert code == 2
    assert "✗ weights" in out
    assert "Fix: weights" in out


def test_doctor_fails_where_nothing_can_be_written(traitlens, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "file" / "cache"))
    code, out, _ = traitlens("doctor", tmp_path, "--json")
    findings = {finding["what"]: finding["state"] for finding in json.loads(out)["findings"]}
    assert (code, findings["cache"], findings["folder"]) == (2, "bad", "good")


def test_cite_names_traitlens_and_what_it_rests_on(traitlens):
    code, out, _ = traitlens("cite")
    assert code == 0
    text = " ".join(out.split())
    for words in ("traitlens developers", "Cao, R.", "Simonyan, K.", "10.1371/journal.pone.0130140"):
        assert words in text


def test_the_shell_completes_commands_and_choices():
    def complete(line, place):
        done = subprocess.run(
            [sys.executable, "-m", "traitlens.cli"],
            env=os.environ
            | {"_TRAITLENS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(place)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert complete("traitlens ru", 1) == ["run"]
    assert complete("traitlens run study --device ", 4) == ["cpu", "cuda", "mps", "auto"]


def test_the_page_on_the_command_line_shows_what_is_printed(traitlens):
    page = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text("utf-8")
    line = next(line for line in page.splitlines() if line.startswith('{"problems"'))
    assert json.loads(traitlens("check", "nowhere", "--json")[1]) == json.loads(line)
    for words in re.findall(r"^traitlens (\w+)", page, re.MULTILINE):
        assert words in COMMANDS.commands


def test_a_disk_that_fails_is_told_in_one_line(traitlens, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(tmp_path / "a.png"))

    monkeypatch.setattr("traitlens.pipeline.study_check.check", fail)
    code, out, err = traitlens("check", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith(f"✗ {tmp_path / 'a.png'}: {os.strerror(errno.EIO)}; finished work is kept")
    assert err.count("\n") == 1

"""What `traitlens run` ends with: the performance in the study's order, then the findings."""

from types import SimpleNamespace

import pytest
from tests.report.results_folder import make_results

from traitlens import cli
from traitlens.report.results import read_results


@pytest.fixture
def done(tmp_path, monkeypatch):
    """A run that has been made already."""
    results = make_results(tmp_path / "results", hostile=False, traits=("warm", "bold"))
    performance = read_results(results).performance.iloc[::-1]
    study = SimpleNamespace(notices=[])
    run = SimpleNamespace(results=results, study=study, performance=performance)
    monkeypatch.setattr("traitlens.api.run", lambda *_arguments: run)
    return run


def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["traitlens", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    return capsys.readouterr().out


def test_a_run_ends_with_the_answers(done, monkeypatch, capsys, tmp_path):
    told = call(monkeypatch, capsys, "run", str(tmp_path))
    lines = told.splitlines()
    table = [line.split()[:2] for line in lines if line.split()[:1] in (["warm"], ["bold"])]
    assert table == [
        ["warm", "autistic"], ["warm", "non-autistic"], ["bold", "autistic"], ["bold", "non-autistic"],
    ]  # fmt: skip
    sentences = " ".join(told.split())  # lines are wrapped
    assert "No difference was found in" in sentences or "used more by" in sentences
    caution = told.index("Nothing may be concluded about the persons shown")
    assert told.index("bold") < caution < told.index("report.html")
    assert lines[-1].startswith("Next: ")


def test_scripts_get_the_same_sentences(done, monkeypatch, capsys, tmp_path):
    import json

    facts = json.loads(call(monkeypatch, capsys, "--json", "run", str(tmp_path)))
    assert any("Ratings of faces that the model had not seen" in text for text in facts["headlines"])

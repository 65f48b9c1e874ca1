"""Results folders of strangers, or rotten ones: every file that no run wrote is named."""

import json
import shutil

import pytest
from tests.report.results_folder import make_results

from traitlens.problems import TraitlensError
from traitlens.report.results import NEEDED, read_results


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("results") / "whole", hostile=False)


def study(**changes):
    def change(folder):
        content = json.loads((folder / "study.json").read_text("utf-8")) | changes
        (folder / "study.json").write_text(json.dumps(content), "utf-8")

    return change


def table(name, change):
    def write(folder):
        text = (folder / name).read_text("utf-8")
        (folder / name).write_text(change(text), "utf-8")

    return write


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


CHANGES = {
    "groups are a number": ("study.json", study(groups=5)),
    "traits are numbers": ("study.json", study(traits=[1, 2])),
    "settings are a list": ("study.json", study(settings=[])),
    "permissions are text": ("study.json", study(may_publish="all")),
    "deep JSON": ("study.json", write("study.json", b"[" * 100_000)),
    "a list": ("study.json", write("study.json", b"[1, 2]")),
    "no text": ("study.json", write("study.json", bytes(range(256)))),
    "saved by a German Excel": (
        "performance.csv",
        table("performance.csv", lambda text: text.replace(",", ";").replace(".", ",")),
    ),
    "text in numbers": ("performance.csv", table("performance.csv", lambda text: text.replace(",0.", ",x"))),
    "a column is gone": (
        "predictions.csv",
        table("predictions.csv", lambda t: t.replace("observed", "seen")),
    ),
    "no table": ("predictions.csv", write("predictions.csv", b"\x00\xff" * 1000)),
    "deep metadata": ("average_maps.zarr", write("average_maps.zarr/.zmetadata", b"[" * 100_000)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_no_run_wrote_is_named(whole, tmp_path, name):
    file, change = CHANGES[name]
    folder = shutil.copytree(whole, tmp_path / "results")
    change(folder)
    with pytest.raises(TraitlensError) as caught:
        read_results(folder)
    assert file in str(caught.value)
    assert all("\n" not in str(problem) for problem in caught.value.problems)
    assert all(len(str(problem)) < 600 for problem in caught.value.problems)


@pytest.mark.parametrize("name", NEEDED)
def test_a_table_without_a_row_is_no_fault(whole, tmp_path, name):
    """A run writes such tables, as where no region adds to a prediction."""
    folder = shutil.copytree(whole, tmp_path / "results")
    (folder / name).write_text((folder / name).read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    read_results(folder)

"""The command line as a user meets it: what it prints, and with which code it ends."""

import re
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

from traitlens.study.simulated_study import simulate_study


def traitlens(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "traitlens.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "study"
    simulate_study(folder, identities=12, images=1, traits=2, raters=6, seed=3, size=96)
    return folder


@pytest.fixture
def broken(study, tmp_path):
    """A study with one fault of every kind."""
    import shutil

    folder = tmp_path / "broken"
    shutil.copytree(study, folder)
    ratings = pd.read_csv(folder / "ratings.csv", dtype=str, keep_default_na=False)
    ratings.loc[3, "image"] = "nobody.png"
    ratings.loc[5, "rating"] = "99"
    ratings.loc[7, "rating"] = "often"
    flat = ratings[ratings.trait == ratings.trait[0]].assign(trait="flat", rating="4")
    lone = ratings[ratings.rater == ratings.rater[0]].assign(rater="alone", group="lonely")
    ratings = pd.concat([ratings, flat, lone, ratings.iloc[[10]]])
    ratings.to_csv(folder / "ratings.csv", index=False)
    settings = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(re.sub(r"(?m)^(groups|traits) = .*$", "", settings))
    image = sorted((folder / "images").rglob("*.png"))[0]
    image.write_bytes(image.read_bytes()[:300])
    return folder


def test_every_fault_is_told_at_once_with_file_and_row(broken):
    done = traitlens("check", broken)
    text = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    assert "ratings.csv, row 5, column 'image': there is no image 'nobody.png'" in text
    assert "ratings.csv, row 7, column 'rating': 99 is off the scale 1 to 9" in text
    assert "ratings.csv, row 9, column 'rating': 'often' is not a number" in text
    assert "trait 'flat' has no variance" in text
    assert "group 'lonely' has one rater" in text
    assert "has the same rater, group, image, trait and repeat as row 12" in text
    assert ".png" in text.split("images/", 1)[1][:40]
    assert not (broken / "results").exists()


def test_run_refuses_a_broken_study_before_any_work(broken):
    done = traitlens("run", broken)
    assert done.returncode == 2
    assert "errors. Fix them" in done.stderr
    assert not (broken / "results").exists()


def test_check_of_a_good_study_says_what_it_holds(study):
    done = traitlens("check", study)
    assert done.returncode == 0, done.stderr
    assert "12 images of 12 identities" in done.stdout
    assert "No errors were found." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "no-such-folder"], "there is no such folder"),
        (["run", "no-such-folder"], "there is no such folder"),
        (["import", "3dsk", "no-such-folder", "out"], "no-such-folder"),
    ],
)
def test_a_wrong_folder_is_named(arguments, words, tmp_path):
    done = traitlens(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_weights_file_that_was_named_must_be_right(study, tmp_path):
    wrong = tmp_path / "weights.safetensors"
    wrong.write_bytes(b"no weights")
    done = traitlens("run", study, "--weights", wrong, "--out", tmp_path / "results")
    assert done.returncode == 2
    assert "weights.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_results_that_cannot_be_written_are_named(study, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = traitlens("run", study, "--out", tmp_path / "file")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize("command", [[], ["rate"]])
def test_without_a_command_there_is_help_and_nothing_else(command):
    done = traitlens(*command)
    assert done.returncode == 2
    assert "Example: traitlens" in done.stdout
    assert done.stderr == ""


def test_help_groups_the_commands_and_states_the_limits():
    done = traitlens("--help")
    assert done.returncode == 0
    for word in ("demo", "import", "check", "run", "never facts about the"):
        assert word in done.stdout


def test_an_image_of_another_kind_is_refused_with_its_name(study, tmp_path):
    import shutil

    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    image = sorted((folder / "images").rglob("*.png"))[0]
    Image.new("RGB", (64, 64)).save(image, format="GIF")
    done = traitlens("check", folder)
    assert done.returncode == 2
    assert image.name in done.stderr

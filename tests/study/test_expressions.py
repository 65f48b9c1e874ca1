"""Regular expressions of a study: as Python's, in time that grows with the text alone."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.study.conftest import write_images
from tests.study.test_kinds_of_tables import FACES, long, wide

from traitlens.problems import StudyError
from traitlens.study.expressions import check_expression, extract
from traitlens.study.import_table import import_table
from traitlens.study.reading import Study

PATTERNS = [
    r"^(?P<image>.+)_(?P<trait>\w+)$",
    r"^(?P<trait>very\ strong|warm)[_. \-]+(?P<image>.+)$",
    r"(?P<trait>.*?)\s*\[(?P<image>[^\[\]]+)\]",
    r"^(?P<image>[\w-]+?)-(?:\w+)(?P<trait>\d*)",
    r"(?P<image>[^)(]+)\((?P<trait>[^)]*)\)",
]


@given(text=st.text(alphabet="aä_1-[](). b", max_size=12), pattern=st.sampled_from(PATTERNS))
def test_expressions_match_as_pythons(text, pattern):
    match = re.search(pattern, text)
    (found,) = extract(pattern, [text])
    assert found == (None if match is None else {k: v or "" for k, v in match.groupdict().items()})


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)*$", r"(.*,){20}x", r"^(\w+\s?)*$"])
def test_no_expression_takes_for_ever(pattern):
    started = time.perf_counter()
    extract(pattern, ["a" * 20_000 + "!"] * 5)
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize("pattern", ["(", "[a", r"(a)\1", "(?=a)", "a{1,100000}", "(?P<x>a)(?P<x>b)"])
def test_expressions_that_cannot_be_matched_are_refused(pattern, study_folder):
    with pytest.raises(ValueError, match=r"."):
        check_expression(pattern)
    (study_folder / "study.toml").write_text(f"[ratings]\npattern = '{pattern}'\n")
    with pytest.raises(StudyError, match="not a valid regular expression"):
        Study.load(study_folder)


def test_identities_and_groups_by_expression(tmp_path):
    names = [f"id{number:02d}_{mood}.png" for number in range(1, 7) for mood in ("sad", "glad")]
    write_images(tmp_path, names)
    long(images=names).to_csv(tmp_path / "r.csv", index=False)
    done = import_table(
        tmp_path / "r.csv", tmp_path / "st", tmp_path / "images", identity=r"(id\d+)_", folds=2
    )
    assert sorted(done.study.images["identity"].unique()) == [f"id{number:02d}" for number in range(1, 7)]
    with pytest.raises(StudyError, match="neither a column nor a valid regular expression"):
        import_table(tmp_path / "r.csv", tmp_path / "two", tmp_path / "images", identity=r"(a)\1")


def test_groups_by_expression(tmp_path):
    write_images(tmp_path, FACES)
    table = wide()
    table["id"] = ["ASD_1", "NT_1", "ASD_2", "NT_2", "ASD_3", "NT_3"]
    table.to_csv(tmp_path / "w.csv", index=False)
    done = import_table(
        tmp_path / "w.csv", tmp_path / "st", tmp_path / "images", rater="id", group_pattern="(asd|nt)"
    )
    assert done.study.groups == ["ASD", "NT"]

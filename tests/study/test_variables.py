"""Variables of the raters are read as what they are, and their faults are told before any work."""

import numpy as np
import pandas as pd
import pytest

from traitlens.problems import StudyError
from traitlens.study.reading import Study


@pytest.fixture
def with_variable(study_folder):
    def write(values: dict[str, str]):
        """Give each rater a value of `age`."""
        ratings = pd.read_csv(study_folder / "ratings.csv", dtype=str)
        ratings["age"] = ratings["rater"].map(values)
        ratings.to_csv(study_folder / "ratings.csv", index=False)
        with (study_folder / "study.toml").open("a") as file:
            file.write('[comparison]\nvariables = ["age"]\n')
        return study_folder

    return write


AGES = {"A0": "31", "A1": "40,5", "A2": "", "B0": "22", "B1": "58", "B2": "19"}


def test_a_number_is_a_number_and_an_empty_cell_is_missing(with_variable):
    ratings = Study.load(with_variable(AGES)).ratings
    by_rater = ratings.groupby("rater")["age"].first()
    np.testing.assert_array_equal(by_rater, [31, 40.5, np.nan, 22, 58, 19])


def test_names_stay_names(with_variable):
    names = dict(zip(AGES, ["low", "low", "", "high", "low", "high"], strict=True))
    ratings = Study.load(with_variable(names)).ratings
    assert ratings.dropna().groupby("rater")["age"].first().to_dict() == {
        rater: name for rater, name in names.items() if name
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"A1": "old"}, "ratings.csv, row 14, column 'age': 'old' is not a number"),
        (dict.fromkeys(AGES, "30"), "ratings.csv, column 'age': is the same for all raters"),
        (
            dict.fromkeys(AGES, "low") | {"A1": "high"},
            "ratings.csv, column 'age': only one rater has 'high' for trait 'warm'",
        ),
    ],
)
def test_faults_are_told(with_variable, changes, told):
    with pytest.raises(StudyError) as caught:
        Study.load(with_variable(AGES | changes))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(told)


def test_a_rater_has_one_value(with_variable):
    folder = with_variable(AGES)
    ratings = pd.read_csv(folder / "ratings.csv", dtype=str)
    ratings.loc[1, "age"] = "32"
    ratings.to_csv(folder / "ratings.csv", index=False)
    with pytest.raises(StudyError, match="row 3, column 'age': rater 'A0' has several values"):
        Study.load(folder)


def test_a_variable_that_is_not_there(study_folder):
    (study_folder / "study.toml").write_text('scale = [1, 7]\n[comparison]\nvariables = ["score"]\n')
    with pytest.raises(StudyError, match="column 'score' is missing"):
        Study.load(study_folder)

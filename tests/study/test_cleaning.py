"""Each rule of cleaning takes what it says, and says what it took."""

import numpy as np
import pandas as pd
import pytest

from traitlens.problems import StudyError
from traitlens.study.cleaning import agreement_with_others, clean_ratings, retest_correlations
from traitlens.study.reading import Study
from traitlens.study.settings import CleaningSettings


@pytest.fixture
def ratings(make_ratings):
    table = make_ratings(traits=("warm", "strong")).assign(repeat=1, rt=900.0)
    return table.assign(rating=table["rating"].astype(float))


def taken(cleaned, step):
    return cleaned.left_out[cleaned.left_out["step"] == step]


def test_without_rules_everything_stays(ratings):
    cleaned = clean_ratings(ratings, CleaningSettings())
    pd.testing.assert_frame_equal(cleaned.ratings, ratings)
    assert cleaned.left_out.empty
    assert cleaned.steps["ratings"].tolist() == [len(ratings)]


def test_off_scale(ratings):
    ratings.loc[[3, 8], "rating"] = [0, 11]
    cleaned = clean_ratings(ratings, CleaningSettings(off_scale=True), scale=(1, 7))
    assert taken(cleaned, "off_scale")["rating"].tolist() == [0, 11]
    assert len(cleaned.ratings) == len(ratings) - 2


def test_too_fast_answers_and_raters(ratings):
    ratings.loc[ratings["rater"] == "A0", "rt"] = 100
    ratings.loc[ratings.index[ratings["rater"] == "B1"][:2], "rt"] = 100
    cleaned = clean_ratings(ratings, CleaningSettings(fastest=200, most_too_fast=0.5))
    assert set(taken(cleaned, "most_too_fast")["rater"]) == {"A0"}
    assert taken(cleaned, "fastest")["rater"].tolist() == ["B1", "B1"]
    assert cleaned.steps["raters_left_out"].tolist() == [0, 1, 0]


def test_one_value_throughout_a_trait(ratings):
    ratings.loc[(ratings["rater"] == "A1") & (ratings["trait"] == "warm"), "rating"] = 4
    cleaned = clean_ratings(ratings, CleaningSettings(one_value=True))
    left_out = taken(cleaned, "one_value")
    assert set(zip(left_out["rater"], left_out["trait"], strict=True)) == {("A1", "warm")}


def test_retest(ratings):
    again = ratings[ratings["trait"] == "warm"].assign(repeat=2)
    turned = again["rater"] == "B2"
    again.loc[turned, "rating"] = 8 - again.loc[turned, "rating"]
    both = pd.concat([ratings, again], ignore_index=True)
    correlations = retest_correlations(both)
    expected = {"A0": 1.0, "A1": 1.0, "A2": 1.0, "B0": 1.0, "B1": 1.0, "B2": -1.0}
    assert correlations.to_dict() == pytest.approx(expected, abs=1e-12)
    cleaned = clean_ratings(both, CleaningSettings(lowest_retest=0.3))
    assert set(taken(cleaned, "lowest_retest")["rater"]) == {"B2"}


def test_missing_cells_and_few_ratings(ratings):
    gone = (ratings["rater"] == "A2") & (ratings["image"] > "03.png") & (ratings["trait"] == "warm")
    cleaned = clean_ratings(ratings[~gone], CleaningSettings(most_missing=0.5))
    assert set(taken(cleaned, "most_missing")["trait"]) == {"warm"}
    assert set(taken(cleaned, "most_missing")["rater"]) == {"A2"}
    cleaned = clean_ratings(ratings[~gone], CleaningSettings(fewest_ratings=3))
    left_out = taken(cleaned, "fewest_ratings")
    assert set(left_out["image"]) == set(ratings["image"][ratings["image"] > "03.png"])
    assert set(left_out["group"]) == {"A"}


def test_nothing_is_lost_between_the_steps(ratings):
    rng = np.random.default_rng(0)
    ratings["rt"] = rng.uniform(100, 1000, len(ratings))
    ratings["rating"] = rng.integers(0, 10, len(ratings)).astype(float)
    rules = CleaningSettings(fastest=300, off_scale=True, fewest_ratings=2, most_missing=0.6, one_value=True)
    cleaned = clean_ratings(ratings, rules, scale=(1, 7))
    assert len(cleaned.ratings) + len(cleaned.left_out) == len(ratings)
    assert cleaned.steps["ratings_left_out"].sum() == len(cleaned.left_out)
    assert cleaned.steps["ratings"].iloc[-1] == len(cleaned.ratings)
    assert len(cleaned.steps) == 6


def test_rules_without_their_columns_are_told(ratings):
    with pytest.raises(StudyError, match=r"cleaning\.fastest needs column 'rt'"):
        clean_ratings(ratings.drop(columns="rt"), CleaningSettings(fastest=100))


def test_a_study_is_cleaned_as_it_says(study_folder, make_ratings):
    table = make_ratings()
    table.loc[0, "rating"] = 9
    table.to_csv(study_folder / "ratings.csv", index=False)
    (study_folder / "study.toml").write_text("scale = [1, 7]\n[cleaning]\noff_scale = true\n")
    study = Study.load(study_folder)
    assert len(study.ratings) == 71
    assert study.cleaning.steps["ratings_left_out"].tolist() == [0, 1]
    (study_folder / "study.toml").write_text(
        "scale = [1, 7]\n[cleaning]\noff_scale = true\nfewest_ratings = 4\n"
    )
    with pytest.raises(StudyError, match="cleaning leaves no rating"):
        Study.load(study_folder)


def test_sliders_that_were_not_moved(ratings):
    ratings["moved"] = "true"
    ratings.loc[[2, 5], "moved"] = ["false", ""]
    cleaned = clean_ratings(ratings, CleaningSettings(untouched=True))
    assert taken(cleaned, "untouched").index.tolist() == [0]
    assert len(cleaned.ratings) == len(ratings) - 1


def test_missed_attention_checks(ratings):
    ratings["checks_passed"] = np.where(ratings["rater"] == "A2", 0.25, 0.75)
    cleaned = clean_ratings(ratings, CleaningSettings(lowest_checks=0.5))
    assert set(taken(cleaned, "lowest_checks")["rater"]) == {"A2"}


def test_agreement_is_with_the_mean_of_the_others(ratings):
    rng = np.random.default_rng(4)
    ratings["rating"] = rng.integers(1, 8, len(ratings)).astype(float)
    agreement = agreement_with_others(ratings)
    wide = ratings.pivot_table(index=["trait", "image"], columns="rater", values="rating")
    for rater, others in (("A0", ["A1", "A2"]), ("B2", ["B0", "B1"])):
        by_trait = [
            np.corrcoef(wide.loc[trait, rater], wide.loc[trait, others].mean(axis=1))[0, 1]
            for trait in ("warm", "strong")
        ]
        assert agreement[rater] == pytest.approx(np.mean(by_trait), abs=1e-12)
    least = agreement.idxmin()
    cleaned = clean_ratings(ratings, CleaningSettings(lowest_agreement=float(agreement.min()) + 1e-9))
    assert set(taken(cleaned, "lowest_agreement")["rater"]) == {least}


def test_recognised_faces_lose_single_judgements_and_the_item_is_no_trait(study_folder, make_ratings):
    table = make_ratings()
    faces = sorted(table["image"].unique())
    rater, other = sorted(table["rater"].unique())[:2]
    item = table.drop_duplicates(["rater", "image"]).assign(trait="recognise", rating=1.0)
    known = (item["rater"] == rater) & (item["image"] == faces[0])
    item.loc[known, "rating"] = 3
    pd.concat([table, item]).to_csv(study_folder / "ratings.csv", index=False)
    traits = list(table["trait"].unique())
    text = f'scale = [1, 7]\ntraits = {traits}\n[cleaning]\nrecognised = "recognise >= 2"\n'
    (study_folder / "study.toml").write_text(text.replace("'", '"'))
    study = Study.load(study_folder)
    assert set(study.ratings["trait"]) == set(traits)
    own = study.ratings[study.ratings["image"] == faces[0]]
    assert rater not in set(own["rater"])
    assert other in set(own["rater"])
    assert len(study.ratings) == len(table) - len(
        table[(table["rater"] == rater) & (table["image"] == faces[0])]
    )
    (study_folder / "study.toml").write_text('[cleaning]\nrecognised = "recognize >= 2"\n')
    with pytest.raises(StudyError, match="names 'recognize', which nobody rated"):
        Study.load(study_folder)
    (study_folder / "study.toml").write_text('[cleaning]\nrecognised = "recognise"\n')
    with pytest.raises(StudyError, match="not a valid condition"):
        Study.load(study_folder)

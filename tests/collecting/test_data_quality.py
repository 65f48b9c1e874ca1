"""The quality of answers: each sign where it was planted, and nowhere else."""

import numpy as np
import pandas as pd
import pytest

from traitlens.collecting.data_quality import find_poor_answers, find_signs, longest_run, tabulate_quality
from traitlens.study.reading import Study
from traitlens.study.settings import CleaningSettings


def planted(rng):
    """Eight raters of one group who agree; four of them do something that a rater should not."""
    truth = {trait: rng.normal(0, 1.5, 30) for trait in ("warm", "strong")}
    rows = []
    for rater in range(8):
        for trait, scores in truth.items():
            for repeat, count in ((1, 30), (2, 6)):
                for image in range(count):
                    rating = float(np.clip(np.rint(4 + scores[image] + rng.normal(0, 0.6)), 1, 7))
                    row = {"rater": f"R{rater}", "group": "g", "image": f"{image:02d}.png", "trait": trait}
                    rows.append({**row, "rating": rating, "repeat": repeat, "rt": rng.uniform(600, 2000)})
    table = pd.DataFrame(rows)
    table["moved"], table["checks_passed"] = "true", 1.0
    table.loc[(table["rater"] == "R1") & (table["trait"] == "warm"), "rating"] = 4.0
    table.loc[table["rater"] == "R2", "rt"] = 90.0
    again = (table["rater"] == "R3") & (table["repeat"] == 2)
    table.loc[again, "rating"] = 8 - table.loc[again, "rating"]
    table.loc[(table["rater"] == "R4") & (table["repeat"] == 1), "rating"] = 8 - table["rating"]
    table.loc[table.index[table["rater"] == "R5"][:3], "moved"] = "false"
    table.loc[table["rater"] == "R6", "checks_passed"] = 0.0
    return table


@pytest.fixture
def study(tmp_path):
    table = planted(np.random.default_rng(7))
    return Study(tmp_path, _settings(), pd.DataFrame(), table)


def _settings(**cleaning):
    from traitlens.study.settings import Settings

    return Settings(scale=(1, 7), cleaning=CleaningSettings(**cleaning))


def test_each_sign_is_found_where_it_was_planted(study):
    table = tabulate_quality(study.ratings, None, study.settings.cleaning).set_index("rater")
    assert table["n_ratings"].tolist() == [72] * 8
    assert table["n_one_value"].to_dict() == {f"R{i}": int(i == 1) for i in range(8)}
    assert table["longest_run"].idxmax() == "R1"
    assert table["n_too_fast"].to_dict() == {f"R{i}": 72 * (i == 2) for i in range(8)}
    assert table.loc["R3", "retest"] < -0.5
    assert table.loc[["R0", "R2", "R5", "R6", "R7"], "retest"].min() > 0.7
    assert table["agreement"].idxmin() == "R4"
    assert table.loc["R4", "agreement"] < -0.5
    assert table["n_untouched"].to_dict() == {f"R{i}": 3 * (i == 5) for i in range(8)}
    signs = find_signs(table.reset_index(), CleaningSettings()).set_index("sign")["raters"].to_dict()
    assert signs.pop("one value throughout a trait") == "R1"
    assert signs.pop("more than 10% too fast") == "R2"
    assert signs.pop("agreement with others below 0") == "R4"
    assert signs.pop("sliders that were not moved") == "R5"
    assert signs.pop("passed less than 50% of the attention checks") == "R6"
    assert "R3" in signs.pop("repeated ratings correlate below 0.2")
    assert signs.pop("10 equal answers in a row or more") == "R1"
    assert signs == {}
    assert table.loc[["R0", "R5"], "signs"].tolist() == ["", "sliders that were not moved"]
    assert table.loc["R1", "signs"].startswith(
        "one value throughout a trait; 10 equal answers in a row or more"
    )


def test_what_cleaning_left_out_stays_in_the_table(tmp_path, drawn):
    import shutil

    shutil.copytree(drawn, tmp_path / "study" / "images")
    rng = np.random.default_rng(3)
    rows = [
        (
            f"{group}{rater}",
            group,
            f"{image:02d}.png",
            "warm",
            int(rng.integers(1, 8)),
            100 if rater == 0 else 900,
        )
        for group in "ab"
        for rater in range(3)
        for image in range(12)
    ]
    columns = ["rater", "group", "image", "trait", "rating", "rt"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "study" / "ratings.csv", index=False)
    (tmp_path / "study" / "study.toml").write_text("scale = [1, 7]\n[cleaning]\nfastest = 200\n")
    loaded = Study.load(tmp_path / "study")
    left_out, rules = loaded.cleaning.left_out, loaded.settings.cleaning
    table = tabulate_quality(loaded.ratings, left_out, rules).set_index("rater")
    assert table["n_ratings"].tolist() == [12] * 6
    assert table["n_left_out"].to_dict() == {"a0": 12, "a1": 0, "a2": 0, "b0": 12, "b1": 0, "b2": 0}
    assert table["left_out_by"].tolist() == ["fastest", "", "", "fastest", "", ""]
    assert table["retest"].isna().all()
    assert table["n_untouched"].isna().all()


def test_averages_have_no_raters_to_describe(study):
    averages = study.ratings.drop(columns="rater")
    assert find_poor_answers(Study(study.folder, study.settings, study.images, averages)).empty
    assert len(find_poor_answers(study))


def test_a_run_is_counted_in_the_order_of_the_answers():
    assert longest_run(pd.Series([1, 1, 1, 2, 1, 1])) == 3

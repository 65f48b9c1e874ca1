"""What columns hold: guessed, chosen, and made a mapping; how the table fits the pictures."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traitlens.app.column_roles import (
    ROLES,
    mapping_from_roles,
    match_pictures,
    read_uploaded_table,
    roles_from_mapping,
)
from traitlens.problems import StudyError
from traitlens.study.settings import RatingsSettings


def test_the_guess_fills_the_lists_and_the_lists_give_the_guess_back(workspace):
    table = read_uploaded_table(workspace.table, workspace.pictures)
    roles = roles_from_mapping(table.guess, table.columns)
    assert roles["face"] == "image"
    assert roles["AUT_01"] == roles["NON_06"] == "of rater"
    again = mapping_from_roles(roles, table.guess)
    assert (again.layout, again.columns, again.image) == ("wide", "raters", "face")
    assert set(again.spread) == set(table.guess.spread)


def test_a_match_counts_pictures_raters_groups_and_ratings(workspace, roles):
    table = read_uploaded_table(workspace.table, workspace.pictures)
    mapping = mapping_from_roles(roles, table.guess, "warm", groups_from_names=True)
    match = match_pictures(table, mapping, workspace.pictures)
    assert (match.found, match.pictures, match.unknown) == (24, 24, ())
    assert (match.raters, match.ratings) == (12, 24 * 12)
    assert (match.groups, match.traits) == (("AUT", "NON"), ("warm",))


def test_pictures_that_are_missing_and_names_that_are_none_are_told(workspace, roles):
    table = read_uploaded_table(workspace.table, workspace.pictures)
    mapping = mapping_from_roles(roles, table.guess)
    match = match_pictures(table, mapping, [*workspace.pictures[2:], "other.png"])
    assert (match.found, match.pictures, match.unknown) == (22, 23, ("face_001", "face_002"))


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        ({"a": "image", "b": "image", "c": "rating"}, "several columns hold “picture”: a, b"),
        ({"a": "image", "b": "of rater", "c": "of trait"}, "ratings: one rater” and “ratings: one trait"),
        ({"a": "image", "b": "ignore"}, "no column holds ratings"),
        ({"a": "rater", "b": "rating"}, "no column names the picture"),
    ],
)
def test_what_does_not_go_together_is_told(roles, told):
    with pytest.raises(StudyError, match=told):
        mapping_from_roles(roles, RatingsSettings())


@given(st.dictionaries(st.text("abcdef", min_size=1), st.sampled_from(list(ROLES)), max_size=8))
def test_any_choice_gives_a_mapping_that_shows_the_same_choice_or_is_refused(roles):
    try:
        mapping = mapping_from_roles(roles, RatingsSettings())
    except StudyError:
        return
    assert roles_from_mapping(mapping, list(roles)) == roles


@pytest.mark.parametrize("kind", ["of picture", "of trait", "long"])
def test_every_layout_can_be_chosen_by_hand(tmp_path, kind):
    """Four raters, three pictures: the same ratings in each layout, none of which is guessed."""
    rows = pd.DataFrame(
        [(f"p{r}", f"x{i}", "warm", r + i) for r in range(4) for i in range(3)],
        columns=["who", "what", "word", "number"],
    )
    if kind == "of picture":
        table = rows.pivot_table(index="who", columns="what", values="number").reset_index()
        roles = {"who": "rater"} | dict.fromkeys(["x0", "x1", "x2"], kind)
    elif kind == "of trait":
        table = rows.rename(columns={"number": "warm"}).drop(columns="word")
        roles = {"who": "rater", "what": "image", "warm": kind}
    else:
        table, roles = rows, {"who": "rater", "what": "image", "word": "trait", "number": "rating"}
    table.to_csv(tmp_path / "table.csv", index=False)
    pictures = ["x0.png", "x1.png", "x2.png"]
    read = read_uploaded_table(tmp_path / "table.csv", pictures)
    match = match_pictures(read, mapping_from_roles(roles, read.guess, "warm"), pictures)
    assert (match.found, match.raters, match.ratings, match.traits) == (3, 4, 12, ("warm",))

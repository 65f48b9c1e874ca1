"""Any design that `check` accepts runs to a report, without a warning about numbers."""

import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.tiny import add_backbone, make_study

from traitlens.api import run
from traitlens.pipeline import check
from traitlens.problems import StudyError

SCHEMES = (
    "complete",
    "incomplete",
    "nested",
    "pairs",
    "groups apart",
    "traits apart",
    "trait missing",
    "means",
)
SETTINGS = """
[folds]
number = {folds}
[faces]
size = 64
crop = "full"
[readout]
backbone = "tiny"
tap = "block2_pool"
grid = 2
[comparison]
permutations = 20
pixels = 8
"""


@pytest.fixture(scope="module")
def tiny_backbone(tmp_path_factory):
    """A network of two layers, known as tiny."""
    folder = tmp_path_factory.mktemp("backbone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAITLENS_CACHE", str(folder / "cache"))
        add_backbone(folder, channels=(4, 6))
        yield


def draw_design(rng: np.random.Generator) -> tuple[pd.DataFrame, int, str]:
    """Draw ratings of a random design: the ratings, the number of folds, and the scheme."""
    groups = [f"group {number}" for number in range(int(rng.integers(1, 5)))]
    traits = [f"trait {number}" for number in range(int(rng.choice([1, 2, 3, 6])))]
    images = [f"{number:02d}.png" for number in range(int(rng.integers(4, 17)))]
    scheme, levels = str(rng.choice(SCHEMES)), int(rng.choice([2, 3, 7, 100]))
    agreement, repeats = float(rng.choice([0, 0.5, 1])), int(rng.choice([1, 1, 2]))
    share = float(rng.uniform(0.2, 0.9))
    rows = []
    for place, group in enumerate(groups):
        truth = {(image, trait): rng.random() for image in images for trait in traits}
        raters = int(rng.choice([2, 2, 3, 4, 6, 10, 40])) if rng.random() > 0.03 else 1
        for rater in range(raters):
            own = rng.permutation(images)[: max(2, len(images) // 3)]
            for number, trait in enumerate(traits):
                for index, image in enumerate(images):
                    seen = {
                        "incomplete": rng.random() < share,
                        "nested": image in own,
                        "pairs": image in own[:2],
                        "groups apart": index % len(groups) == place,
                        "traits apart": index % len(traits) == number,
                        "trait missing": (place + number) % 3 > 0 or len(traits) * len(groups) == 1,
                    }.get(scheme, True)
                    for repeat in range(repeats if seen else 0):
                        value = agreement * truth[image, trait] + (1 - agreement) * rng.random()
                        rating = 1 + int(value * levels * 0.999)
                        rows.append((f"{group} rater {rater}", group, image, trait, rating, repeat + 1))
    table = pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating", "repeat"])
    if scheme == "means":
        table = table.groupby(["group", "image", "trait"], as_index=False)["rating"].mean()
    fewest = int(table.groupby(["group", "trait"])["image"].nunique().min())
    return table, max(2, min(fewest // 2, int(rng.choice([2, 3, 5])))), scheme


def write_design(folder, table: pd.DataFrame, folds: int, rng: np.random.Generator) -> None:
    """Write a study of small random images."""
    (folder / "images").mkdir(parents=True)
    for name in sorted(set(table["image"])):
        pixels = rng.integers(0, 256, (72, 72, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / name)
    table.to_csv(folder / "ratings.csv", index=False)
    (folder / "study.toml").write_text(SETTINGS.format(folds=folds))


def run_design(folder, seed: int) -> str:
    """Draw a design and take it to a report, where `check` accepts it; return what became of it."""
    rng = np.random.default_rng(seed)
    table, folds, scheme = draw_design(rng)
    write_design(folder, table, folds, rng)
    try:
        check(folder)
    except StudyError:
        return "refused"
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        done = run(folder)
    try:
        assert (done.results / "report.html").stat().st_size > 1000
    finally:
        done.close()
    return scheme


def run_designs(folder, number: int, first: int = 0) -> dict[int, str]:
    """Run designs until so many were accepted."""
    outcomes: dict[int, str] = {}
    seed = first
    while sum(one != "refused" for one in outcomes.values()) < number:
        outcomes[seed] = run_design(folder / str(seed), seed)
        seed += 1
    return outcomes


def test_designs_that_check_accepts_run_to_a_report(tiny_backbone, tmp_path):
    run_designs(tmp_path, 2, first=111)


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_three_hundred_designs_run_to_a_report(tiny_backbone, tmp_path):
    outcomes = run_designs(tmp_path, 300, first=1000)
    assert set(SCHEMES) <= set(outcomes.values())


def draw_kind(kind: str, rng: np.random.Generator) -> pd.DataFrame:
    """Draw ratings of a design in which some analyses are impossible."""
    groups, traits = ["patients", "controls"], ["kind", "calm"]
    images = [f"{number:02d}.png" for number in range(13)]
    raters = {"two raters": 2, "perfect agreement": 3}.get(kind, 5)
    truth = {(image, trait): int(rng.integers(1, 10)) for image in images for trait in traits}
    rows = []
    for place, group in enumerate(groups):
        for rater in range(raters):
            own = rng.permutation(images)[:2]
            for number, trait in enumerate(traits):
                for index, image in enumerate(images):
                    seen = {
                        "a trait missing in a group": number == 0 or place == 0,
                        "traits on other images": (index < 7) == (number == 0),
                        "two images for each rater": image in own,
                        "groups on other images": (index < 7) == (place == 0),
                    }.get(kind, True)
                    rating = int(rng.integers(1, 10))
                    if kind == "perfect agreement" and place == 0:
                        rating = truth[image, trait]
                    if kind == "raters of one value" and place == 0:
                        rating = rater + 1
                    if seen:
                        rows.append((f"{group} {rater}", group, image, trait, rating))
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "a trait missing in a group",
        "traits on other images",
        "two raters",
        "perfect agreement",
        "groups on other images",
        "two images for each rater",
        "raters of one value",
    ],
)
def test_designs_without_some_analyses_run_to_a_report_or_are_refused(tiny_backbone, tmp_path, kind):
    """What cannot be compared is left out and named; a design that allows too little is refused by check."""
    rng = np.random.default_rng(8)
    write_design(tmp_path / "study", draw_kind(kind, rng), 2, rng)
    if kind in ("two images for each rater", "raters of one value"):
        with pytest.raises(StudyError) as refused:
            check(tmp_path / "study")
        assert all(problem.advice for problem in refused.value.problems)
        return
    check(tmp_path / "study")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        done = run(tmp_path / "study")
    try:
        assert (done.results / "report.html").stat().st_size > 1000
        agreement = done.results / "comparisons" / "agreement.csv"
        if kind == "two raters":
            assert "agreement_z" not in set(pd.read_csv(agreement)["measure"])
    finally:
        done.close()


def test_four_identities_in_two_folds_are_refused(tiny_backbone, tmp_path):
    rng = np.random.default_rng(9)
    table = draw_kind("complete", rng)
    write_design(tmp_path / "study", table[table["image"] < "04.png"], 2, rng)
    with pytest.raises(StudyError, match="2 folds need 6; add images"):
        check(tmp_path / "study")


@pytest.mark.slow
def test_a_third_group_that_rated_other_faces_stops_no_refit(tiny_backbone, tmp_path):
    folder = make_study(tmp_path / "st", identities=20, traits=1, raters=3)
    settings = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(re.sub(r"(?m)^groups = .*$", "", settings))
    ratings = pd.read_csv(folder / "ratings.csv")
    groups, images = sorted(ratings["group"].unique()), sorted(ratings["image"].unique())
    first = ratings["image"].isin(images[: len(images) * 3 // 5])
    third = ratings[~first & (ratings["group"] == groups[0])]
    third = third.assign(group="third", rater=["third " + name for name in third["rater"]])
    pd.concat([ratings[first], third]).to_csv(folder / "ratings.csv", index=False)
    done = run(folder)
    try:
        tests = pd.read_csv(done.results / "comparisons" / "performance.csv")
        assert set(zip(tests["group_1"], tests["group_2"], strict=True)) == {tuple(groups)}
        notices = json.loads((done.results / "study.json").read_text())["notices"]
        told = f"leave out third, who rated other images than {', '.join(groups)}"
        assert any(told in notice for notice in notices)
    finally:
        done.close()

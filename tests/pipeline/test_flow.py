"""The declared flow: what a change makes stale, what stages write, and what is noticed before it is used."""

import json
import os
import re
import shutil
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.tiny import add_backbone, edit_settings, edit_table, make_study, skip_figures

from traitlens.api import Run
from traitlens.artifacts import ARTIFACTS
from traitlens.pipeline import FLOW, Context, plan
from traitlens.study.reading import Study

LABELS = {stage.label: stage.name for stage in FLOW}


class Stages:
    """Note which stages are made, and what is said."""

    def __init__(self):
        self.made, self.said = [], []

    def stage(self, name, total):
        self.made.append(LABELS[name])
        return nullcontext(lambda steps: None)

    def say(self, text):
        self.said.append(text)


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    """The tiny network, and reports without figures: these are compared in tests of the report."""
    folder = tmp_path_factory.mktemp("network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAITLENS_CACHE", str(folder / "cache"))
        skip_figures(patch)
        add_backbone(folder)
        yield


def run(folder, out=None, checks=None):
    stages = Stages()
    done = Run(Study.load(folder), out, watcher=stages)
    try:
        done.report() if checks is None else done.check_maps(checks)
    finally:
        done.close()
    return stages


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("flow") / "study")
    run(folder)
    return folder


@pytest.fixture
def copied(study, tmp_path):
    shutil.copytree(study, tmp_path / "study")
    return tmp_path / "study"


TIMES = re.compile(
    r'"?seconds[\w.]*"?: \{[^}]*\}|<tr><td>seconds\..*?</tr>|seconds\.\w+[^\n]*'
    r'|<th scope="row">Time</th><td>.*?</td>|\d{4}-\d\d-\d\d \d\d:\d\d\+00:00',
    re.DOTALL,
)


def content(results):
    """The content of all results; what was done when, and how long it took, aside."""
    found = {}
    for path in sorted(results.rglob("*")):
        if path.is_file() and (".cache" not in path.parts or "features" in path.parts):
            name = path.relative_to(results).as_posix()
            found[name] = path.read_bytes()
    for name in ("provenance.json", "report.html"):
        if name in found:
            found[name] = TIMES.sub("", found[name].decode())
    return found


RATINGS = {
    "means",
    "reliability",
    "variances",
    "compare_taste",
    "compare_face_types",
    "trait_loadings",
    "quality",
    "agreement",
    "compare_ratings",
    "compare_trait_space",
}
REFITS = {"common_penalties", "compare_difference", "compare_performance", "compare_pixels"}
TRANSFERS = {"transfer_groups", "transfer_traits"}
USE = {"cues", "utilisation", "compare_use"}
READOUTS = {"fit", "performance", "models", "maps", "altered_faces", *USE, *TRANSFERS}
REGIONAL = {"regional_features", "regional_kernels"}
NEW_RATINGS = {*RATINGS, "trait_space", *READOUTS, *REFITS, "answers", "report"}
REFITTED = {*REFITS, "answers"}
SEED = {"reliability", "variances", "performance", "models", "compare_ratings", "compare_trait_space"}
SEED |= {"compare_taste", "compare_face_types", "trait_loadings"}


def swap_within_cells(table):
    """Exchange the ratings of two raters of a group for one face, so that all means stay."""
    part = table[(table["trait"] == "warm") & (table["group"] == table["group"].iloc[0])]
    for _, cell in part.groupby("image"):
        if cell["rating"].nunique() > 1:
            first, second = cell["rating"].idxmin(), cell["rating"].idxmax()
            table.loc[[first, second], "rating"] = table.loc[[second, first], "rating"].to_numpy()
            return table
    raise AssertionError("all raters agree")


def one_rating(table):
    table.loc[0, "rating"] += 1 if table.loc[0, "rating"] < 5 else -1
    return table


def one_raters_group(table):
    rater, group = table["rater"].iloc[0], table["group"].iloc[0]
    other = next(name for name in table["group"].unique() if name != group)
    table.loc[table["rater"] == rater, "group"] = other
    return table


def one_landmark(table):
    table.loc[1, "x"] += 2
    return table


def first_image(folder):
    return sorted((folder / "images").rglob("*.png"))[0]


def one_images_pixels(folder):
    path = first_image(folder)
    pixels = np.array(Image.open(path).convert("RGB"))
    pixels[30:40, 30:40] = 255 - pixels[30:40, 30:40]
    Image.fromarray(pixels).save(path)


def rename_image(folder):
    path = first_image(folder)
    name, new = path.relative_to(folder / "images").as_posix(), "zz.png"
    path.rename(folder / "images" / new)
    for table in ("ratings.csv", "images.csv", "landmarks.csv"):
        edit_table(folder / table, lambda table: table.replace({"image": {name: new}}))


def fold_column(folder):
    edit_table(folder / "images.csv", lambda table: table.assign(fold=np.arange(len(table)) % 2))
    edit_settings(folder, ("number = 2", 'number = 2\ncolumn = "fold"'))


def setting(*changes):
    return lambda folder: edit_settings(folder, *changes)


def ratings(change):
    return lambda folder: edit_table(folder / "ratings.csv", change)


ALL_IMAGES = {
    "prepare",
    "face_measures",
    "compare_face_types",
    "region_labels",
    "features",
    *REGIONAL,
    *READOUTS,
    *REFITTED,
    "report",
}

CHANGES = {
    "single ratings exchanged, all means kept": (
        ratings(swap_within_cells),
        NEW_RATINGS,
    ),
    "one rating": (ratings(one_rating), NEW_RATINGS),
    "one rater's group": (ratings(one_raters_group), NEW_RATINGS),
    "rows reordered": (ratings(lambda table: table.iloc[::-1]), NEW_RATINGS),
    "one landmark": (
        lambda folder: edit_table(folder / "landmarks.csv", one_landmark),
        {"landmarks", *ALL_IMAGES},
    ),
    "one image's pixels": (one_images_pixels, {"landmarks", *ALL_IMAGES}),
    "an image renamed": (rename_image, {"landmarks", *ALL_IMAGES, *NEW_RATINGS}),
    "may_publish": (
        lambda folder: edit_table(folder / "images.csv", lambda table: table.assign(may_publish=False)),
        {"report"},
    ),
    "the fold column": (fold_column, {*READOUTS, *REFITTED, "report"}),
    "folds.number": (setting(("number = 2", "number = 3")), {*READOUTS, *REFITTED, "report"}),
    "seed": (setting(("seed = 3", "seed = 4")), {*SEED, *READOUTS, *REFITTED, "report"}),
    "name": (setting(("Simulated study", "Another name")), {"report"}),
    "order of traits": (
        setting(('["warm", "strong"]', '["strong", "warm"]')),
        {"maps", "answers", "report"},
    ),
    "one trait": (
        setting(('["warm", "strong"]', '["warm"]')),
        NEW_RATINGS - {"trait_space", "trait_loadings", "compare_trait_space", "transfer_traits"},
    ),
    "scale": (setting(("[1, 9]", "[0, 10]")), {"report"}),
    "faces.crop": (setting(('crop = "auto"', 'crop = "full"')), ALL_IMAGES),
    "faces.size": (setting(("size = 64", "size = 96")), ALL_IMAGES),
    "one polygon": (
        lambda folder: edit_settings(
            folder, ("[folds]", '[faces.regions]\n"chin" = [152, 148, 176, 400, 377]\n\n[folds]')
        ),
        {"region_labels", "maps", "altered_faces", *REGIONAL, *USE, "compare_pixels", "answers", "report"},
    ),
    "readout.grid": (
        setting(("grid = 2", "grid = 1")),
        {"features", *REGIONAL, *READOUTS, *REFITTED, "report"},
    ),
    "readout.tap": (
        setting(("block2_pool", "block1_pool")),
        {"features", *REGIONAL, *READOUTS, *REFITTED, "report"},
    ),
    "readout.sharing": (
        setting(("grid = 2", "grid = 2\nsharing = 0.5")),
        {*READOUTS, "answers", "report"},
    ),
    "readout.mirror": (
        setting(("grid = 2", "grid = 2\nmirror = true")),
        {"features", *REGIONAL, *READOUTS, *REFITTED, "report"},
    ),
    "readout.method": (
        setting(('method = "ridge"', 'method = "finetune"'), ("block2_pool", "block1_pool")),
        {"features", *REGIONAL, *READOUTS, "answers", "report"} - {"altered_faces"},
    ),
    "relevance.method": (
        setting(("[comparison]", '[relevance]\nmethod = "lrp.z"\n\n[comparison]')),
        {"maps", "compare_pixels", "answers", "report"},
    ),
    "comparison.permutations": (
        setting(("permutations = 9", "permutations = 19")),
        {
            "compare_ratings",
            "compare_trait_space",
            "compare_taste",
            "compare_face_types",
            *REFITS,
            "answers",
            "report",
        }
        - {"common_penalties"},
    ),
    "comparison.permutations 0": (setting(("permutations = 9", "permutations = 0")), {"report"}),
    "comparison.performance": (
        setting(("permutations = 9", "permutations = 9\nperformance = false")),
        {"answers", "report"},
    ),
    "comparison.pixels": (setting(("pixels = 16", "pixels = 20")), {"compare_pixels", "answers", "report"}),
    "comparison.pixels 0": (setting(("pixels = 16", "pixels = 0")), {"answers", "report"}),
    "comparison.pixel_test": (
        setting(("pixels = 16", 'pixels = 16\npixel_test = "pixel"')),
        {"compare_pixels", "answers", "report"},
    ),
    "comparison.use": (setting(("pixels = 16", "pixels = 16\nuse = false")), {"answers", "report"}),
    "comparison.cues": (setting(("pixels = 16", "pixels = 16\ncues = false")), {"report"}),
    "comparison.margin": (
        setting(("pixels = 16", "pixels = 16\nmargin = 0.5")),
        {"compare_ratings", "answers", "report"},
    ),
    "comparison.formula": (
        setting(("pixels = 16", 'pixels = 16\nformula = "group"')),
        {"rater_models", "report"},
    ),
    "comparison.reference": (
        setting(("pixels = 16", 'pixels = 16\nreference = "autistic"')),
        {"agreement", "compare_ratings", "answers", "report"},
    ),
    "cleaning": (
        setting(("[comparison]", "[cleaning]\none_value = true\n\n[comparison]")),
        {"cleaning", "quality", "report"},
    ),
    "run.keep_maps": (
        setting(("[comparison]", '[run]\nkeep_maps = "none"\n\n[comparison]')),
        {"maps", "report"},
    ),
}


def to_be_made(folder):
    return {one.stage.name for one in plan(Context(Study.load(folder))) if one.will_be_made}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_stale_what_depends_on_it_and_nothing_else(copied, change):
    alter, expected = CHANGES[change]
    assert to_be_made(copied) == set()
    alter(copied)
    assert to_be_made(copied) == expected


def assert_like_from_nothing(copied, fresh, change):
    """Change a study and run it again; everything is as in a run from nothing."""
    alter, expected = CHANGES[change]
    alter(copied)
    made = set(run(copied).made)
    run(copied, fresh)
    after, new = content(copied / "results"), content(fresh)
    assert after.keys() == new.keys()
    assert [name for name in after if after[name] != new[name]] == []
    assert "report" in made
    assert made <= expected  # what reads bytes that were written as before is not made again


@pytest.mark.parametrize("change", ["single ratings exchanged, all means kept", "comparison.permutations 0"])
def test_results_after_a_change_are_those_of_a_run_from_nothing(copied, tmp_path, change):
    assert_like_from_nothing(copied, tmp_path / "fresh", change)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_results_after_any_change_are_those_of_a_run_from_nothing(copied, tmp_path, change):
    assert_like_from_nothing(copied, tmp_path / "fresh", change)


def test_every_stage_writes_its_outputs_and_nothing_else(copied):
    """Each stage alone: the files that appear are those that it declares."""
    results = copied / "results"
    shutil.rmtree(results)
    done = Run(Study.load(copied), watcher=Stages())
    done.context.check_images = 2
    for stage in FLOW:
        before = files(results)
        done.make(stage.name)
        outputs = {one.path for one in stage.outputs_of(done.context)}
        if stage.name in done.context.reasons:
            outputs = set()
        appeared = files(results) - before
        assert {next((out for out in outputs if name.startswith(out)), name) for name in appeared} == outputs
    done.close()


def files(results):
    """Result files, without records, locks and the note of the request."""
    names = (path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file())
    return {name for name in names if not re.fullmatch(r"\.cache/(\w+\.json|lock.*|origin)", name)}


def test_a_stage_reads_nothing_that_it_does_not_declare_and_all_that_it_does(copied, monkeypatch):
    from traitlens.pipeline import run as running

    read, real = {}, running.StageIO

    class Noting(real):
        def __init__(self, context, stage, *rest):
            super().__init__(context, stage, *rest)
            read[stage.name] = self.read_inputs

    monkeypatch.setattr(running, "StageIO", Noting)
    shutil.rmtree(copied / "results")
    run(copied, checks=2)
    for stage in FLOW:
        if stage.name in read and stage.name != "report":  # the report reads the folder as a whole
            declared = {one if isinstance(one, str) else one.path for one in stage.inputs}
            assert declared - read[stage.name] == set(), stage.name


def test_a_second_run_changes_no_file(study):
    before = {path: path.stat().st_mtime_ns for path in (study / "results").rglob("*") if path.is_file()}
    assert run(study).made == []
    after = {path: path.stat().st_mtime_ns for path in (study / "results").rglob("*") if path.is_file()}
    assert after == before


KINDS = ["performance.csv", "prepared.zarr", ".cache/features/all/features.npy", "models", "study.json"]
OTHERS = [path for path in ARTIFACTS if path not in KINDS and not path.startswith(("plan", "figures"))]


@pytest.mark.parametrize("path", [*KINDS, *(pytest.param(one, marks=pytest.mark.slow) for one in OTHERS)])
def test_a_flipped_byte_is_noticed_and_made_again(study, copied, path):
    if not (copied / "results" / path).exists():
        pytest.skip("not among the results of this study")
    file = copied / "results" / path
    if file.is_dir():
        file = max((one for one in file.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    stat = file.stat()
    file.write_bytes(damaged)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a disk would do it, without a trace
    stages = run(copied)
    assert [text for text in stages.said if path in text and "changed after it was written" in text]
    assert content(copied / "results") == content(study / "results")


@pytest.mark.parametrize("path", ["predictions.csv", ".cache/features/all/features.npy", "maps.zarr"])
def test_a_file_that_is_cut_off_or_missing_stops_no_run(study, copied, path):
    file = copied / "results" / path
    if file.is_dir():
        next(one for one in sorted(file.rglob("*")) if one.name.count(".") > 2).unlink()
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    run(copied)
    assert content(copied / "results") == content(study / "results")


def test_maps_that_were_not_kept_do_not_stop_a_run_that_keeps_them(study, copied, monkeypatch):
    from traitlens.storage import BlockStore

    results, real = copied / "results", BlockStore.read
    edit_settings(copied, ("[comparison]", '[run]\nkeep_maps = "none"\n\n[comparison]'))

    def stop(blocks, number):
        if blocks.folder.parent.name == "maps":
            raise KeyboardInterrupt
        return real(blocks, number)

    with monkeypatch.context() as patched:
        patched.setattr(BlockStore, "read", stop)
        with pytest.raises(KeyboardInterrupt):
            run(copied)
    assert list((results / ".cache" / "maps").glob("*/*.npz"))
    shutil.copy(study / "study.toml", copied / "study.toml")
    run(copied)
    assert content(results) == content(study / "results")


def test_checks_of_other_maps_are_not_shown(copied):
    run(copied, checks=2)
    results = copied / "results"
    assert (results / "checks" / "null_maps.csv").exists()
    assert "null_maps" in (results / "report.html").read_text()
    assert "check_null_maps" not in run(copied).made
    assert (results / "checks" / "null_maps.csv").exists()  # the same maps
    edit_table(copied / "ratings.csv", one_rating)
    run(copied)
    assert not (results / "checks" / "null_maps.csv").exists()
    assert "traitlens sanity” adds them" in (results / "report.html").read_text()


def test_the_report_says_why_a_part_is_missing(copied):
    edit_settings(
        copied,
        ("permutations = 9", "permutations = 9\nperformance = false\ncues = false\nuse = false"),
        ("[comparison]", "[cleaning]\none_value = true\n\n[comparison]"),
    )
    run(copied)
    results = copied / "results"
    text = (results / "report.html").read_text()
    assert "because comparison.performance is false in study.toml" in text
    assert "because comparison.cues is false in study.toml" in text
    assert "because comparison.use is false in study.toml" in text
    assert not list((results / "cues").glob("*"))
    assert not list((results / "comparisons").glob("performance*"))
    assert (results / "ratings" / "cleaning.csv").exists()
    edit_settings(copied, ("[cleaning]\none_value = true\n\n", ""))
    run(copied)
    assert not (results / "ratings" / "cleaning.csv").exists()
    assert "one_value" not in re.sub("cleaning.one_value", "", (results / "report.html").read_text())


def test_one_group_left_after_two_is_reported(copied):
    edit_settings(copied, ('groups = ["autistic", "non-autistic"]', 'groups = ["autistic"]'))
    run(copied)
    comparisons = {file.name for file in (copied / "results" / "comparisons").iterdir()}
    assert comparisons == {"transfer_traits.csv"}
    assert "the study has one group of raters" in (copied / "results" / "report.html").read_text()


def test_a_study_without_any_face_is_reported(copied):
    (copied / "landmarks.csv").unlink()
    for path in (copied / "images").rglob("*.png"):
        noise = np.random.default_rng(len(path.name)).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    run(copied)
    results = copied / "results"
    assert len(json.loads((results / "faces.json").read_text())["without_landmarks"]) == 8
    assert not (results / "regions.csv").exists()
    assert (results / "maps.zarr").exists()
    assert "it needs landmarks of every face" in (results / "report.html").read_text()


def test_an_image_that_is_replaced_during_the_run_is_noticed(copied, monkeypatch):
    from traitlens.pipeline.stages import faces
    from traitlens.problems import TraitlensError

    path, real = first_image(copied), faces.find_landmarks
    before = path.read_bytes()

    def replace_after(*args, **options):
        found = real(*args, **options)
        one_images_pixels(copied)
        return found

    shutil.rmtree(copied / "results")
    with monkeypatch.context() as patched:
        patched.setattr(faces, "find_landmarks", replace_after)
        patched.setattr("traitlens.pipeline.image_files.MOST_BYTES", 0)
        with pytest.raises(TraitlensError, match=f"{path.name}: was changed during the run"):
            run(copied)
    path.write_bytes(before)
    run(copied)


def test_tables_are_digested_once_and_images_read_at_most_twice(copied, monkeypatch):
    from traitlens import digests
    from traitlens.pipeline import context, image_files

    digested, read, real = [], [], digests.digest

    def count_digest(*values):
        digested.extend(id(value) for value in values if isinstance(value, pd.DataFrame))
        return real(*values)

    def count_read(path):
        read.append(path)
        return real_read(path)

    real_read = type(copied).read_bytes
    monkeypatch.setattr(context, "digest", count_digest)
    monkeypatch.setattr(image_files, "MOST_BYTES", 0)
    monkeypatch.setattr(type(copied), "read_bytes", count_read)
    shutil.rmtree(copied / "results")
    run(copied)
    assert max(map(digested.count, digested)) == 1
    images = [path for path in read if path.suffix == ".png"]
    assert max(map(images.count, images)) == 2


def test_a_copied_study_is_examined_by_its_own_tables(copied, tmp_path):
    from traitlens.administration.status import examine_results

    other = tmp_path / "other"
    shutil.copytree(copied, other)
    edit_table(other / "ratings.csv", one_rating)
    states = {stage.name: stage.state for stage in examine_results(other / "results").stages}
    assert states["means"] == "stale"
    assert states["prepare"] == "current"
    assert {one.state for one in examine_results(copied / "results").stages} == {"current", "left out"}

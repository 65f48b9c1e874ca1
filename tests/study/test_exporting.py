"""A study and its results in the formats of other programs hold the same numbers."""

import numpy as np
import pandas as pd
import pyreadstat
import pytest
import xarray as xr
from scipy.io import loadmat

from traitlens.arrays import write_arrays
from traitlens.problems import TraitlensError
from traitlens.storage import remove
from traitlens.study.exporting import FORMS, RECORD, export_study
from traitlens.study.reading import Study


@pytest.fixture
def study(study_folder):
    return Study.load(study_folder)


@pytest.fixture
def results(tmp_path, study):
    """Results of every shape: by image, by region, a summary, and maps."""
    folder = tmp_path / "results"
    (folder / "ratings").mkdir(parents=True)
    images = study.images["image"]
    rng = np.random.default_rng(0)
    rows = [(image, group, "warm", rng.normal(), rng.normal()) for image in images for group in ("A", "B")]
    predictions = pd.DataFrame(rows, columns=["image", "group", "trait", "observed", "predicted"])
    predictions.insert(1, "identity", predictions["image"].str[:2])
    predictions["fold"] = 0
    predictions.to_csv(folder / "predictions.csv", index=False)
    regions = predictions[["image", "group", "trait"]].merge(
        pd.DataFrame({"region": ["nose", "mouth"], "relevance": [0.5, -0.25]}), how="cross"
    )
    regions.to_csv(folder / "regions.csv", index=False)
    summary = pd.DataFrame({"group": ["A", "B"], "trait": "warm", "icc": [0.5, 0.25]})
    summary.to_csv(folder / "ratings" / "reliability.csv", index=False)
    coordinates = {
        "group": np.array(["A", "B"], object),
        "trait": np.array(["warm"], object),
        "image": images.to_numpy(object),
        "y": np.arange(4) + 0.5,
        "x": np.arange(4) + 0.5,
    }
    sizes = {name: len(values) for name, values in coordinates.items()}
    maps = xr.Dataset(
        {"relevance": (tuple(sizes), rng.normal(size=tuple(sizes.values())).astype("f4"))}, coordinates
    )
    write_arrays(folder / "maps.zarr", maps)
    write_arrays(folder / "average_maps.zarr", maps.mean("image"))
    return folder


def test_long_csv(study, results, tmp_path):
    files = export_study(study, tmp_path / "out", "csv-long", results)
    assert [file.name for file in files] == [
        "images.csv",
        "predictions.csv",
        "ratings.csv",
        "ratings_reliability.csv",
        "regions.csv",
    ]
    read = pd.read_csv(tmp_path / "out" / "ratings.csv")
    assert read["rating"].tolist() == study.ratings["rating"].tolist()


def test_wide_csv(study, results, tmp_path):
    export_study(study, tmp_path / "out", "csv-wide", results)
    by_rater = pd.read_csv(tmp_path / "out" / "ratings_by_rater.csv").set_index("rater")
    by_image = pd.read_csv(tmp_path / "out" / "ratings_by_image.csv").set_index("image")
    for row in study.ratings.itertuples():
        assert by_rater.loc[row.rater, row.image] == row.rating
        assert by_image.loc[row.image, row.rater] == row.rating
    predicted = pd.read_csv(tmp_path / "out" / "predictions_by_image.csv").set_index("image")
    regions = pd.read_csv(tmp_path / "out" / "regions_by_image.csv").set_index("image")
    assert len(predicted) == len(regions) == 12
    for row in pd.read_csv(results / "predictions.csv").itertuples():
        assert predicted.loc[row.image, f"{row.group}_warm_predicted"] == row.predicted
        assert predicted.loc[row.image, f"{row.group}_warm_observed"] == row.observed
    assert (regions["B_warm_mouth_relevance"] == -0.25).all()
    assert (tmp_path / "out" / "ratings_reliability.csv").exists()


def test_spss(study, results, tmp_path):
    export_study(study, tmp_path / "out", "sav", results)
    table, described = pyreadstat.read_sav(str(tmp_path / "out" / "ratings.sav"))
    assert table["rating"].tolist() == study.ratings["rating"].tolist()
    assert table["image"].tolist() == study.ratings["image"].tolist()
    assert described.column_names_to_labels["rating"] == "The rating given"
    assert (tmp_path / "out" / "predictions.sav").exists()


def test_matlab_with_maps(study, results, tmp_path):
    export_study(study, tmp_path / "out", "mat", results)
    table = loadmat(tmp_path / "out" / "ratings.mat", simplify_cells=True)
    assert table["rating"].tolist() == study.ratings["rating"].tolist()
    maps = xr.open_zarr(results / "maps.zarr", consolidated=False)
    average = loadmat(tmp_path / "out" / "average_maps.mat", simplify_cells=True)
    np.testing.assert_allclose(average["relevance"], maps["relevance"].mean("image")[:, 0], rtol=1e-6, atol=0)
    for number, image in enumerate(study.images["image"]):
        file = tmp_path / "out" / "maps" / image.replace(".png", ".mat")
        one = loadmat(file)["relevance"]
        np.testing.assert_array_equal(one, maps["relevance"][:, :, number].to_numpy())


def reread(results, images):
    """Give the maps of results other images."""
    maps = xr.open_zarr(results / "maps.zarr").load()
    for name in maps.variables:
        maps[name].encoding = {}
    remove(results / "maps.zarr")
    write_arrays(results / "maps.zarr", maps.assign_coords(image=np.array(images, object)))


@pytest.mark.parametrize(
    "name",
    [
        "/outside.png",
        "../../outside.png",
        "a/../../../outside.png",
        "C:\\outside.png",
        "..\\outside.png",
        "C:x",
    ],
)
def test_names_of_results_never_lead_out_of_the_folder(study, results, tmp_path, name):
    images = study.images["image"].tolist()
    reread(results, [name, *images[1:]])
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(TraitlensError, match="outside the folder"):
        export_study(study, tmp_path / "out" / "deep", "mat", results)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def test_images_that_differ_in_suffix_or_case_have_a_map_each(study, results, tmp_path):
    images = ["a.png", "a.jpg", "A.png", "a.png.gif", *study.images["image"][4:]]
    reread(results, images)
    written = export_study(study, tmp_path / "out", "mat", results)
    assert len([path for path in written if path.parent.name == "maps"]) == len(images)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["data", "nowhere/../data"])
def test_files_that_no_export_wrote_are_never_deleted(study, tmp_path, form, place):
    precious = {"important.csv": "years", "sub/Makefile": "x", "ratings.csv": "mine"}
    for name, text in precious.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(text)
    with pytest.raises(TraitlensError, match="contains other files"):
        export_study(study, tmp_path / place, form)
    assert {name: (tmp_path / "data" / name).read_text() for name in precious} == precious


def test_an_export_that_was_changed_is_not_replaced(study, tmp_path):
    out = tmp_path / "out"
    export_study(study, out, "csv-long")
    for name in ("ratings.csv", "notes.md"):
        (out / name).write_text("mine")
        with pytest.raises(TraitlensError, match="contains other files"):
            export_study(study, out, "csv-long")
        remove(out)
        export_study(study, out, "csv-long")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TraitlensError, match="contains other files"):
        export_study(study, tmp_path / "file", "csv-long")
    (out / RECORD).write_text("[" * 100_000)
    with pytest.raises(TraitlensError, match="contains other files"):
        export_study(study, out, "csv-long")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_can_be_written_twice_and_without_results(study, tmp_path, form):
    first = export_study(study, tmp_path / "out", form)
    second = export_study(study, tmp_path / "out", form)
    assert first == second
    assert first


def test_what_cannot_be_exported_is_told(study, tmp_path):
    with pytest.raises(TraitlensError, match="unknown form 'sva'; did you mean 'sav'"):
        export_study(study, tmp_path / "out", "sva")
    with pytest.raises(TraitlensError, match="there is no such folder"):
        export_study(study, tmp_path / "out", "sav", tmp_path / "nowhere")
    with pytest.raises(TraitlensError, match="contains other files"):
        export_study(study, study.folder, "csv-long")
    assert (study.folder / "images" / "00.png").exists()

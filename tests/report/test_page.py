import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote

import pandas as pd
import pytest
from PIL import Image
from results_folder import HOSTILE_IMAGE, HOSTILE_TRAIT, make_results

from traitlens.problems import TraitlensError
from traitlens.report.figures import FIGURES
from traitlens.report.page import write_report
from traitlens.report.results import read_results


class Page(HTMLParser):
    """Elements, their attributes and text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements, self.texts, self.scripts, self._open = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while tag in self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        (self.scripts if self._open and self._open[-1] in ("script", "style") else self.texts).append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="session")
def page(report) -> Page:
    return Page(report)


def test_hostile_names_are_text_and_nothing_else(page, report):
    assert len(page.all("script")) == 2
    assert HOSTILE_TRAIT not in report
    assert any(text.strip() == HOSTILE_TRAIT for text in page.texts)
    data = json.loads(next(text for text in page.scripts if text.startswith("{")))
    assert HOSTILE_TRAIT in data["picker"]["traits"]
    assert HOSTILE_IMAGE in [image["name"] for image in data["picker"]["images"]]
    handlers = [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert handlers == []


def test_answers_stand_at_the_head_and_sentences_for_a_paper_in_their_parts(page, report):
    assert report.index('id="summary"') < report.index('id="limits"') < report.index('id="ratings"')
    asked = next(
        i
        for i, text in enumerate(page.texts)
        if text.strip() == "Do the groups differ in their mean ratings?"
    )
    begins = (
        "No difference was found in mean ratings: the largest of ",
        "Yes, in ",
        "Uncertain in ",
    )
    assert any(text.startswith(begins) for text in page.texts[asked : asked + 9])
    begins = (
        "Mean ratings (",
        "Out-of-sample prediction of ratings (",
        "Use of regions beyond range and noise (",
    )
    for begin in begins:
        assert any(text.startswith(begin) for text in page.texts)


def test_tables_are_folded_up_and_name_their_files(page):
    folds = [attrs for attrs in page.all("details") if "fold" in attrs.get("class", "")]
    assert len(folds) >= 10
    assert sum(bool(re.search(r"\d rows?$", text.strip())) for text in page.texts) == len(folds)
    for file in ("performance.csv", "ratings/reliability.csv", "cues/tests.csv", "comparisons/means.csv"):
        assert any(text.strip() == f"File: {file}" for text in page.texts)


def test_the_summary_begins_with_the_findings_and_their_direction(page, report):
    summary = report[report.index('id="summary"') : report.index('id="limits"')]
    assert summary.index('class="answer"') < 200
    assert summary.index("may be concluded") < summary.index("<li")
    assert "data:image/svg+xml," in summary
    assert [text for text in ("raters", "images", "differences between groups") if f"<dt>{text}" in summary]
    assert re.search(
        r"No difference was found in mean ratings: the largest of|Mean ratings: higher in", summary
    )
    assert "no plan was frozen" in summary
    assert "The truth of this simulated study is known. 2 differences were planted" in summary


def test_figures_are_numbered_through_and_have_their_captions_beside_them(results_folder, report):
    numbers = [int(number) for number in re.findall(r"<b>Figure (\d+)\.</b>", report)]
    assert numbers == list(range(1, len(numbers) + 1))
    told = {path.stem for path in (results_folder / "figures").glob("*.txt")}
    drawn = {path.stem for path in (results_folder / "figures").glob("*.png")}
    assert told == drawn
    text = (results_folder / "figures" / "region_differences.txt").read_text(encoding="utf-8")
    assert "right of zero: used more by autistic" in text


def test_symbols_of_statistics_are_italic_and_names_stay_text(report):
    assert "<i>p</i>\u00a0" in report
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in report


def test_figures_of_hostile_names_stay_in_their_folder_and_escape_them(results_folder, report):
    files = sorted((results_folder / "figures").iterdir())
    families = "|".join(FIGURES)
    assert all(re.fullmatch(rf"({families})(_.*)?", file.stem.removesuffix("_89mm")) for file in files)
    assert all(re.fullmatch(r"[a-z0-9_-]+(mm)?\.(svg|png|txt)", file.name) for file in files)
    assert not (results_folder.parent.parent / 'x".png').exists()
    for svg in (results_folder / "figures").glob("*.svg"):
        assert "<script" not in svg.read_text(encoding="utf-8")


def test_nothing_is_loaded_from_anywhere(page, report):
    loaded = [
        attrs[key]
        for _, attrs in page.elements
        for key in ("src", "srcset", "poster", "data")
        if key in attrs
    ]
    assert loaded
    assert all(address.startswith("data:image/") for address in loaded)
    assert [attrs.get("href") for attrs in page.all("link")] == ["data:,"]
    for attrs in page.all("a"):
        assert attrs["href"].startswith("#")  # so that no link is dead when the page is moved
    for text in page.scripts:
        text = re.sub(r"data:image/(?:jpeg|webp);base64,[A-Za-z0-9+/=]*", "", text)
        assert not re.search(r"https?://|//[a-z]|@import|url\(|fetch\(|XMLHttpRequest|innerHTML|eval\(", text)
    for address in loaded:
        if address.startswith("data:image/svg+xml,"):
            svg = unquote(address.split(",", 1)[1])
            assert svg.rstrip().endswith("</svg>")
            links = re.findall(r"(?:xlink:href|href|src)=\"([^\"]*)\"", svg)
            assert all(link.startswith(("#", "data:image/")) for link in links)


def test_policy_allows_only_the_inline_style_and_script(page):
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/=]{44}'", policy)) == 2
    assert not [attrs for _, attrs in page.elements if "style" in attrs]


def test_anchors_and_alternative_texts(page):
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for attrs in page.all("a"):
        if attrs["href"].startswith("#"):
            assert attrs["href"][1:] in ids
    assert all("alt" in attrs for attrs in page.all("img"))


def test_limits_stand_before_every_result(report):
    assert report.index('id="limits"') < report.index('id="ratings"')
    assert "never a fact about" in report
    assert "relative to the mean rating of the training images" in report


@pytest.fixture
def without_figures(monkeypatch):
    """Write pages without their figures, which take nearly all of the time."""
    monkeypatch.setattr("traitlens.report.page.draw_figures", lambda *_arguments: {})


@pytest.mark.usefixtures("without_figures")
def test_methods_text_is_true_to_the_settings(page, results_folder, tmp_path):
    text = " ".join(page.texts)
    assert "ridge regression (Hoerl & Kennard, 1970)" in text
    assert "layer block4_pool, averaged to a grid of 7 × 7 places" in text
    assert "5 folds by identity" in text
    assert "Analyses were run with traitlens 0.1.0, Python 3.12.1 and torch 2.13.0." in text
    assert "by permutation tests: raters were exchanged between the groups at random" in text
    assert "threshold-free cluster enhancement (Smith & Nichols, 2009)" in text
    assert "https://doi.org/10.1177/09567976231192236" in text
    other = tmp_path / "dense"
    shutil.copytree(
        results_folder,
        other,
        ignore=shutil.ignore_patterns("*.zarr", "figures", "r*s.csv", "ratings", "comparisons"),
    )
    study = json.loads((other / "study.json").read_text())
    study["settings"]["readout"]["method"] = "dense"
    (other / "study.json").write_text(json.dumps(study))
    html = write_report(other).read_text(encoding="utf-8")
    assert "1,024 rectified linear units" in html
    assert "ridge" not in html.lower()
    assert (
        "layer-wise relevance propagation" not in html[html.index('id="methods"') : html.index("References")]
    )


def test_numbers_are_those_of_the_tables(page, results_folder):
    table = pd.read_csv(results_folder / "performance.csv")
    for r in table["r"]:
        assert any(text.strip() == f"{r:.2f}".replace("0.", ".", 1) for text in page.texts)


@pytest.mark.usefixtures("without_figures")
def test_tests_that_such_readouts_cannot_have_are_named_with_the_reason(results_folder, tmp_path):
    other = tmp_path / "several"
    shutil.copytree(results_folder, other, ignore=shutil.ignore_patterns("*.zarr", "figures", "regions.csv"))
    study = json.loads((other / "study.json").read_text())
    reason = "it needs a ridge regression on one tap of the prepared image"
    study["left_out"] = [
        {"stage": "compare_performance", "label": "Comparing performance", "reason": reason},
        {"stage": "compare_pixels", "label": "Comparing pixels", "reason": reason},
    ]
    (other / "study.json").write_text(json.dumps(study))
    html = write_report(other).read_text(encoding="utf-8")
    assert f"Left out: “Comparing performance” and “Comparing pixels”, because {reason}." in html


def test_report_from_little_says_what_is_missing(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"name": "bare", "groups": ["all"], "traits": ["warm"]}))
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert html.count("left out") >= 5
    assert "<figure" not in html
    assert "picker" not in Page(html).scripts[0] or "null" in html


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A study of one trait with its report."""
    folder = make_results(tmp_path_factory.mktemp("small"), traits=("warm",), n_images=10)
    return folder, write_report(folder).read_text(encoding="utf-8")


def test_same_results_give_the_same_page(small, tmp_path):
    folder, first = small
    copy = shutil.copytree(folder, tmp_path / "r")
    again = write_report(copy, tmp_path / "elsewhere" / "again.html").read_text(encoding="utf-8")
    assert again == first


def test_faces_that_may_not_be_published_never_appear(small, tmp_path):
    folder = shutil.copytree(small[0], tmp_path / "r", ignore=shutil.ignore_patterns("ratings", "r*s.csv"))
    assert list((folder / "figures").glob("faces_*"))
    study = json.loads((folder / "study.json").read_text())
    study["may_publish"] = dict.fromkeys(study["may_publish"], "true")  # a word is no permission
    (folder / "study.json").write_text(json.dumps(study))
    html = write_report(folder).read_text(encoding="utf-8")
    assert not list((folder / "figures").glob("faces_*"))
    assert list((folder / "figures").glob("extremes_*"))
    assert json.loads(re.search(r'id="data">(.*?)</script>', html)[1]) == {}
    assert "no image of this study is marked as may_publish" in html
    assert "face001" not in html


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(TraitlensError, match=r"contains no study\.json"):
        write_report(tmp_path)
    (tmp_path / "study.json").write_text("{")
    (tmp_path / "performance.csv").write_bytes(b"\xff\xfe,\n")
    with pytest.raises(TraitlensError, match=r"(?s)study\.json.*performance\.csv"):
        write_report(tmp_path)


def test_faces_without_a_map_are_kept_small(small):
    from traitlens.report import picker

    results = read_results(small[0])
    most = picker.MOST_MAPS
    try:
        picker.MOST_MAPS = 0  # eight images keep their maps
        made = picker.make_picker(results)
    finally:
        picker.MOST_MAPS = most
    sides = {True: [], False: []}
    for image in made["images"]:
        with Image.open(io.BytesIO(base64.b64decode(image["face"].split(",")[1]))) as face:
            sides[image["map"]].append(face.width)
    assert len(sides[True]) == made["n_maps"] == 8
    assert max(sides[False]) < min(sides[True])
    assert {name for image in made["images"] for name in image} == {
        "name",
        "face",
        "map",
        "cells",
        "cues",
        "differences",
    }

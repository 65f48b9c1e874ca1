import io
import json
import re
import warnings
from dataclasses import replace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.text import Text
from PIL import Image
from results_folder import make_results

from traitlens.problems import TraitlensError
from traitlens.report.charts import plot_performance
from traitlens.report.colouring import colour, lay_over, smooth, symmetric_limit
from traitlens.report.difference_maps import plot_pixel_differences
from traitlens.report.face_figures import plot_extreme_averages, plot_faces
from traitlens.report.figures import FIGURES, _extreme_faces, draw_figure
from traitlens.report.map_figures import plot_average_maps
from traitlens.report.results import read_results
from traitlens.report.style import FAINT, GROUP_COLOURS, INK, NARROW, WIDE, save_figure

# Machado, Oliveira & Fernandes 2009, deuteranopia of severity 1, on linear RGB.
DEUTERANOPE = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


def linear(rgb):
    rgb = np.asarray(rgb, dtype=float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def from_hex(text):
    return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def luminance(rgb):
    return linear(rgb) @ np.array([0.2126, 0.7152, 0.0722])


def contrast(a, b):
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    """CIE L*a*b* of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = np.clip(rgb, 0, 1) @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def seen_by_deuteranope(rgb):
    return lab(linear(rgb) @ DEUTERANOPE.T)


@pytest.fixture(scope="module")
def results(results_folder):
    return read_results(results_folder)


@pytest.fixture(scope="module", params=[NARROW, WIDE])
def figures(request, results):
    """Every kind of figure, and the average maps of all traits in one."""
    drawn = {
        name: draw_figure(results, name, width=request.param) for name in FIGURES if name != "experiment"
    }
    maps = plot_average_maps(
        results.averages, groups=results.groups, traits=results.traits, width=request.param
    )
    return {**drawn, "maps": maps, "width": request.param}


def drawn_texts(figure):
    """Texts that are really drawn; matplotlib also keeps labels of ticks beyond the axes."""
    drawn, draw = [], Text.draw

    def record(self, renderer):
        if self.get_visible() and self.get_text().strip():
            drawn.append(self)
        return draw(self, renderer)

    with mock.patch.object(Text, "draw", record):
        figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    return list(dict.fromkeys(drawn))


def test_text_is_legible_inside_and_apart(figures):
    figures = dict(figures)
    width = figures.pop("width")
    for name, figure in figures.items():
        assert figure.get_figwidth() * 25.4 == pytest.approx(width, rel=0, abs=1e-6)
        texts = drawn_texts(figure)
        assert texts
        assert min(t.get_fontsize() for t in texts) >= 7, name
        frame = figure.bbox
        boxes = []
        for t in texts:
            box = t.get_window_extent()
            assert box.x0 >= frame.x0 - 2, (name, t.get_text())
            assert box.x1 <= frame.x1 + 2, (name, t.get_text())
            assert box.y0 >= frame.y0 - 2, (name, t.get_text())
            assert box.y1 <= frame.y1 + 2, (name, t.get_text())
            boxes.append((t.get_text(), box))
        for i, (text, box) in enumerate(boxes):
            for other, second in boxes[i + 1 :]:
                overlap_x = min(box.x1, second.x1) - max(box.x0, second.x0)
                overlap_y = min(box.y1, second.y1) - max(box.y0, second.y0)
                assert overlap_x < 1.5 or overlap_y < 1.5, (name, text, other)


LONG_TRAITS = tuple(
    f"{name:a<20}" for name in ("warm", "kind", "bold", "calm", "wise", "rude", "neat", "odd")
)
LONG_GROUPS = ("autistic adults", "non-autistic a.", "first-degree r.", "clinicians")


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Results of eight traits of twenty letters and four groups."""
    folder = make_results(
        tmp_path_factory.mktemp("crowded"), groups=LONG_GROUPS, traits=LONG_TRAITS, n_images=4
    )
    return read_results(folder)


@pytest.mark.parametrize("width", [NARROW, pytest.param(WIDE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(set(FIGURES) - {"faces", "extremes", "planted", "experiment"}))
def test_no_label_is_cut(crowded, name, width):
    figure = draw_figure(crowded, name, width=width)
    frame = figure.bbox
    for text in drawn_texts(figure):
        assert "…" not in text.get_text(), text.get_text()
        box = text.get_window_extent()
        assert box.x0 >= frame.x0 - 2, text.get_text()
        assert box.x1 <= frame.x1 + 2, text.get_text()


def test_map_scales_are_symmetric_with_their_unit(figures, results):
    bars = [axes for axes in figures["maps"].axes if "points per 1% of the picture" in axes.get_xlabel()]
    assert len(bars) == len(results.traits)
    for axes in bars:
        low, high = axes.get_xlim()
        assert low == pytest.approx(-high, rel=1e-9, abs=0)
        assert [label.get_text()[0] for label in axes.get_xticklabels()] == ["−", "0", "+"]
        assert axes.get_xticks()[1] == 0


def test_one_scale_for_groups_and_difference():
    maps = np.zeros((2, 1, 16, 16))
    maps[0, 0, 4:8], maps[1, 0, 8:12] = 2.0, -1.0
    averages = xr.Dataset(
        {"aligned": (("group", "trait", "y", "x"), maps)}, {"group": ["a", "b"], "trait": ["warm"]}
    )
    figure = plot_average_maps(averages, smoothing=0, percentile=100, opacity=0)
    pictures = [picture.get_array() for picture in figure.axes[0].get_images()]
    for picture, values in zip(pictures, [maps[0, 0], maps[1, 0], maps[0, 0] - maps[1, 0]], strict=True):
        np.testing.assert_array_equal(picture, colour(values, 2.0))


@given(arrays(np.float64, (6, 6), elements=st.floats(-1e3, 1e3)), st.floats(1e-6, 1e3))
def test_colours_are_symmetric(relevance, limit):
    up, down = colour(relevance, limit).astype(int), colour(-relevance, limit).astype(int)
    red_minus_blue = up[..., 0] - up[..., 2]
    strong = np.abs(relevance) > 0.05 * limit
    assert (np.sign(red_minus_blue[strong]) == np.sign(relevance[strong])).all()
    light = [lab(linear(c / 255))[..., 0] for c in (up, down)]
    np.testing.assert_allclose(light[0], light[1], rtol=0, atol=16)


def test_zero_is_white_and_not_a_number_is_grey():
    shown = colour(np.array([[0.0, np.nan]]), 1.0)
    assert (shown[0, 0] > 240).all()
    assert (shown[0, 1] == 200).all()


@given(arrays(np.float64, (8, 8), elements=st.floats(-5, 5)))
def test_limit_is_the_same_for_either_sign_and_above_zero(maps):
    limit = symmetric_limit(maps)
    assert limit > 0
    assert limit == pytest.approx(symmetric_limit(-maps), rel=1e-12, abs=0)


def test_spikes_do_not_stretch_the_scale():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(100, 100))
    calm = symmetric_limit(maps)
    maps[50, 50] = 1e6
    assert symmetric_limit(maps) == pytest.approx(calm, rel=0.02, abs=0)


def test_smoothing_keeps_the_sum_of_what_lies_inside():
    maps = np.zeros((2, 41, 41))
    maps[:, 20, 20] = 3.0
    smoothed = smooth(maps, 2.0)
    np.testing.assert_allclose(smoothed.sum((1, 2)), 3.0, rtol=1e-6, atol=0)
    assert smoothed.max() < 0.2
    np.testing.assert_array_equal(smooth(maps, 0), maps)


def test_face_beneath_leaves_bright_pixels_in_the_colour_of_the_scale():
    face = np.array([[[255, 255, 255], [0, 0, 0]]], np.uint8)
    colours = np.array([[[200, 30, 40], [200, 30, 40]]], np.uint8)
    np.testing.assert_array_equal(lay_over(face, colours, 0.5)[0, 0], colours[0, 0])
    np.testing.assert_array_equal(lay_over(face, colours, 0.5)[0, 1], [100, 15, 20])
    np.testing.assert_array_equal(lay_over(face, colours, 0)[0, 1], colours[0, 1])


def test_lines_and_text_stand_out_from_the_page():
    white = np.ones(3)
    assert all(contrast(from_hex(c), white) >= 3 for c in GROUP_COLOURS)
    assert contrast(from_hex(INK), white) >= 7
    assert contrast(from_hex(FAINT), white) >= 4.5


def test_a_deuteranope_tells_groups_and_signs_apart():
    first, second, third = (seen_by_deuteranope(from_hex(c)) for c in GROUP_COLOURS[:3])
    assert (
        min(np.linalg.norm(first - second), np.linalg.norm(second - third), np.linalg.norm(first - third))
        > 20
    )
    for strength in (0.25, 0.5, 1.0):
        up, down, zero = (
            seen_by_deuteranope(colour(np.array([[v]]), 1.0)[0, 0] / 255) for v in (strength, -strength, 0)
        )
        assert np.linalg.norm(up - down) > 20
        assert min(np.linalg.norm(up - zero), np.linalg.norm(down - zero)) > 8


def test_a_face_that_may_not_be_published_is_refused(results):
    images = results.publishable[:2]
    with pytest.raises(TraitlensError, match="may not be published"):
        plot_faces(results.pixels, results.maps, images, {images[0]: True}, trait="warm")


def test_averages_need_several_images(results):
    with pytest.raises(TraitlensError, match="images"):
        plot_extreme_averages(results.pixels, results.maps, trait="warm", least=7)


def test_unknown_kind_of_map_names_the_choices(results):
    with pytest.raises(TraitlensError, match="aligned, mean"):
        plot_average_maps(results.averages, kind="alined")


def test_files_hold_text_as_text_at_journal_width(results, tmp_path):
    svg, png = save_figure(plot_performance(results.performance, width=NARROW), tmp_path / "performance")
    text = svg.read_text(encoding="utf-8")
    assert "non-autistic</text>" in text
    assert float(re.search(r'width="([0-9.]+)pt"', text)[1]) / 72 * 25.4 == pytest.approx(89, rel=0, abs=0.1)
    with Image.open(png) as image:
        assert image.width == pytest.approx(89 / 25.4 * 300, rel=0, abs=2)


@pytest.mark.parametrize("exponent", [-9, -6, -3, 3])
def test_powers_of_ten_are_in_a_font(tmp_path, exponent):
    maps = np.full((1, 1, 16, 16), 2 * 10.0**exponent)
    averages = xr.Dataset(
        {"aligned": (("group", "trait", "y", "x"), maps)}, {"group": ["a"], "trait": ["warm"]}
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph")
        figure = plot_average_maps(averages, opacity=0)
        svg = save_figure(figure, tmp_path / "maps")[0].read_text(encoding="utf-8")
    assert re.search("10⁻?[³⁶⁹] ", svg)


def test_names_with_signs_of_formulas_are_shown_as_written(results, tmp_path):
    table = results.performance.assign(trait="$x^2$ \\alpha {")
    svg = save_figure(plot_performance(table), tmp_path / "x")[0].read_text(encoding="utf-8")
    assert "$x^2$ \\alpha {" in svg


def test_the_users_own_matplotlib_settings_stay():
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 3, "axes.labelsize": 3, "text.usetex": False}):
        before = dict(mpl.rcParams)
        table = pd.DataFrame(
            {"group": ["a"], "trait": ["warm"], "r": [0.6], "ci_low": [0.4], "ci_high": [0.7]}
        )
        figure = plot_performance(table)
        assert dict(mpl.rcParams) == before
    assert figure.axes[0].xaxis.label.get_fontsize() >= 7


def test_overview_has_a_column_for_each_trait_and_a_row_for_each_group(figures, results):
    overview = figures["overview"]
    pictures = overview.axes[0].get_images()
    assert len(pictures) == len(results.traits) * (len(results.groups) + 1)
    left = [round(picture.get_extent()[0], 6) for picture in pictures]
    assert len(set(left)) == len(results.traits)
    texts = [text.get_text() for text in overview.axes[0].texts if text.get_text()]
    assert texts.count(results.traits[0]) == 1
    headings = ["autistic (n = 20 raters)", "non-autistic (n = 20 raters)", "autistic − non-autistic"]
    assert [text[4:] for text in texts if text[0] in "ABC" and text[1] == " "] == headings
    assert {"more in autistic", "more in non-autistic", "raises the rating"} <= set(texts)


def test_only_areas_that_are_significant_over_all_traits_are_outlined(results):
    page = plot_pixel_differences(results.pixel_tests).axes[0]
    assert (results.pixel_tests["p_corrected"].sel(trait=results.traits[0]).values <= 0.01).any()
    outlines = [one for one in page.collections if len(one.get_paths()[0].vertices)]
    assert len(outlines) == 2  # a seam and a line round one area of the first trait
    left, right, _, top = page.get_images()[0].get_extent()
    cell = (right - left) / 16
    box = outlines[-1].get_paths()[0].get_extents()
    # Cells 5 to 7 (rows) and 4 to 6 (columns) of the template, border to border.
    assert (box.x0 - left, box.x1 - left) == pytest.approx((4 * cell, 7 * cell), rel=0, abs=0.2 * cell)
    assert (box.y0 - top, box.y1 - top) == pytest.approx((5 * cell, 8 * cell), rel=0, abs=0.2 * cell)
    within_trait = results.pixel_tests.assign(p_corrected=results.pixel_tests["p_corrected"].clip(0.04))
    assert not plot_pixel_differences(within_trait).axes[0].collections


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("averages", {}, "average_maps"),
        ("performance", {"opacity": 0.2}, "no option 'opacity'"),
        ("average_maps", {"opacity": 2}, "from 0 to 1"),
        ("average_maps", {"traits": ["wram"]}, "warm"),
        ("faces", {"images": ["nobody.jpg"]}, "no map of the image 'nobody.jpg'"),
        ("scatter", {"width": 5}, "width is 5"),
    ],
)
def test_wrong_options_are_named(results, name, options, told):
    with pytest.raises(TraitlensError, match=told):
        draw_figure(results, name, **options)


def test_extreme_faces_show_each_person_once(results):
    images = _extreme_faces(results, "warm", WIDE)
    identity = results.study["identity"]
    assert len({identity[image] for image in images}) == len(images) == 6
    mean = results.maps["prediction"].sel(trait="warm").mean("group").to_series()
    assert list(mean[images]) == sorted(mean[images])
    assert images[0] == mean.idxmin()
    lowest = {identity[image] for image in images[:3]}
    assert images[-1] == mean[[image for image in mean.index if identity[image] not in lowest]].idxmax()


def test_a_missing_part_is_named(results):
    with pytest.raises(TraitlensError, match=r"comparisons/pixels\.zarr"):
        draw_figure(replace(results, pixel_tests=None), "pixel_differences")


def test_figure_command_makes_one_again(results_folder, tmp_path, monkeypatch, capsys):
    from traitlens import cli

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["traitlens", "figure", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr()

    options = ("--trait", "warm", "--width", "120", "--opacity", "0.2", "--scale", "0.001", "--format", "svg")
    code, _ = call("average_maps", results_folder, *options, "--out", tmp_path / "warm")
    assert code == 0
    svg = (tmp_path / "warm.svg").read_text(encoding="utf-8")
    assert float(re.search(r'width="([0-9.]+)pt"', svg)[1]) / 72 * 25.4 == pytest.approx(120, rel=0, abs=0.1)
    assert "−1.0</text>" in svg
    code, told = call("average_maps", results_folder, "--trait", "wram")
    assert code == 2
    assert "did you mean 'warm'" in told.err
    code, told = call("list")
    assert all(name in told.out for name in FIGURES)


def test_groups_may_stand_in_any_order(results):
    turned = replace(results, study={**results.study, "groups": results.groups[::-1]})
    assert turned.groups != results.groups
    assert turned.compared == results.compared
    first, second = (draw_figure(one, "region_differences") for one in (results, turned))
    assert [axes.get_xlabel() for axes in first.axes] == [axes.get_xlabel() for axes in second.axes]


def test_the_method_is_drawn_from_the_settings(results):
    texts = " ".join(
        text.get_text().replace("\n", " ") for text in draw_figure(results, "method").axes[0].texts
    )
    for said in ("12 images of 6 persons", "40 raters in 2 groups", "block4_pool, averaged to 7 × 7 places"):
        assert said in texts
    assert "5 folds by person" in texts
    hidden = replace(results, study={**results.study, "may_publish": {}})
    face = draw_figure(hidden, "method").axes[0].get_images()[0].get_array()
    np.testing.assert_array_equal(face, results.averages["face"].values)


def test_scatter_plots_share_the_scale_and_say_r(results):
    figure = draw_figure(results, "scatter")
    table = results.predictions
    for axes in figure.axes:
        group, trait = json.loads(axes.get_label())
        own = table[(table["group"] == group) & (table["trait"] == trait)]
        r = np.corrcoef(own["observed"], own["predicted"])[0, 1]
        assert axes.texts[0].get_text() == f"r = {r:.2f}".replace("0.", ".")
        assert axes.get_xlim() == axes.get_ylim() == figure.axes[0].get_xlim()
        assert axes.get_xlim()[0] < 1 < 7 < axes.get_xlim()[1]

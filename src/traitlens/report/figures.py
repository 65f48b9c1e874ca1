"""Registry of the report's figures, and a function that draws one of them by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure

from traitlens import artifacts as a
from traitlens.columns import GROUP, IMAGE, REGION, SHARE, TRAIT
from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.report.charts import plot_learning_curves, plot_performance, plot_reliability, plot_scatter
from traitlens.report.difference_maps import plot_pixel_differences
from traitlens.report.face_figures import plot_extreme_averages, plot_faces
from traitlens.report.face_types import plot_face_types
from traitlens.report.map_check_results import plot_map_checks
from traitlens.report.map_figures import plot_average_maps, plot_overview
from traitlens.report.matrices import plot_trait_space, plot_transfer
from traitlens.report.method_figure import plot_method
from traitlens.report.planted import compare_with_planted
from traitlens.report.rater_models import plot_rater_models
from traitlens.report.region_charts import (
    plot_experiment,
    plot_planted,
    plot_profile,
    plot_region_differences,
    plot_region_shares,
    plot_utilisation,
)
from traitlens.report.results import Results, read_results
from traitlens.report.style import WIDE
from traitlens.report.variance_sources import plot_variances

LOOKS = ("opacity", "smoothing", "percentile", "limit")
"""Options of figures of maps."""

RANGES = {
    "width": (40, 400),
    "opacity": (0, 1),
    "smoothing": (0, 50),
    "percentile": (50, 100),
    "limit": (1e-12, 1e6),
}
"""Lowest and highest value of each option."""


MOST_PROFILES = 5
"""Maximum number of traits in the profile of a face."""


@dataclass(frozen=True)
class Order:
    """Selection and width of a figure.

    Parameters
    ----------
    groups, traits : list of str
        Groups and traits to draw, in this order.
    width : float
        Width in millimetres.
    """

    groups: list[str]
    traits: list[str]
    width: float

    def as_options(self) -> dict[str, Any]:
        """Return the keyword arguments of plotting functions."""
        return {"groups": self.groups, "traits": self.traits, "width": self.width}


Draw = Callable[[Results, Order, dict[str, Any]], Figure]
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Parameters
    ----------
    about : str
        One-line description.
    draw : callable
        Function of results, order and further options that draws the figure; raises TraitlensError if
        data are missing.
    options : tuple of str
        Names of further options.
    each_trait : bool
        Whether there is one figure for each trait.
    """

    about: str
    draw: Draw
    options: tuple[str, ...] = ()
    each_trait: bool = False


FIGURES: dict[str, Kind] = {}
"""The kinds of figures by name, in the order of the report."""


def _figure(about: str, options: tuple[str, ...] = (), each_trait: bool = False) -> Callable[[Draw], Draw]:
    """Add a function to :data:`FIGURES` under its own name."""

    def enter(draw: Draw) -> Draw:
        name = draw.__name__.strip("_")
        if name in FIGURES:
            raise ValueError(f"there are two figures {name!r}")
        FIGURES[name] = Kind(about, draw, options, each_trait)
        return draw

    return enter


def draw_figure(
    results: Results | str | Path,
    name: str,
    *,
    groups: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    width: float = WIDE,
    **options: Any,
) -> Figure:
    """Draw one figure of a results folder.

    Parameters
    ----------
    results : Results, str or Path
        The results folder, or the results read from it.
    name : str
        One of :data:`FIGURES`, "average_maps" for example.
    groups, traits : sequence of str, optional
        Groups and traits to draw, in this order; all in the study's order by default. A figure that is about
        one trait shows the first one.
    width : float, default 183
        Width in millimetres.
    **options
        For figures of maps: `opacity` of the face beneath (0 to 1), `smoothing` (SD in pixels),
        `percentile` or `limit` for the end of the scale. For "faces" and "profile": `images`.

    Returns
    -------
    Figure
        The figure.

    Raises
    ------
    TraitlensError
        If the name, a group, a trait or an option is not known, or the results lack what the figure shows.

    Examples
    --------
    >>> figure = draw_figure("mystudy/results", "average_maps", traits=["warm"], width=89)  # doctest: +SKIP
    >>> figure.savefig("warm.svg")  # doctest: +SKIP
    """
    if name not in FIGURES:
        raise unknown_choice("figure", name, tuple(FIGURES))
    kind = FIGURES[name]
    problems = _check_options(name, kind, width, options)
    if problems:
        raise TraitlensError(problems)
    if not isinstance(results, Results):
        results = read_results(Path(results))
    order = Order(
        _check_names("group", groups, results.groups),
        _check_names("trait", traits, results.traits),
        float(width),
    )
    try:
        return kind.draw(results, order, options)
    except TraitlensError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, MemoryError) as error:
        message = " ".join(str(error).split())[:120] or type(error).__name__
        problem = Problem(
            f"the figure {name!r} cannot be drawn ({message})", "run the study again", str(results.folder)
        )
        raise TraitlensError(problem) from error


def _check_options(name: str, kind: Kind, width: float, options: dict[str, Any]) -> list[Problem]:
    """Check the names and values of options."""
    known = f"it takes {', '.join(kind.options)}" if kind.options else "leave it out"
    problems = [
        Problem(f"figure {name!r} has no option {option!r}", known)
        for option in options
        if option not in kind.options
    ]
    for option, value in {"width": width, **options}.items():
        low, high = RANGES.get(option, (-np.inf, np.inf))
        if option in RANGES and value is not None and not low <= value <= high:
            problems.append(Problem(f"{option} is {value:g}", f"give a number from {low:g} to {high:g}"))
    return problems


def _check_names(what: str, wanted: Sequence[str] | None, known: list[str]) -> list[str]:
    """Return the chosen names, or all by default; raise an error for names that the study does not have."""
    for name in wanted or ():
        if name not in known:
            raise unknown_choice(what, name, tuple(known))
    return list(wanted) if wanted else known


def _need(part: _Part | None, name: str, remedy: str = "run the study, or choose another figure") -> _Part:
    """Return a table or dataset of the results, or raise an error that names the missing file."""
    if part is None:
        raise TraitlensError(Problem(f"the results contain no {name}", remedy))
    return part


@_figure("the steps of the study's method")
def _method(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    _need(results.performance, a.PERFORMANCE.path)
    return plot_method(results, width=order.width)


@_figure("the noise ceiling of r for each group and trait")
def _reliability(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    table = _need(results.reliability, a.RELIABILITY.path)
    _need(table.get("ceiling_r"), "noise ceilings")
    return plot_reliability(table, **order.as_options())


@_figure("the sources of the variance of ratings: persons, photographs, raters, private taste, noise")
def _variances(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    return plot_variances(_need(results.variances, a.VARIANCES.path), **order.as_options())


@_figure("how the traits' mean ratings correlate in each group")
def _trait_space(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    table = _need(results.correlations, a.TRAIT_CORRELATIONS.path)
    return plot_trait_space(table, **order.as_options())


@_figure("how well ratings are predicted, beside the noise ceiling")
def _performance(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    return plot_performance(_need(results.performance, a.PERFORMANCE.path), **order.as_options())


@_figure("the training error of the networks of Cao et al. (2023) by epoch")
def _learning_curves(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    losses = _need(results.losses, a.LEARNING_CURVES.path, "choose results of the readout cao2023")
    return plot_learning_curves(losses, **order.as_options())


@_figure("observed against predicted ratings")
def _scatter(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    table = _need(results.predictions, a.PREDICTIONS.path)
    return plot_scatter(table, scale=results.study.get("scale"), **order.as_options())


@_figure("all average maps at once: a column for each trait, a row for each group", LOOKS)
def _overview(results: Results, order: Order, options: dict[str, Any]) -> Figure:
    averages = _need(results.averages, a.AVERAGE_MAPS.path)
    table = results.reliability
    raters = None
    if table is not None and "n_raters" in table:
        raters = table.groupby(GROUP)["n_raters"].max().astype(int).to_dict()
    return plot_overview(averages, raters=raters, **_among(averages, order), **options)


@_figure("a trait's average maps of each group and their difference", LOOKS, each_trait=True)
def _average_maps(results: Results, order: Order, options: dict[str, Any]) -> Figure:
    averages = _need(results.averages, a.AVERAGE_MAPS.path)
    return plot_average_maps(averages, **_among(averages, order, one=True), **options)


@_figure("the faces with the lowest and highest predictions, and their maps", (*LOOKS, "images"), True)
def _faces(results: Results, order: Order, options: dict[str, Any]) -> Figure:
    maps, pixels = _need(results.maps, a.MAPS.path), _need(results.pixels, a.PREPARED.path)
    found = _among(maps, order, one=True)
    (trait,) = found["traits"]
    images = list(options.pop("images", None) or _extreme_faces(results, trait, order.width))
    unknown = [image for image in images if image not in maps[IMAGE].values]
    if unknown:
        raise TraitlensError([Problem(f"there is no map of the image {image!r}") for image in unknown])
    return plot_faces(
        pixels,
        maps,
        images,
        results.study.get("may_publish", {}),
        trait=trait,
        groups=found["groups"],
        width=order.width,
        **options,
    )


def _extreme_faces(results: Results, trait: str, width: float) -> list[str]:
    """Choose publishable faces with the lowest and the highest mean predictions, one image per person."""
    maps = _need(results.maps, a.MAPS.path)
    allowed = set(results.publishable)
    names = [image for image in maps[IMAGE].values if image in allowed]
    mean = maps["prediction"].sel({TRAIT: trait, IMAGE: names}).mean(GROUP).values
    ranked = [name for value, name in sorted(zip(mean, names, strict=True)) if np.isfinite(value)]
    identity = results.study.get("identity", {})
    persons = len({identity.get(name, name) for name in ranked})
    if persons < 2:
        raise TraitlensError("fewer than two persons' faces may be shown")
    # With many traits, fewer faces in each figure keep the page small.
    most = 3 if len(results.traits) <= 8 else 2 if len(results.traits) <= 16 else 1
    half = min(most, 3 if width > 120 else 2, persons // 2)
    lowest = _first_of_each(ranked, identity, half)
    taken = {identity.get(name, name) for name in lowest}
    rest = [name for name in reversed(ranked) if identity.get(name, name) not in taken]
    return [*lowest, *reversed(_first_of_each(rest, identity, half))]


def _first_of_each(images: Sequence[str], identity: dict[str, str], number: int) -> list[str]:
    """Return the first image of each identity, up to a number."""
    first: dict[str, str] = {}
    for image in images:
        first.setdefault(identity.get(image, image), image)
    return list(first.values())[:number]


@_figure("one face, and how much each region adds to each group's predicted ratings", ("images",))
def _profile(results: Results, order: Order, options: dict[str, Any]) -> Figure:
    traits = order.traits[:MOST_PROFILES]
    image = next(iter(options.get("images") or [_extreme_faces(results, traits[0], order.width)[-1]]))
    if image not in results.publishable:
        raise TraitlensError(f"this image may not be published: {image}")
    pixels = _need(results.pixels, a.PREPARED.path)
    if not a.GROUP_CUES.of(results.folder).exists():
        raise TraitlensError(f"the results contain no {a.GROUP_CUES.path}")
    cues = a.GROUP_CUES.read(results.folder)
    own = cues[(cues[IMAGE] == image) & cues[TRAIT].isin(traits) & cues[GROUP].isin(order.groups)]
    face = pixels.sel({IMAGE: image}).values
    return plot_profile(
        face, own, name=image, **{**order.as_options(), "traits": traits}, regions=results.region_order
    )


@_figure("averages over the images with the lowest and highest predictions, and over their maps", LOOKS, True)
def _extremes(results: Results, order: Order, options: dict[str, Any]) -> Figure:
    maps, pixels = _need(results.maps, a.MAPS.path), _need(results.pixels, a.PREPARED.path)
    found = _among(maps, order, one=True)
    (trait,) = found.pop("traits")
    return plot_extreme_averages(pixels, maps, trait=trait, **found, **options)


@_figure("how strongly each group uses each region of the face, and where groups differ")
def _utilisation(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    table = _need(results.use.get("groups"), a.UTILISATION_MEANS.path)
    tests = results.comparisons.get("use")
    found = (
        set() if tests is None else set(map(tuple, tests.loc[tests["called"], [TRAIT, REGION]].to_numpy()))
    )
    return plot_utilisation(table, found, **order.as_options(), regions=results.region_order)


@_figure("the share of the explained variance of each region, beside its area")
def _region_shares(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    shares = _need(results.use.get("shares"), a.SHARES.path).dropna(subset=[SHARE])
    named = shares.rename(columns={"low": "ci_low", "high": "ci_high"})
    named = _need(named if len(named) else None, a.SHARES.path)
    return plot_region_shares(named, **order.as_options(), regions=results.region_order)


@_figure("how the groups differ in the use of each region, beyond range and noise")
def _region_differences(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    table, pair = _need(results.comparisons.get("use"), a.USE_TESTS.path), results.compared
    if {"group_1", "group_2"} <= set(table.columns):
        table = table[(table["group_1"] == pair[0]) & (table["group_2"] == pair[1])]
    return plot_region_differences(
        table, **{**order.as_options(), "groups": pair}, regions=results.region_order
    )


@_figure("on which faces the groups differ more: slopes of the difference on measures of the face")
def _face_types(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    table, pair = _need(results.comparisons.get("face_types"), a.FACE_TYPES.path), results.compared
    own = table[(table["group_1"] == pair[0]) & (table["group_2"] == pair[1])]
    return plot_face_types(own if len(own) else table, traits=order.traits, width=order.width)


@_figure("effects of groups and other variables of the raters, adjusted for each other")
def _rater_models(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    table = _need(results.comparisons.get("rater_models"), a.RATER_MODELS.path, "set comparison.formula")
    return plot_rater_models(table, traits=order.traits, width=order.width)


@_figure("observed against predicted effects of altered faces")
def _experiment(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    remedy = "rate altered faces: see traitlens stimuli"
    table = _need(results.experiment.get("effects"), a.EXPERIMENT_EFFECTS.path, remedy)
    return plot_experiment(table, **order.as_options())


@_figure("what was planted in a simulated study, beside what was found")
def _planted(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    table = _need(compare_with_planted(results), "truth of a simulated study")
    return plot_planted(table, groups=results.compared, width=order.width)


@_figure("differences between the groups' maps, with significant areas outlined", LOOKS[:1] + LOOKS[2:])
def _pixel_differences(results: Results, order: Order, options: dict[str, Any]) -> Figure:
    tests = _need(results.pixel_tests, a.PIXEL_MAPS.path)
    traits = [trait for trait in order.traits if trait in tests[TRAIT].values]
    return plot_pixel_differences(tests, traits=traits, width=order.width, **options)


@_figure("correlation of maps with null maps, and change of predictions when patches are replaced")
def _map_checks(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    needed = {
        name: _need(results.checks.get(name), f"checks/{name}.csv", "run `traitlens sanity` on the study")
        for name in ("null_maps", "flipping")
    }
    return plot_map_checks(needed, **order.as_options())


@_figure("how well the readout of each trait predicts the ratings of every other")
def _transfer(results: Results, order: Order, _options: dict[str, Any]) -> Figure:
    table = _need(results.comparisons.get("transfer_traits"), a.TRANSFER_TRAITS.path)
    return plot_transfer(table, **order.as_options())


def _among(maps: Any, order: Order, one: bool = False) -> dict[str, Any]:
    """Select the groups and traits that have maps; only the first trait where one is shown."""
    traits = [trait for trait in order.traits if trait in maps[TRAIT].values]
    groups = [group for group in order.groups if group in maps[GROUP].values]
    if not traits or not groups:
        raise TraitlensError("there are no maps of these groups and traits")
    return {"groups": groups, "traits": traits[:1] if one else traits, "width": order.width}

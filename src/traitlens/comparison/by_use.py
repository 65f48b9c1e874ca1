r"""Comparison of groups in the use of the scale and of the face: range, noise and use.

*Range*: how far a group's ratings follow the impression that both groups share. *Noise*: how far single
ratings depart from what the rater's cues and the group's consensus say. *Use*: how a group distributes its
judgement over the regions of the face, independent of range and noise.

Raters and faces are both random factors: raters within each group, and the persons shown, are drawn with
replacement together (a crossed or "pigeonhole" bootstrap, Owen 2007, doi:10.1214/07-AOAS122). With faces
taken as fixed, chance relations between the regions of just these faces pass for differences of use. The
bootstrap counts the interaction of raters and faces three times; the standard error is corrected for that.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr
from scipy import special, stats

from traitlens.columns import IMAGE, REGION, TRAIT
from traitlens.comparison.permutation import (
    find_strata,
    hedges_g,
    pairs_of_groups,
    ratings_of_pair,
    welch,
)
from traitlens.comparison.shares import correlations, explained_shares, rated
from traitlens.comparison.utilisation import (
    DRAWS_AT_ONCE,
    LensDesign,
    Progress,
    TraitRatings,
    group_utilisation,
    make_design,
    rater_values,
    regress_raters,
    standardise,
)

QUESTIONS = ("range", "noise", "use")
ALPHA = 0.05
ADDS = 0.01
"""Least part of the explained variance of all raters' means that a region adds, to be asked about."""

DRAWS_OF_FACES = 500
"""Number of draws of identities only, for a variance and intervals."""

SETS_LEFT_OUT = 20
"""Sets of identities that are left out in turn where cues are fitted again."""

INTERVALS = ("low", "high", "raters_low", "raters_high", "faces_low", "faces_high")
COLUMNS = (
    "group_1", "group_2", "question", TRAIT, REGION, "value_1", "value_2", "difference", *INTERVALS, "p",
    "p_corrected", "called", "hedges_g", "hedges_g_low", "hedges_g_high", "n_1", "n_2",
)  # fmt: skip
"""Columns of a table of tests."""

Relearn = Callable[[np.ndarray], xr.DataArray]
"""From images that are learnt from, bool (set, image) in the order of the cues, to cues that are learnt from
these, (set, trait, image, region)."""


def compare_use(
    ratings: pd.DataFrame,
    cues: xr.DataArray,
    identities: pd.Series | None = None,
    *,
    groups: tuple[str, str] | None = None,
    within: Sequence[str] = (),
    draws: int = 2000,
    relearn: Relearn | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> pd.DataFrame:
    r"""Test whether two groups differ in range, in noise, and in the use of the face's regions.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    cues : DataArray (trait, image, region)
        Rating points, from a readout of all raters together. Leave out traits that are not predicted better
        than chance: their regions mean nothing.
    identities : Series, optional
        The person shown, by image. Each image is a separate person if None.
    groups : (str, str), optional
        The first minus the second; all pairs of groups if None.
    within : sequence of str, default ()
        Columns of the ratings that tell raters apart, such as their gender: raters are weighted so that both
        groups have the same composition, and raters whose like the other group lacks are left out.
    draws : int, default 2000
        Bootstrap draws of raters and identities.
    relearn : callable, optional
        Fits the cues again without some images, such as
        :meth:`traitlens.comparison.common_cues.CommonCues.relearn`. Standard errors and intervals of "use"
        then hold what other faces would change in the cues; without it cues are taken as known.
    seed : int, default 0
        Seed. Swapping the names of the groups changes signs only.
    progress : callable, optional
        Called with the number of further draws done.

    Returns
    -------
    DataFrame
        group_1, group_2, question ("range", "noise", "use"), trait, region (empty but for "use"), value_1,
        value_2, difference, low, high (95 %, raters and faces as samples), raters_low, raters_high (faces as
        they are; Welch's t), faces_low, faces_high (raters as they are), p, p_corrected (family-wise over the
        regions and traits of a question; missing for regions that add less than 1 % to what all cues explain
        of both groups' mean ratings, which are not asked about), called (p_corrected at most .05), hedges_g
        with hedges_g_low and hedges_g_high (over raters), n_1, n_2 (raters).
        All values are rating points: the spread of the predicted ratings for "range", the
        standard deviation of the residuals for "noise", and for "use" points per standard
        deviation of the cue, with both groups brought to their mean range.

    Notes
    -----
    With :math:`G_g` the mean utilisation of group g and a trait, :math:`m` the mean of both
    groups' unit vectors and :math:`u = m / m'm`, the range is :math:`s_g = G_g'u` and the profile
    :math:`P_g = G_g / s_g`. The question of use is about :math:`P_1 - P_2`. p values compare the difference
    divided by its standard error (:func:`crossed_variance`) with absolute deviations of draws from it,
    divided by their standard deviation; the maximum over the question's cells for p_corrected.

    Examples
    --------
    >>> compare_use(study.ratings, cue_array(cues), identities)  # doctest: +SKIP
    """
    tables = []
    for pair in pairs_of_groups(ratings, groups):
        both = ratings_of_pair(ratings, pair)
        design = make_design(both, cues, identities, pair)
        strata = find_strata(both, design.raters, design.labels, within)
        weights = balance(design.labels, strata) if within else None
        test = PairTest(design, strata, draws, seed, progress, weights)
        if relearn is not None:
            test.added = test.learning_variance(relearn)
        table = test.table()
        table.insert(0, "group_1", pair[0])
        table.insert(1, "group_2", pair[1])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def by_question(tests: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split a table of tests by question.

    Parameters
    ----------
    tests : DataFrame
        As :func:`compare_use` returns it.

    Returns
    -------
    dict of str to DataFrame
        "range", "noise" and "use", each with its own family of p values, and named like other tables of
        tests: estimate, ci_low, ci_high. Questions without rows are left out.
    """
    named = tests.rename(columns={"difference": "estimate", "low": "ci_low", "high": "ci_high"})
    tables = {question: named[named["question"] == question] for question in QUESTIONS}
    return {
        question: (table if question == "use" else table.drop(columns=REGION)).reset_index(drop=True)
        for question, table in tables.items()
        if len(table)
    }


@dataclass(frozen=True)
class Draws:
    """Draws of raters and of images.

    Parameters
    ----------
    raters : ndarray of shape (draw, rater)
        How often each rater was drawn.
    images : ndarray of shape (draw, image)
        How often each image was drawn, with all images of its identity.
    """

    raters: np.ndarray
    images: np.ndarray

    @property
    def of_faces(self) -> "Draws":
        """The same draws of images, with the original raters."""
        return Draws(np.ones_like(self.raters), self.images)


def draw_samples(
    labels: np.ndarray, strata: np.ndarray, identities: np.ndarray, draws: int, seed: int
) -> Iterator[Draws]:
    """Draw raters within groups and strata, one fewer than there are, and identities, with replacement.

    Parameters
    ----------
    labels : ndarray of int, shape (rater,)
        Groups.
    strata : ndarray of int, shape (rater,)
        Strata of raters with the same task.
    identities : ndarray of int, shape (image,)
        The person shown.
    draws : int
        How many.
    seed : int
        Seed. Independent of the numbering of groups and strata.

    Yields
    ------
    Draws
        At most 250 at a time.
    """
    for_raters, for_images = (np.random.default_rng([seed, stream]) for stream in (1, 2))
    cell = pd.factorize(pd.MultiIndex.from_arrays([labels, strata]))[0]  # in the order of the first member
    number = identities.max() + 1
    for start in range(0, draws, DRAWS_AT_ONCE):
        size = min(DRAWS_AT_ONCE, draws - start)
        raters = np.zeros((size, len(labels)))
        for one in range(cell.max() + 1):
            members = np.flatnonzero(cell == one)
            # One fewer than the sample: the variance of a mean over draws is then unbiased (Rao and Wu 1988).
            raters[:, members] = for_raters.multinomial(
                max(len(members) - 1, 1), np.full(len(members), 1 / len(members)), size
            )
        persons = for_images.multinomial(number, np.full(number, 1 / number), size)
        yield Draws(raters, persons[:, identities].astype(float))


@dataclass(frozen=True)
class Profiles:
    """Range and profile of two groups.

    Parameters
    ----------
    ranges : ndarray of shape (group, draw, trait)
        Length of a group's utilisation along the direction that both groups share.
    profiles : ndarray of shape (group, draw, trait, region)
        Utilisation divided by the range.
    directions : ndarray of shape (draw, trait, region)
        `u`, whose product with a group's utilisation is its range.
    """

    ranges: np.ndarray
    profiles: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, utilisation: np.ndarray) -> "Profiles":
        """Split utilisation into range and profile.

        Parameters
        ----------
        utilisation : ndarray (group, draw, trait, region)
            Rating points per standard deviation of a cue.

        Returns
        -------
        Profiles
            Ranges, and utilisation relative to range.
        """
        length = np.linalg.norm(utilisation, axis=-1, keepdims=True)
        units = utilisation / np.where(length > 0, length, 1)
        middle = units.mean(axis=0)
        square = (middle**2).sum(axis=-1, keepdims=True)
        directions = middle / np.where(square > 0, square, 1)
        ranges = (utilisation * directions).sum(axis=-1)
        safe = np.where(np.abs(ranges) > 1e-12, ranges, np.inf)
        return cls(ranges, utilisation / safe[..., None], directions)

    @property
    def differences(self) -> np.ndarray:
        """Return the profile of the first group minus that of the second: (draw, trait, region)."""
        return np.asarray(self.profiles[0] - self.profiles[1])

    @property
    def log_ratios(self) -> np.ndarray:
        """Return the logarithm of the ratio of the ranges: (draw, trait)."""
        return np.asarray(np.log(np.maximum(self.ranges[0], 1e-9) / np.maximum(self.ranges[1], 1e-9)))


class PairTest:
    """The three questions for one pair of groups.

    Parameters
    ----------
    design : LensDesign
        Ratings of two groups.
    strata : ndarray of int, shape (rater,)
        Strata of raters with the same task.
    draws : int, default 2000
        Bootstrap draws.
    seed : int, default 0
        Seed.
    progress : callable, optional
        Called with the number of further draws done.
    weights : ndarray of shape (rater,), optional
        Weight of each rater, of :func:`balance`; 1 if None.
    """

    def __init__(
        self,
        design: LensDesign,
        strata: np.ndarray,
        draws: int = 2000,
        seed: int = 0,
        progress: Progress = None,
        weights: np.ndarray | None = None,
    ):
        self.design = design
        self.weights = np.ones(len(design.raters)) if weights is None else weights
        self.labels = labels = design.labels
        self.strata = strata
        self.draws = draws
        self.seed = seed
        self.progress = progress
        self.added: np.ndarray | float = 0.0
        """Variance of the differences of use that learning the cues adds, such as `learning_variance`."""
        whole = Draws(np.ones((1, len(labels))), np.ones((1, len(design.images))))
        self.observed = Profiles.of(self._utilisation(whole))
        self.residuals = [
            squared_residuals(trait, design.cues[place], labels) for place, trait in enumerate(design.ratings)
        ]
        self.noise = self._noise(whole)[:, 0]

    def _utilisation(self, drawn: Draws, cues: np.ndarray | None = None) -> np.ndarray:
        """Return the utilisation of both groups: (group, draw, trait, region)."""
        weighted = drawn.raters * self.weights
        raters = np.stack([weighted * (self.labels == group) for group in (0, 1)])
        return group_utilisation(self.design, raters, drawn.images, cues)

    def _noise(self, drawn: Draws) -> np.ndarray:
        """Return the mean logarithm of the raters' residual standard deviations: (group, draw, trait)."""
        result = np.zeros((2, len(drawn.raters), len(self.residuals)))
        for place, (squares, counted) in enumerate(self.residuals):
            sums, counts = drawn.images @ squares.T, drawn.images @ counted.T
            known = (sums > 0) & (counts > 0)
            logs = np.where(known, 0.5 * np.log(np.where(known, sums, 1) / np.where(known, counts, 1)), 0)
            for group in (0, 1):
                own = drawn.raters * self.weights * (self.labels == group) * known
                total = own.sum(axis=1)
                result[group, :, place] = (own * logs).sum(axis=1) / np.where(total > 0, total, 1)
        return result

    def _samples(self, draws: int, raters: bool = True) -> dict[str, np.ndarray]:
        """Draw the differences of each question, with drawn or original raters: (draw, cell)."""
        found: dict[str, list[np.ndarray]] = {question: [] for question in QUESTIONS}
        for drawn in draw_samples(self.labels, self.strata, self.design.identities, draws, self.seed):
            taken = drawn if raters else drawn.of_faces
            profiles = Profiles.of(self._utilisation(taken))
            noise = self._noise(taken)
            found["range"].append(profiles.log_ratios)
            found["noise"].append(noise[0] - noise[1])
            found["use"].append(profiles.differences.reshape(len(drawn.raters), -1))
            if self.progress:
                self.progress(len(drawn.raters))
        return {question: np.concatenate(blocks) for question, blocks in found.items()}

    def _estimates(self) -> dict[str, np.ndarray]:
        """Return the differences of each question: (cell,)."""
        return {
            "range": self.observed.log_ratios[0],
            "noise": self.noise[0] - self.noise[1],
            "use": self.observed.differences[0].ravel(),
        }

    def profile_differences(self) -> tuple[np.ndarray, np.ndarray]:
        """Test the question of use only.

        Returns
        -------
        differences, p_corrected : ndarray of shape (trait, region)
            Differences of the profiles, and family-wise p values; missing where a region is not asked about.
        """
        both = self._use_samples(self.draws)
        differences = self.observed.differences[0]
        errors, freedom = self._errors("use")
        spread = np.sqrt(crossed_variance(both, self._over_faces, errors) + self.added)
        asked = self.asked.ravel()
        corrected = np.full(len(asked), np.nan)
        cells = (values[..., asked] for values in (differences.ravel(), both, errors, freedom, spread))
        corrected[asked] = bootstrap_p(*cells)[1]
        return differences, corrected.reshape(differences.shape)

    @cached_property
    def asked(self) -> np.ndarray:
        """Regions that add at least 1 % of what all cues explain to both groups' means: (trait, region)."""
        whole = Draws(np.ones((1, len(self.labels))), np.ones((1, len(self.design.images))))
        pooled = self._utilisation(whole).mean(axis=0)[0]
        adds = [
            explained_shares(weights[None], correlations(cues, whole.images * rated(cues)))[1, 0]
            for weights, cues in zip(pooled, self.design.cues, strict=True)
        ]
        return np.nan_to_num(np.array(adds)) >= ADDS

    @property
    def _draws_of_faces(self) -> int:
        return min(self.draws, DRAWS_OF_FACES)

    @cached_property
    def _over_faces(self) -> np.ndarray:
        """Return differences of the profiles in draws of identities only: (draw, cell)."""
        return self._use_samples(self._draws_of_faces, raters=False)

    def _use_samples(self, draws: int, raters: bool = True) -> np.ndarray:
        """Draw the differences of the profiles, with drawn or original raters: (draw, cell)."""
        drawn = draw_samples(self.labels, self.strata, self.design.identities, draws, self.seed)
        return np.concatenate(
            [
                Profiles.of(self._utilisation(one if raters else one.of_faces)).differences.reshape(
                    len(one.raters), -1
                )
                for one in drawn
            ]
        )

    def table(self) -> pd.DataFrame:
        """Test all questions.

        Returns
        -------
        DataFrame
            Columns as :func:`compare_use` returns them.
        """
        estimates = self._estimates()
        both = self._samples(self.draws)
        over_faces = self._samples(self._draws_of_faces, raters=False)
        frames = []
        for question in QUESTIONS:
            frame = self._cells(question)
            estimate, drawn, faces = estimates[question], both[question], over_faces[question]
            errors, freedom = self._errors(question)
            added = self.added if question == "use" else 0.0
            spread = np.sqrt(crossed_variance(drawn, faces, errors) + added)
            over_faces_alone = np.sqrt(faces.var(axis=0, ddof=1) + added)
            asked = self.asked.ravel() if question == "use" else np.ones(len(estimate), bool)
            p, corrected = np.full((2, len(estimate)), np.nan)
            cells = (values[..., asked] for values in (estimate, drawn, errors, freedom, spread))
            p[asked], corrected[asked] = bootstrap_p(*cells)
            width = stats.t.ppf(1 - ALPHA / 2, freedom) * errors
            intervals = {
                "": bootstrap_interval(estimate, drawn, errors, freedom, spread),
                "raters_": (estimate - width, estimate + width),
                "faces_": bootstrap_interval(estimate, faces, 0 * errors, freedom, over_faces_alone),
            }
            for name, (low, high) in intervals.items():
                frame[f"{name}low"], frame[f"{name}high"] = self._in_points(question, frame, low, high)
            frame["p"], frame["p_corrected"], frame["called"] = p, corrected, corrected <= ALPHA
            frames.append(frame)
        table = pd.concat(frames, ignore_index=True)
        return table[[name for name in COLUMNS if name in table]]

    def _cells(self, question: str) -> pd.DataFrame:
        """Tabulate both groups' values of a question, in rating points, with effect sizes over raters."""
        rows = []
        for place, name in enumerate(self.design.traits):
            values = [self._rater_values(question, place, group) for group in (0, 1)]
            centres = self._values(question, place)
            for column, region in enumerate(self.design.regions if question == "use" else [""]):
                first, second = (own[:, column] for own in values)
                g, low, high = hedges_g(float(first.mean() - second.mean()), first, second)
                value_1, value_2 = centres[0][column], centres[1][column]
                rows.append(
                    {
                        "question": question,
                        TRAIT: name,
                        REGION: region,
                        "value_1": value_1,
                        "value_2": value_2,
                    }
                    | {"difference": value_1 - value_2}
                    | {"hedges_g": g, "hedges_g_low": low, "hedges_g_high": high}
                    | {"n_1": len(first), "n_2": len(second)}
                )
        return pd.DataFrame(rows)

    def _errors(self, question: str) -> tuple[np.ndarray, np.ndarray]:
        """Return standard errors over raters and their degrees of freedom (Welch): (cell,) each."""
        found = []
        for place in range(len(self.design.traits)):
            first, second = (self._rater_values(question, place, group) for group in (0, 1))
            found += [welch(*columns) for columns in zip(first.T, second.T, strict=True)]
        errors, freedom = np.array(found).T
        return errors, freedom

    def _values(self, question: str, place: int) -> list[np.ndarray]:
        """Values of both groups in rating points: an array over regions, of one where there are none."""
        if question == "noise":
            return [np.exp(self.noise[group, place])[None] for group in (0, 1)]
        if question == "range":
            return [self.observed.ranges[group, 0, place] * self._spread(place)[None] for group in (0, 1)]
        scale = self.observed.ranges[:, 0, place].mean()
        return [scale * self.observed.profiles[group, 0, place] for group in (0, 1)]

    def _spread(self, place: int) -> np.ndarray:
        """Standard deviation over images of the shared prediction of unit range."""
        direction = self.observed.directions[0, place]
        square = (direction**2).sum()
        rated = np.abs(self.design.cues[place]).max(axis=1) > 0
        return np.asarray((self.design.cues[place][rated] @ direction).std() / max(square, 1e-300))

    def _rater_values(self, question: str, place: int, group: int) -> np.ndarray:
        """Values of a group's raters, in the unit of the estimates: (rater, region or one).

        By the delta method; for "use" a rater's utilisation minus the group's profile times the rater's
        range.
        """
        trait = self.design.ratings[place]
        members = np.flatnonzero((self.labels == group) & (trait.n_images > 0) & (self.weights > 0))
        weights = self.weights[members]
        if question == "noise":
            squares, counted = self.residuals[place]
            sums, counts = squares[members].sum(axis=1), counted[members].sum(axis=1)
            known = (sums > 0) & (counts > 0)
            logs = 0.5 * np.log(sums[known] / counts[known])
            own = weights[known]
            mean = np.average(logs, weights=own)
            return np.asarray(mean + own / own.mean() * (logs - mean))[:, None]
        values = rater_values(trait, self.design.cues[place], members, weights)
        ranges = values @ self.observed.directions[0, place]
        middle = _nonzero(self.observed.ranges[:, 0, place].mean())
        if question == "range":
            return np.asarray(ranges[:, None] / middle)
        profile = self.observed.profiles[group, 0, place]
        own = _nonzero(self.observed.ranges[group, 0, place])
        return np.asarray((values - ranges[:, None] * profile) / own + profile)

    def _in_points(
        self, question: str, frame: pd.DataFrame, low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Convert bounds to rating points: of log ratios at the geometric mean of both values."""
        if question == "use":
            scale = np.repeat(self.observed.ranges[:, 0].mean(axis=0), len(self.design.regions))
            return scale * low, scale * high
        middle = np.sqrt(np.maximum(frame["value_1"] * frame["value_2"], 0)).to_numpy()
        return middle * 2 * np.sinh(low / 2), middle * 2 * np.sinh(high / 2)

    def learning_variance(self, relearn: Relearn) -> np.ndarray:
        """Compute the variance of the differences of use that comes from learning the cues from these faces.

        Parameters
        ----------
        relearn : callable
            Fits the cues again without some images.

        Returns
        -------
        ndarray of shape (cell,)
            The variance over faces with cues learnt again, by the delete-a-group jackknife over 20 random
            sets of identities (Kott 2001), minus that with the original cues; at least 0.
        """
        cues = relearn(self._kept()).transpose("set", TRAIT, IMAGE, REGION)
        cues = cues.sel({TRAIT: list(self.design.traits), REGION: list(self.design.regions)})
        again = self.jackknife(cues.values)
        return np.asarray(np.maximum(again - self._over_faces.var(axis=0, ddof=1), 0))

    def _kept(self) -> np.ndarray:
        """Draw sets of identities to leave out in turn: bool (set, image)."""
        number = self.design.identities.max() + 1
        sets = min(SETS_LEFT_OUT, number)
        order = np.random.default_rng([self.seed, 3]).permutation(number) % sets
        return np.asarray(order[self.design.identities] != np.arange(sets)[:, None])

    def jackknife(self, cues: np.ndarray) -> np.ndarray:
        """Compute the variance over faces of the differences of use by a delete-a-group jackknife.

        Parameters
        ----------
        cues : ndarray of shape (set, trait, image, region)
            Cues learnt without each set of identities.

        Returns
        -------
        ndarray of shape (cell,)
            Variance.
        """
        kept = self._kept()
        found = []
        for images, learnt in zip(kept, cues, strict=True):
            drawn = Draws(np.ones((1, len(self.labels))), images[None].astype(float))
            one = self._utilisation(drawn, standardise(learnt, self.design.ratings)[0])
            found.append(Profiles.of(one).differences.ravel())
        return np.asarray((len(kept) - 1) * np.var(found, axis=0))


def balance(labels: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Compute weights of raters that give both groups the same composition of strata.

    Parameters
    ----------
    labels : ndarray of int, shape (rater,)
        Groups, 0 and 1.
    strata : ndarray of int, shape (rater,)
        Strata.

    Returns
    -------
    ndarray of shape (rater,)
        The size of the stratum by the number of the group's raters in it; 0 in strata without raters of the
        other group.

    Examples
    --------
    >>> balance(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1])).tolist()
    [1.5, 1.5, 2.0, 3.0, 2.0]
    """
    weights = np.zeros(len(labels))
    for stratum in np.unique(strata):
        here = strata == stratum
        counts = [np.sum(here & (labels == group)) for group in (0, 1)]
        if min(counts) > 0:
            for group in (0, 1):
                weights[here & (labels == group)] = sum(counts) / counts[group]
    return weights


def squared_residuals(
    trait: TraitRatings, cues: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute squared residuals of judgements from the rater's regression and the group's consensus.

    What a rater's regression on the cues leaves is compared with the mean of what it leaves in the other
    raters of the group: what all raters share but cues miss is not noise.

    Parameters
    ----------
    trait : TraitRatings
        Ratings.
    cues : ndarray of shape (image, region)
        Standardised cues.
    labels : ndarray of int, shape (rater,)
        Groups.

    Returns
    -------
    squares : ndarray of shape (rater, image)
        Squared departures, whose expectation over raters of one group is the noise's variance whatever the
        number of raters; 0 where there is none.
    counted : ndarray of shape (rater, image)
        Which judgements count: of images that another rater of the group rated, too, by raters with enough
        images for a regression, less the degrees of freedom of it.
    """
    fits = regress_raters(trait, cues)
    known = np.isfinite(fits.noise)
    seen, ratings = (
        np.asarray(m.todense() if hasattr(m, "todense") else m) for m in (trait.seen, trait.ratings)
    )
    seen = seen * known[:, None]
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    predicted = np.nan_to_num(fits.utilisation) @ cues.T
    residuals = seen * (ratings - predicted)
    residuals = seen * (residuals - residuals.sum(axis=1, keepdims=True) / count)
    varied = (np.abs(cues).max(axis=0, initial=0) > 0).sum()
    squares, counted = np.zeros_like(residuals), np.zeros_like(residuals)
    for group in np.unique(labels):
        own = labels == group
        number = seen[own].sum(axis=0)
        several = number >= 2
        mean = residuals[own].sum(axis=0) / np.maximum(number, 1)
        factor = np.where(several, number / np.maximum(number - 1, 1), 0)
        squares[own] = seen[own] * (residuals[own] - mean) ** 2 * factor
        counted[own] = seen[own] * several
    left: np.ndarray = np.maximum(1 - (varied + 1) / count, 1e-12)
    return squares, counted * left


def crossed_variance(both: np.ndarray, faces: np.ndarray, errors: np.ndarray) -> np.ndarray:
    r"""Compute the variance of estimates over raters and faces.

    Parameters
    ----------
    both : ndarray of shape (draw, cell)
        Estimates in draws of raters and identities together.
    faces : ndarray of shape (draw, cell)
        Estimates in draws of identities, for the raters as they are.
    errors : ndarray of shape (cell,)
        Standard errors over raters, for the faces as they are.

    Returns
    -------
    ndarray of shape (cell,)
        With variances of raters, faces and their interaction :math:`V_r + V_f + V_{rf}`: draws of both have
        :math:`V_r + V_f + 3 V_{rf}` (Owen 2007), raters alone :math:`V_r + V_{rf}`, faces alone
        :math:`V_f + V_{rf}`. Twice the sum of these less that of both; at least the larger of these.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> both, faces = 2.0 * rng.normal(size=(9999, 1)), 1.0 * rng.normal(size=(9999, 1))
    >>> crossed_variance(both, faces, np.array([1.5])).round(1).tolist()
    [2.5]
    """
    over_raters, over_faces = errors**2, faces.var(axis=0, ddof=1)
    total = 2 * (over_raters + over_faces) - both.var(axis=0, ddof=1)
    return np.asarray(np.maximum(total, np.maximum(over_raters, over_faces)))


def bootstrap_p(
    estimate: np.ndarray,
    drawn: np.ndarray,
    errors: np.ndarray,
    freedom: np.ndarray,
    spread: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute p values of estimates from bootstrap draws.

    Parameters
    ----------
    estimate : ndarray of shape (cell,)
        Estimates, 0 under no difference.
    drawn : ndarray of shape (draw, cell)
        The same in each draw.
    errors, freedom : ndarray of shape (cell,)
        Standard errors over raters alone, and their degrees of freedom.
    spread : ndarray of shape (cell,), optional
        Standard errors of the estimates; the standard deviations of the draws if None.

    Returns
    -------
    p, p_corrected : ndarray of shape (cell,)
        Each by itself, and family-wise by the maximum over cells of the deviation of a draw from the
        estimate, divided by its standard deviation over draws. 1 for a cell that does not vary.

    Notes
    -----
    Draws of few raters spread like a normal variable where the statistic spreads like Student's t. The
    statistic is therefore brought from the t distribution to the normal one; the degrees of
    freedom are Satterthwaite's, that part of the variance that is not of raters counting as known.
    """
    deviation = _not_zero(drawn.std(axis=0, ddof=1))
    spread = deviation if spread is None else _not_zero(np.where(np.isfinite(deviation), spread, 0))
    deviations = np.abs(drawn - estimate) / deviation
    t = np.abs(estimate) / spread
    # In logarithms, since tails of large statistics vanish.
    tails = stats.t.logsf(t, _total_freedom(errors, freedom, spread))
    statistic = np.where(np.isfinite(tails), -special.ndtri_exp(tails), t) * (1 - 1e-10)
    p = (1 + (deviations >= statistic).sum(axis=0)) / (1 + len(drawn))
    largest = deviations.max(axis=1, initial=0)
    corrected = (1 + (largest[:, None] >= statistic).sum(axis=0)) / (1 + len(drawn))
    return p, corrected


def bootstrap_interval(
    estimate: np.ndarray,
    drawn: np.ndarray,
    errors: np.ndarray,
    freedom: np.ndarray,
    spread: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute 95 % intervals that are symmetric about the estimates.

    Parameters
    ----------
    estimate, drawn, errors, freedom, spread
        As for :func:`bootstrap_p`.

    Returns
    -------
    low, high : ndarray of shape (cell,)
        The estimate and the 95 % quantile of the draws' absolute deviations from it, brought from their
        standard deviation to `spread`, and made wider as Student's t is wider than the normal distribution.
    """
    deviation = drawn.std(axis=0, ddof=1)
    spread = deviation if spread is None else spread
    wider = stats.t.ppf(1 - ALPHA / 2, _total_freedom(errors, freedom, spread)) / stats.norm.ppf(
        1 - ALPHA / 2
    )
    width = wider * np.quantile(np.abs(drawn - estimate), 1 - ALPHA, axis=0) * spread / _not_zero(deviation)
    return estimate - width, estimate + width


def _total_freedom(errors: np.ndarray, freedom: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of a total standard error that includes the one over raters."""
    share = errors / _not_zero(spread)
    return np.asarray(np.clip(freedom / np.maximum(share**4, 1e-9), freedom, 1e9))


def _nonzero(value: float) -> float:
    """Return a divisor: infinite in place of zero."""
    return float(value) if abs(value) > 1e-12 else np.inf


def _not_zero(values: np.ndarray) -> np.ndarray:
    """Return divisors: infinite in place of zero."""
    return np.asarray(np.where(values > 1e-12, values, np.inf))

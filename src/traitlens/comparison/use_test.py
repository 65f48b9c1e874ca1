"""Permutation and bootstrap tests of how two groups use the regions of a face."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from traitlens.columns import IMAGE, REGION, TRAIT
from traitlens.comparison.answers import ALPHA
from traitlens.comparison.bootstrap import (
    bootstrap_interval,
    bootstrap_p,
    crossed_variance,
    detectable_difference,
    nonzero,
    squared_residuals,
)
from traitlens.comparison.effect_sizes import hedges_g, welch
from traitlens.comparison.lens_design import DRAWS_AT_ONCE, LensDesign, standardise
from traitlens.comparison.shares import correlations, explained_shares, rated
from traitlens.comparison.utilisation import (
    Progress,
    group_utilisation,
    rater_values,
)

QUESTIONS = ("range", "noise", "use")
INTERVALS = ("low", "high", "raters_low", "raters_high", "faces_low", "faces_high")
COLUMNS = (
    "group_1", "group_2", "question", TRAIT, REGION, "value_1", "value_2", "difference", *INTERVALS, "p",
    "p_corrected", "called", "detectable", "hedges_g", "hedges_g_low", "hedges_g_high", "n_1", "n_2",
)  # fmt: skip
"""Columns of a table of tests."""
Relearn = Callable[[np.ndarray], xr.DataArray]
"""Function from training images, bool (set, image) in the order of the cues, to cues fitted to them, (set,
trait, image, region)."""

ADDS = 0.01
"""Minimum increase of the explained variance of all raters' means for a region to be tested."""

DRAWS_OF_FACES = 500
"""Number of draws of identities only, for a variance and intervals."""

SETS_LEFT_OUT = 20
"""Number of sets of identities that are left out in turn for refits of the cues."""


@dataclass(frozen=True)
class Draws:
    """Draws of raters and of images.

    Parameters
    ----------
    raters : ndarray of shape (draw, rater)
        Number of times that each rater was drawn.
    images : ndarray of shape (draw, image)
        Number of times that each image was drawn, with all images of its identity.
    """

    raters: np.ndarray
    images: np.ndarray

    @property
    def of_faces(self) -> "Draws":
        """Return the same draws of images, with the original raters."""
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
        Number of draws.
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
    """Tests of range, noise and use for a pair of groups.

    Parameters
    ----------
    design : LensDesign
        Ratings of two groups.
    strata : ndarray of int, shape (rater,)
        Strata of raters with the same task.
    draws : int, default 2000
        Bootstrap draws.
    seed : int, default 0
        Seed of the random number generator.
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
        """Variance of the differences of use due to fitting the cues, see `learning_variance`."""
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
            Differences of the profiles, and family-wise p values; missing for regions that are not tested.
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
        """Return regions that add at least 1 % to the explained variance of the means: (trait, region)."""
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
        """Test all questions."""
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
            cells = [values[..., asked] for values in (estimate, drawn, errors, freedom, spread)]
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
            sizes = np.full(len(estimate), np.nan)
            sizes[asked] = detectable_difference(*cells)
            frame["detectable"] = self._in_points(question, frame, sizes, sizes)[0]
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
        """Return the values of both groups in rating points: arrays over regions, or of length one."""
        if question == "noise":
            return [np.exp(self.noise[group, place])[None] for group in (0, 1)]
        if question == "range":
            return [self.observed.ranges[group, 0, place] * self._spread(place)[None] for group in (0, 1)]
        scale = self.observed.ranges[:, 0, place].mean()
        return [scale * self.observed.profiles[group, 0, place] for group in (0, 1)]

    def _spread(self, place: int) -> np.ndarray:
        """Return the standard deviation over images of the shared prediction of unit range."""
        direction = self.observed.directions[0, place]
        square = (direction**2).sum()
        rated = np.abs(self.design.cues[place]).max(axis=1) > 0
        return np.asarray((self.design.cues[place][rated] @ direction).std() / max(square, 1e-300))

    def _rater_values(self, question: str, place: int, group: int) -> np.ndarray:
        """Return the values of a group's raters, in the unit of the estimates: (rater, region or one).

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
        middle = nonzero(self.observed.ranges[:, 0, place].mean())
        if question == "range":
            return np.asarray(ranges[:, None] / middle)
        profile = self.observed.profiles[group, 0, place]
        own = nonzero(self.observed.ranges[group, 0, place])
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
        """Compute the variance of the differences of use due to fitting the cues to these faces.

        Parameters
        ----------
        relearn : callable
            Fits the cues again without some images.

        Returns
        -------
        ndarray of shape (cell,)
            The variance over faces with refitted cues, by the delete-a-group jackknife over 20 random sets
            of identities (Kott 2001), minus that with the original cues; at least 0.
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
            Cues fitted without each set of identities.

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

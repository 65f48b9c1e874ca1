"""Bootstrap test of how two groups use the scale and the regions of the face: range, noise and use."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from traitlens.columns import IMAGE, REGION, TRAIT
from traitlens.comparison.answers import ALPHA
from traitlens.comparison.bootstrap import (
    Draws,
    bootstrap_interval,
    bootstrap_p,
    crossed_variance,
    detectable_difference,
    draw_samples,
    nonzero,
    squared_residuals,
)
from traitlens.comparison.effect_sizes import hedges_g, welch
from traitlens.comparison.lens_design import LensDesign, standardise
from traitlens.comparison.profiles import Profiles
from traitlens.comparison.shares import cue_covariances, explained_shares, rated_images
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
"""Columns of the table of `compare_use`."""
Relearn = Callable[[np.ndarray], xr.DataArray]
"""Function that fits cues to several sets of training images: from bool of shape (set, image), images in the
order of the cues, to cues with the dimensions set, trait, image and region."""

ADDS = 0.01
"""Minimum share of the explained variance of the mean ratings that a region must add to be tested."""

DRAWS_OF_FACES = 500
"""Maximum number of draws in which identities are drawn but not raters."""

SETS_LEFT_OUT = 20
"""Number of sets of identities; the cues are refitted without each set in turn."""


class UseTest:
    """Tests of range, noise and use for a pair of groups.

    Parameters
    ----------
    design : LensDesign
        Ratings of two groups.
    strata : ndarray of int, shape (rater,)
        Stratum of each rater; raters of a stratum have the same task.
    draws : int, default 2000
        Number of bootstrap draws.
    seed : int, default 0
        Seed of the random number generator.
    progress : callable, optional
        Called with the number of draws since the last call.
    weights : ndarray of shape (rater,), optional
        Weight of each rater, from :func:`traitlens.comparison.bootstrap.balance`; 1 if None.
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
        """Return the utilisation of both groups, an array of shape (group, draw, trait, region)."""
        weighted = drawn.raters * self.weights
        raters = np.stack([weighted * (self.labels == group) for group in (0, 1)])
        return group_utilisation(self.design, raters, drawn.images, cues)

    def _noise(self, drawn: Draws) -> np.ndarray:
        """Return the mean log residual standard deviation of raters, of shape (group, draw, trait)."""
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
        """Return bootstrap draws of the differences of each question, with drawn or original raters.

        The arrays have the shape (draw, trait), or (draw, trait * region) for "use".
        """
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
        """Return the observed differences of each question, one per trait or trait and region."""
        return {
            "range": self.observed.log_ratios[0],
            "noise": self.noise[0] - self.noise[1],
            "use": self.observed.differences[0].ravel(),
        }

    def profile_differences(self) -> tuple[np.ndarray, np.ndarray]:
        """Test only the differences of use.

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
        """Whether each region adds at least 1 % to the explained variance of the mean ratings of a trait."""
        whole = Draws(np.ones((1, len(self.labels))), np.ones((1, len(self.design.images))))
        pooled = self._utilisation(whole).mean(axis=0)[0]
        adds = [
            explained_shares(weights[None], cue_covariances(cues, whole.images * rated_images(cues)))[1, 0]
            for weights, cues in zip(pooled, self.design.cues, strict=True)
        ]
        return np.nan_to_num(np.array(adds)) >= ADDS

    @property
    def _draws_of_faces(self) -> int:
        return min(self.draws, DRAWS_OF_FACES)

    @cached_property
    def _over_faces(self) -> np.ndarray:
        """Differences of the profiles when only identities are drawn, of shape (draw, trait * region)."""
        return self._use_samples(self._draws_of_faces, raters=False)

    def _use_samples(self, draws: int, raters: bool = True) -> np.ndarray:
        """Return bootstrap draws of the differences of the profiles, with drawn or original raters."""
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
        """Test all questions, and return the table of `compare_use` without the names of the groups."""
        estimates = self._estimates()
        both = self._samples(self.draws)
        over_faces = self._samples(self._draws_of_faces, raters=False)
        frames = []
        for question in QUESTIONS:
            frame = self._describe_groups(question)
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

    def _describe_groups(self, question: str) -> pd.DataFrame:
        """Tabulate the values of both groups in rating points, with effect sizes over raters."""
        rows = []
        for place, name in enumerate(self.design.traits):
            values = [self._rater_values(question, place, group) for group in (0, 1)]
            centres = self._group_values(question, place)
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
        """Return Welch's standard errors over raters and their degrees of freedom for each difference."""
        found = []
        for place in range(len(self.design.traits)):
            first, second = (self._rater_values(question, place, group) for group in (0, 1))
            found += [welch(*columns) for columns in zip(first.T, second.T, strict=True)]
        errors, freedom = np.array(found).T
        return errors, freedom

    def _group_values(self, question: str, place: int) -> list[np.ndarray]:
        """Return the values of both groups in rating points, for "use" one per region."""
        if question == "noise":
            return [np.exp(self.noise[group, place])[None] for group in (0, 1)]
        if question == "range":
            unit = self._spread_of_predictions(place)[None]
            return [self.observed.ranges[group, 0, place] * unit for group in (0, 1)]
        scale = self.observed.ranges[:, 0, place].mean()
        return [scale * self.observed.profiles[group, 0, place] for group in (0, 1)]

    def _spread_of_predictions(self, place: int) -> np.ndarray:
        """Return the standard deviation over images of ratings predicted for a range of 1."""
        direction = self.observed.directions[0, place]
        square = (direction**2).sum()
        rated = np.abs(self.design.cues[place]).max(axis=1) > 0
        return np.asarray((self.design.cues[place][rated] @ direction).std() / max(square, 1e-300))

    def _rater_values(self, question: str, place: int, group: int) -> np.ndarray:
        """Return one value for each rater of a group; their mean is the group's estimate (delta method).

        The array has the shape (rater, 1), or for "use" (rater, region).
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
        """Convert bounds to rating points; log ratios are multiplied by the geometric mean of both groups."""
        if question == "use":
            scale = np.repeat(self.observed.ranges[:, 0].mean(axis=0), len(self.design.regions))
            return scale * low, scale * high
        middle = np.sqrt(np.maximum(frame["value_1"] * frame["value_2"], 0)).to_numpy()
        return middle * 2 * np.sinh(low / 2), middle * 2 * np.sinh(high / 2)

    def learning_variance(self, relearn: Relearn) -> np.ndarray:
        """Compute the variance of the differences of use that is due to fitting the cues to these faces.

        Parameters
        ----------
        relearn : callable
            Function that refits the cues without some images.

        Returns
        -------
        ndarray of shape (trait * region,)
            Variance over faces with refitted cues, from the delete-a-group jackknife over 20 random sets of
            identities (Kott 2001), minus the variance with the original cues; at least 0.
        """
        cues = relearn(self._jackknife_sets()).transpose("set", TRAIT, IMAGE, REGION)
        cues = cues.sel({TRAIT: list(self.design.traits), REGION: list(self.design.regions)})
        again = self.jackknife(cues.values)
        return np.asarray(np.maximum(again - self._over_faces.var(axis=0, ddof=1), 0))

    def _jackknife_sets(self) -> np.ndarray:
        """Return which images remain when each set of identities is left out: bool of shape (set, image)."""
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
        ndarray of shape (trait * region,)
            Variance.
        """
        kept = self._jackknife_sets()
        found = []
        for images, learnt in zip(kept, cues, strict=True):
            drawn = Draws(np.ones((1, len(self.labels))), images[None].astype(float))
            one = self._utilisation(drawn, standardise(learnt, self.design.ratings)[0])
            found.append(Profiles.of(one).differences.ravel())
        return np.asarray((len(kept) - 1) * np.var(found, axis=0))

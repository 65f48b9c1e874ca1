"""Creation of altered faces: choice of base faces, alteration, predicted changes, and checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from traitlens import __version__
from traitlens.artifacts import GROUP_CUES, PREPARED, REGIONAL_MODEL, REGIONAL_PREDICTIONS
from traitlens.columns import CUE, FOLD, GROUP, IDENTITY, IMAGE, MAY_PUBLISH, PREDICTED, REGION, TRAIT
from traitlens.digests import digest, digest_file
from traitlens.experiment.altered_region import LEAST_AREA, AlteredPicture, RegionEditor
from traitlens.experiment.cue_reader import CueReader
from traitlens.experiment.effects import BASE, STEP
from traitlens.experiment.picture_files import MARK, read_provenance, write_picture
from traitlens.experiment.region_change import FEWEST_FACES, AlignedFaces, align_faces
from traitlens.experiment.strength_search import OTHER_CUES, TOLERANCE, search_strength
from traitlens.faces.cropping import Crop, prepare_image
from traitlens.faces.frames import Frame, make_frame
from traitlens.faces.images import BACKGROUND, load_image
from traitlens.naming import file_names
from traitlens.problems import Problem, TraitlensError
from traitlens.progress import SilentWatcher, Watcher
from traitlens.study.reading import Study

ASKED, STRENGTH, OTHER, OTHER_CHANGE = "asked", "strength", "other_region", "other_change"
WITHOUT_LANDMARKS = ("background", "")
"""Regions that cannot be altered, because they contain no landmarks."""

MOST_ALIGNED, MOST_MEASURED = 600, 40
"""Maximum number of faces for averages, and for distances from the average face."""

WEAKEST = 1 / 3
"""Minimum standard deviation of the cue of a region that is chosen, relative to the trait's largest one."""

MOST_CLIPPED = 0.05
"""Maximum share of altered pixels whose colour is clipped."""


@dataclass(frozen=True)
class StimulusRequest:
    """Request for altered faces.

    Parameters
    ----------
    traits : tuple of str
        Traits whose cues are changed; all traits if empty.
    regions : tuple of str
        Regions to alter; if empty, the regions whose cue varies at least a third as much as that of the
        trait's strongest region.
    faces : tuple of str
        Images of the base faces; if empty, chosen at random among the faces that may be shown.
    number : int, default 12
        Number of base faces to choose.
    steps : tuple of float, default (-0.5, 0.5)
        Changes of the region's cue, in standard deviations.
    seed : int, default 0
        Seed of the random choice of faces.
    """

    traits: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    faces: tuple[str, ...] = ()
    number: int = 12
    steps: tuple[float, ...] = (-0.5, 0.5)
    seed: int = 0


@dataclass(frozen=True)
class StimulusTables:
    """Tables of altered pictures, predicted changes, and pictures left out.

    Parameters
    ----------
    pictures : DataFrame
        A row per picture: image, base, trait, region, asked (requested step), step (measured change of the
        cue in standard deviations), strength, other_region and other_change (the other region whose cue
        changed most), least_area, clipped, distance (from the average face, relative to the study's farthest
        face).
    predicted : DataFrame
        Change of each group's predicted rating: image, trait, group, predicted.
    left_out : DataFrame
        Pictures that failed the checks: base, trait, region, asked, reason.
    """

    pictures: pd.DataFrame
    predicted: pd.DataFrame
    left_out: pd.DataFrame


@dataclass(frozen=True)
class _BaseFace:
    """A base face with its photograph, prepared image, mesh (in the photograph), masks and features."""

    image: str
    photograph: np.ndarray
    pixels: np.ndarray
    points: np.ndarray
    frame: Frame
    fold: int
    sha256: str
    masks: xr.DataArray
    features: dict = field(repr=False)


def make_stimuli(
    study: Study,
    results: Path,
    reader: CueReader,
    folder: Path,
    request: StimulusRequest | None = None,
    watcher: Watcher | None = None,
) -> StimulusTables:
    """Create altered versions of a study's faces, each in one region only, and check every picture.

    Parameters
    ----------
    study : Study
        The study; only faces whose `may_publish` is true are altered.
    results : Path
        Results folder of the study.
    reader : CueReader
        Regional readouts of the study.
    folder : Path
        Folder for the pictures; existing pictures with the same settings are not created again.
    request : StimulusRequest, optional
        Faces, regions, traits and steps; the defaults if not given.
    watcher : Watcher, optional
        Shows the progress.

    Raises
    ------
    TraitlensError
        If the request has faults, with all of them, or if no picture passes the checks.
    """
    request, watcher = request or StimulusRequest(), watcher or SilentWatcher()
    maker = _StimulusMaker(study, Path(results), reader, Path(folder), request)
    bases, regions_of = maker.choose_faces_and_regions()
    total = len(bases) * sum(map(len, regions_of.values())) * len(request.steps)
    pictures, predicted, left_out = [], [], []
    with watcher.stage("Altering faces", total) as advance:
        for image in bases:
            base = maker.read_base_face(image)
            for trait, regions in regions_of.items():
                for region in regions:
                    for step in request.steps:
                        made = maker.make_picture(base, trait, region, step)
                        if isinstance(made, str):
                            left_out.append((image, trait, region, step, made))
                        else:
                            pictures.append(made[0])
                            predicted += made[1]
                        advance(1)
    if not pictures:
        reasons = "; ".join(sorted({row[-1] for row in left_out}))
        raise TraitlensError(
            Problem(f"no altered picture passes the checks ({reasons})", "choose other regions")
        )
    return StimulusTables(
        pd.DataFrame(pictures),
        pd.DataFrame(predicted, columns=[IMAGE, TRAIT, GROUP, PREDICTED]),
        pd.DataFrame(left_out, columns=[BASE, TRAIT, REGION, ASKED, "reason"]),
    )


class _StimulusMaker:
    """Creates and checks the altered pictures of one request."""

    def __init__(
        self, study: Study, results: Path, reader: CueReader, folder: Path, request: StimulusRequest
    ):
        needed = (PREPARED, GROUP_CUES, REGIONAL_PREDICTIONS)
        if missing := [one.path for one in needed if not one.of(results).exists()]:
            problem = Problem(
                f"contains no {', '.join(missing)}", f"run first: traitlens run {study.folder}", str(results)
            )
            raise TraitlensError(problem)
        self.study, self.reader, self.folder, self.request = study, reader, folder, request
        self.prepared = PREPARED.read(results)
        self.images = [str(name) for name in self.prepared[IMAGE].to_numpy()]
        self.crop = Crop.from_json(self.prepared.attrs)
        cues = GROUP_CUES.read(results)
        self.cues = cues.groupby([TRAIT, REGION, IMAGE], observed=True)[CUE].mean()
        self.spread = self.cues.groupby([TRAIT, REGION], observed=True).std()
        folds = REGIONAL_PREDICTIONS.read(results).drop_duplicates(IMAGE)
        self.fold_of = folds.set_index(IMAGE)[FOLD]
        self.model = digest_file(REGIONAL_MODEL.of(results) / "manifest.json")
        self._changes: dict[tuple[str, str, int], Any] = {}
        self._farthest: dict[str, float] = {}

    def choose_faces_and_regions(self) -> tuple[list[str], dict[str, list[str]]]:
        """Check the request; return the names of the base faces, and the regions to alter for each trait."""
        request, problems = self.request, []
        known = [name for name in self.reader.faces.regions if name not in WITHOUT_LANDMARKS]
        traits = list(request.traits) or list(self.study.traits)
        for trait in traits:
            if trait not in self.study.traits:
                advice = f"choose among {', '.join(self.study.traits)}"
                problems.append(Problem(f"the study has no trait {trait!r}", advice))
        for region in request.regions:
            if region in WITHOUT_LANDMARKS:
                advice = f"choose among {', '.join(known)}"
                problems.append(
                    Problem(f"the region {region!r} has no landmarks that could be moved", advice)
                )
            elif region not in known:
                problems.append(Problem(f"there is no region {region!r}", f"choose among {', '.join(known)}"))
        if any(step == 0 or not np.isfinite(step) for step in request.steps) or not request.steps:
            problems.append(Problem("steps must be numbers other than 0", "write steps such as -1,1"))
        allowed = self.study.images.set_index(IMAGE)[MAY_PUBLISH]
        allowed = allowed[allowed.map(bool)]
        marked = {str(image) for image in allowed.index}
        places = {image: place for place, image in enumerate(self.images)}
        landmarks = np.isfinite(self.prepared["points"].to_numpy()).all(axis=(1, 2))
        usable = [image for image in self.images if landmarks[places[image]] and image in self.fold_of.index]
        for image in request.faces:
            if image not in places:
                problems.append(Problem("is not an image of the study", "name it as in images.csv", image))
            elif image not in marked:
                what = "may not be altered or shown: its may_publish is not true"
                problems.append(
                    Problem(
                        what, "ask for permission and enter it in images.csv, or choose another face", image
                    )
                )
            elif image not in usable:
                problems.append(
                    Problem("has no landmarks, so no region can be found", "see traitlens faces", image)
                )
        free = [image for image in usable if image in marked]
        if not request.faces and not free:
            what = "no face may be shown, so none can be altered"
            problems.append(
                Problem(what, "set may_publish for faces that you have permission to show", "images.csv")
            )
        if len(usable) < 2 * FEWEST_FACES:
            problems.append(
                Problem(f"only {len(usable)} faces have landmarks", f"at least {2 * FEWEST_FACES} are needed")
            )
        if problems:
            raise TraitlensError(problems)
        strong = {trait: self._find_strong_regions(trait, known) for trait in traits}
        return list(request.faces) or self._draw_base_faces(free), {
            trait: list(request.regions) or strong[trait] for trait in traits
        }

    def _find_strong_regions(self, trait: str, known: Sequence[str]) -> list[str]:
        """Return the regions whose cue varies enough for a trait that it can be changed visibly."""
        spread = self.spread[trait].reindex(known)
        return [name for name in known if spread[name] >= WEAKEST * spread.max()]

    def _draw_base_faces(self, free: Sequence[str]) -> list[str]:
        """Choose base faces at random, at most one of each identity."""
        identities = self.study.images.set_index(IMAGE)[IDENTITY]
        rng = np.random.default_rng([self.request.seed, 11])
        drawn: dict[str, str] = {}
        for place in rng.permutation(len(free)):
            drawn.setdefault(str(identities[free[place]]), free[place])
        return sorted(list(drawn.values())[: self.request.number])

    def read_base_face(self, image: str) -> _BaseFace:
        """Read the photograph of a base face, and compute its masks and features."""
        path, place = self.study.path(image), self.images.index(image)
        photograph = load_image(path, self.crop.background or BACKGROUND)
        matrix = self.prepared["to_prepared"][place].to_numpy()
        height, width = photograph.shape[:2]
        frame = make_frame(matrix, self.prepared.sizes["y"], self.crop.name, (width, height))
        mesh = self.prepared["points"][place].to_numpy()
        pixels = self.prepared["pixels"][place].to_numpy()
        masks = self.reader.faces.masks(mesh)
        return _BaseFace(
            image, photograph, pixels, frame.map_back(mesh), frame, int(self.fold_of[image]),
            digest_file(path), masks, self.reader.features(pixels, masks),
        )  # fmt: skip

    def make_picture(
        self, base: _BaseFace, trait: str, region: str, step: float
    ) -> tuple[dict, list[tuple]] | str:
        """Create one altered picture; return its row and predictions, or the reason why it is left out."""
        stem, *rest = file_names([base.image.rsplit(".", 1)[0], trait, region])
        size = f"{'plus' if step > 0 else 'minus'}{abs(step):g}".replace(".", "-")
        name = "__".join([stem, *rest, size, MARK]) + ".png"
        path = self.folder / "images" / name
        key = digest(self.model, base.sha256, trait, region, step, __version__, CHECK_VERSION)
        if path.exists() and (kept := _read_existing(path, key)) is not None:
            return kept
        before = self.reader.cues(base.features, base.fold, trait)
        unit = float(self.spread[trait, region])
        if not unit > 0:
            return "the region's cue does not vary"
        try:
            change = self._change(trait, region, base.fold)
            editor = RegionEditor(
                base.photograph, base.points, region, change, dict(self.reader.faces.polygons)
            )
        except ValueError as error:
            return str(error)

        def moved(strength: float) -> float:
            """Return the change of the region's cue at a strength, in standard deviations."""
            picture = editor.alter(strength)
            pixels, masks = self._prepare(base, picture)
            after = self.reader.cues(self.reader.features(pixels, masks, region), base.fold, trait)
            return float((after - before.sel({REGION: [region]})).mean()) / unit

        found = search_strength(moved, step)
        picture = editor.alter(found.strength)
        pixels, masks = self._prepare(base, picture)
        # If the mask of the jaw followed the moved mouth, the shape of the mouth would show in the cue of the
        # jaw. So all other regions are read, in both pictures, in the overlap of the masks before and after.
        common = masks.where(masks < base.masks, base.masks)
        original = self.reader.features(base.pixels, common) | {
            space: values for space, values in base.features.items() if space.region == region
        }
        common.loc[region] = masks.sel({REGION: region})
        features = self.reader.features(pixels, common)
        change_of_cues = self.reader.cues(features, base.fold, trait) - self.reader.cues(
            original, base.fold, trait
        )
        means = change_of_cues.mean(GROUP)
        others = {
            name: float(value) / max(float(self.spread[trait, name]), 1e-12)
            for name, value in zip(map(str, means[REGION].values), means.values, strict=True)
            if name not in (region, "")
        }
        other = max(others, key=lambda name: abs(others[name]))
        distance = self._distance_from_average(features, region) / self._largest_distance(region)
        row = {
            IMAGE: name, BASE: base.image, TRAIT: trait, REGION: region, ASKED: step,
            STEP: round(found.change, 4), STRENGTH: round(found.strength, 4), OTHER: other,
            OTHER_CHANGE: round(others[other], 4), "least_area": round(picture.least_area, 3),
            "clipped": round(picture.clipped, 4), "distance": round(distance, 3),
        }  # fmt: skip
        if reason := _reason_to_leave_out(row):
            return reason
        changed = (picture.pixels != base.photograph).any(axis=2)
        assert not (changed & ~picture.mask).any()
        totals = change_of_cues.sum(REGION)
        predicted = [
            (name, trait, str(group), round(float(total), 4))
            for group, total in zip(totals[GROUP].values, totals.values, strict=True)
        ]
        provenance = {
            "key": key, "made_with": f"traitlens {__version__}", "base_sha256": base.sha256,
            "model_sha256": self.model, **row, "predicted": [list(one) for one in predicted],
        }  # fmt: skip
        write_picture(path, picture.pixels, provenance)
        return row, predicted

    def _prepare(self, base: _BaseFace, picture: AlteredPicture) -> tuple[np.ndarray, xr.DataArray]:
        """Return the prepared image of an altered picture, in the frame of its base face, and its masks."""
        points = base.points if self.crop.name != "full" else None
        pixels = prepare_image(picture.pixels, base.frame.size, self.crop, points).pixels
        return pixels, self.reader.faces.masks(base.frame.map_points(picture.points))

    def _change(self, trait: str, region: str, fold: int) -> Any:
        """Compute how a region changes with its cue, from the faces of all other folds."""
        key = trait, region, fold
        if key not in self._changes:
            cues = self.cues[trait, region]
            z = (cues - cues.mean()) / cues.std()
            self._changes[key] = self._aligned.change(
                {name: z[name] for name in z.index if self.fold_of[name] != fold}
            )
        return self._changes[key]

    @cached_property
    def _aligned(self) -> AlignedFaces:
        """A random sample of the study's faces, aligned with the template."""
        places = self._sample_faces(MOST_ALIGNED)
        return align_faces(
            tuple(self.images[place] for place in places),
            self.prepared["pixels"][places].to_numpy(),
            self.prepared["points"][places].to_numpy(),
        )

    def _sample_faces(self, most: int) -> list[int]:
        """Return the indices of a random sample of faces with landmarks."""
        landmarks = np.isfinite(self.prepared["points"].to_numpy()).all(axis=(1, 2))
        rng = np.random.default_rng([self.request.seed, 12])
        return sorted(rng.permutation(np.flatnonzero(landmarks))[:most].tolist())

    def _largest_distance(self, region: str) -> float:
        """Return the largest distance of a sampled face of the study from the average face in a region."""
        if region not in self._farthest:
            norms = []
            for place in self._sample_faces(MOST_MEASURED):
                masks = self.reader.faces.masks(self.prepared["points"][place].to_numpy())
                pixels = self.prepared["pixels"][place].to_numpy()
                norms.append(self._distance_from_average(self.reader.features(pixels, masks, region), region))
            self._farthest[region] = max(norms)
        return self._farthest[region]

    def _distance_from_average(self, features: Mapping, region: str) -> float:
        """Return the distance from the average face in a region's features."""
        return float(
            np.sqrt(sum(np.sum(np.square(v)) for space, v in features.items() if space.region == region))
        )


CHECK_VERSION = 1
"""Version of the method; pictures made by another version are generated again."""


def _read_existing(path: Path, key: str) -> tuple[dict, list[tuple]] | None:
    """Read row and predictions of a picture made earlier with the same settings; None if there is none."""
    try:
        provenance = read_provenance(path)
    except TraitlensError:
        return None
    if provenance.get("key") != key:
        return None
    names = (
        IMAGE,
        BASE,
        TRAIT,
        REGION,
        ASKED,
        STEP,
        STRENGTH,
        OTHER,
        OTHER_CHANGE,
        "least_area",
        "clipped",
        "distance",
    )
    return {name: provenance[name] for name in names}, [tuple(one) for one in provenance["predicted"]]


def _reason_to_leave_out(row: Mapping[str, Any]) -> str:
    """Return the reason why a picture fails the checks; "" if it passes."""
    if abs(row[STEP] / row[ASKED] - 1) > TOLERANCE:
        return f"the cue could be changed by {row[STEP]:.2f} only"
    if abs(row[OTHER_CHANGE]) > OTHER_CUES:
        return f"the cue of {row[OTHER]} changed by {row[OTHER_CHANGE]:.2f}"
    if row["least_area"] < LEAST_AREA:
        return "the shape would be distorted too much"
    if row["clipped"] > MOST_CLIPPED:
        return "too many colours would be clipped"
    if row["distance"] > 1:
        return "the region would be outside the range of the study's faces"
    return ""

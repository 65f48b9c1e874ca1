"""Altered faces of a study: selection, alteration, predicted changes, and exclusions."""

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
from traitlens.experiment.picture_search import OTHER_CUES, TOLERANCE, search_strength
from traitlens.experiment.region_change import FEWEST_FACES, AlignedFaces, align_faces
from traitlens.faces.cropping import Crop, prepare_image
from traitlens.faces.frames import Frame, make_frame
from traitlens.faces.images import BACKGROUND, load_image
from traitlens.naming import file_names
from traitlens.problems import Problem, TraitlensError
from traitlens.progress import SilentWatcher, Watcher
from traitlens.study.reading import Study

ASKED, STRENGTH, OTHER, OTHER_CHANGE = "asked", "strength", "other_region", "other_change"
FIXED = ("background", "")
"""Regions without points of the mesh that could be moved."""

MOST_ALIGNED, MOST_MEASURED = 600, 40
"""Number of faces for averages and distances from the average face."""

WEAKEST = 1 / 3
"""Smallest standard deviation of a region's cue, relative to the trait's largest, of regions that are
chosen."""

MOST_CLIPPED = 0.05
"""Largest share of altered pixels whose colour is cut off."""


@dataclass(frozen=True)
class StimulusRequest:
    """Request for altered faces.

    Parameters
    ----------
    traits, regions : tuple of str
        Traits and regions. All traits if empty; the regions of the face whose cue varies at least a third as
        much as that of the trait's strongest region if empty.
    faces : tuple of str
        Images of the base faces; chosen at random among those that may be shown if empty.
    number : int, default 12
        Number of base faces to choose.
    steps : tuple of float, default (-0.5, 0.5)
        By how many standard deviations the region's cue is moved.
    seed : int, default 0
        Seed of the choice.
    """

    traits: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    faces: tuple[str, ...] = ()
    number: int = 12
    steps: tuple[float, ...] = (-0.5, 0.5)
    seed: int = 0


@dataclass(frozen=True)
class StimulusTables:
    """The altered pictures as tables.

    Parameters
    ----------
    pictures : DataFrame
        image, base, trait, region, asked (step, standard deviations of the cue), step (as measured),
        strength, other_region and other_change (the cue of another region that changed most), least_area,
        clipped, distance (from the average face, relative to the farthest face of the study).
    predicted : DataFrame
        image, trait, group, predicted: change of the group's predicted rating.
    left_out : DataFrame
        base, trait, region, asked, reason.
    """

    pictures: pd.DataFrame
    predicted: pd.DataFrame
    left_out: pd.DataFrame


@dataclass(frozen=True)
class _BaseFace:
    """A base face: the photograph, its prepared form and its cues."""

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
    """Alter faces of a study, each in one region only, and check every picture.

    Parameters
    ----------
    study : Study
        The study; only faces whose `may_publish` is true are altered.
    results : Path
        Its results folder.
    reader : CueReader
        Its regional readouts.
    folder : Path
        Where the pictures are written; those that are there already are not made again.
    request : StimulusRequest, optional
        What is altered.
    watcher : Watcher, optional
        Shows the progress.

    Returns
    -------
    StimulusTables
        The pictures, their predicted changes, and what was left out and why.

    Raises
    ------
    TraitlensError
        With every fault of the request, or if no picture passes the check.
    """
    request, watcher = request or StimulusRequest(), watcher or SilentWatcher()
    maker = _Maker(study, Path(results), reader, Path(folder), request)
    bases, regions_of = maker.choose()
    total = len(bases) * sum(map(len, regions_of.values())) * len(request.steps)
    pictures, predicted, left_out = [], [], []
    with watcher.stage("Altering faces", total) as advance:
        for image in bases:
            base = maker.read(image)
            for trait, regions in regions_of.items():
                for region in regions:
                    for step in request.steps:
                        made = maker.make(base, trait, region, step)
                        if isinstance(made, str):
                            left_out.append((image, trait, region, step, made))
                        else:
                            pictures.append(made[0])
                            predicted += made[1]
                        advance(1)
    if not pictures:
        reasons = "; ".join(sorted({row[-1] for row in left_out}))
        raise TraitlensError(
            Problem(f"no altered picture passes the check ({reasons})", "choose other regions")
        )
    return StimulusTables(
        pd.DataFrame(pictures),
        pd.DataFrame(predicted, columns=[IMAGE, TRAIT, GROUP, PREDICTED]),
        pd.DataFrame(left_out, columns=[BASE, TRAIT, REGION, ASKED, "reason"]),
    )


class _Maker:
    """Creates the pictures of one request."""

    def __init__(
        self, study: Study, results: Path, reader: CueReader, folder: Path, request: StimulusRequest
    ):
        needed = (PREPARED, GROUP_CUES, REGIONAL_PREDICTIONS)
        if missing := [one.path for one in needed if not one.of(results).exists()]:
            problem = Problem(
                f"holds no {', '.join(missing)}", f"run first: traitlens run {study.folder}", str(results)
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

    def choose(self) -> tuple[list[str], dict[str, list[str]]]:
        """Check the request and return base faces, and the regions of each trait."""
        request, problems = self.request, []
        known = [name for name in self.reader.faces.regions if name not in FIXED]
        traits = list(request.traits) or list(self.study.traits)
        for trait in traits:
            if trait not in self.study.traits:
                advice = f"choose among {', '.join(self.study.traits)}"
                problems.append(Problem(f"the study has no trait {trait!r}", advice))
        for region in request.regions:
            if region in FIXED:
                advice = f"choose among {', '.join(known)}"
                problems.append(
                    Problem(f"the region {region!r} has no landmarks that could be moved", advice)
                )
            elif region not in known:
                problems.append(Problem(f"there is no region {region!r}", f"choose among {', '.join(known)}"))
        if any(step == 0 or not np.isfinite(step) for step in request.steps) or not request.steps:
            problems.append(Problem("a step must not be 0", "write steps such as -1,1"))
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
                Problem(f"{len(usable)} faces have landmarks", f"averages need {2 * FEWEST_FACES} at least")
            )
        if problems:
            raise TraitlensError(problems)
        strong = {trait: self._strong(trait, known) for trait in traits}
        return list(request.faces) or self._draw(free), {
            trait: list(request.regions) or strong[trait] for trait in traits
        }

    def _strong(self, trait: str, known: Sequence[str]) -> list[str]:
        """Return the regions whose cue varies enough for a visible step."""
        spread = self.spread[trait].reindex(known)
        return [name for name in known if spread[name] >= WEAKEST * spread.max()]

    def _draw(self, free: Sequence[str]) -> list[str]:
        """Draw base faces, one of each identity."""
        identities = self.study.images.set_index(IMAGE)[IDENTITY]
        rng = np.random.default_rng([self.request.seed, 11])
        drawn: dict[str, str] = {}
        for place in rng.permutation(len(free)):
            drawn.setdefault(str(identities[free[place]]), free[place])
        return sorted(list(drawn.values())[: self.request.number])

    def read(self, image: str) -> _BaseFace:
        """Read a base face."""
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

    def make(self, base: _BaseFace, trait: str, region: str, step: float) -> tuple[dict, list[tuple]] | str:
        """Make one picture, or return why it is left out."""
        stem, *rest = file_names([base.image.rsplit(".", 1)[0], trait, region])
        size = f"{'plus' if step > 0 else 'minus'}{abs(step):g}".replace(".", "-")
        name = "__".join([stem, *rest, size, MARK]) + ".png"
        path = self.folder / "images" / name
        key = digest(self.model, base.sha256, trait, region, step, __version__, CHECK_VERSION)
        if path.exists() and (kept := _kept(path, key)) is not None:
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
            """Return the change of the region's cue."""
            picture = editor.alter(strength)
            pixels, masks = self._prepare(base, picture)
            after = self.reader.cues(self.reader.features(pixels, masks, region), base.fold, trait)
            return float((after - before.sel({REGION: [region]})).mean()) / unit

        found = search_strength(moved, step)
        picture = editor.alter(found.strength)
        pixels, masks = self._prepare(base, picture)
        # A mask that follows a moved mouth would show its shape in the jaw: the other regions are read, in
        # both pictures, where they were before and are after.
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
        distance = self._norm(features, region) / self._far(region)
        row = {
            IMAGE: name, BASE: base.image, TRAIT: trait, REGION: region, ASKED: step,
            STEP: round(found.change, 4), STRENGTH: round(found.strength, 4), OTHER: other,
            OTHER_CHANGE: round(others[other], 4), "least_area": round(picture.least_area, 3),
            "clipped": round(picture.clipped, 4), "distance": round(distance, 3),
        }  # fmt: skip
        if reason := _find_fault(row):
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
        """Prepare a picture in the frame of its base face."""
        points = base.points if self.crop.name != "full" else None
        pixels = prepare_image(picture.pixels, base.frame.size, self.crop, points).pixels
        return pixels, self.reader.faces.masks(base.frame.map_points(picture.points))

    def _change(self, trait: str, region: str, fold: int) -> Any:
        """Compute the change of a region with its cue, from faces of other folds."""
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
        """Faces of the study on the template."""
        places = self._sample(MOST_ALIGNED)
        return align_faces(
            tuple(self.images[place] for place in places),
            self.prepared["pixels"][places].to_numpy(),
            self.prepared["points"][places].to_numpy(),
        )

    def _sample(self, most: int) -> list[int]:
        """Draw faces with landmarks."""
        landmarks = np.isfinite(self.prepared["points"].to_numpy()).all(axis=(1, 2))
        rng = np.random.default_rng([self.request.seed, 12])
        return sorted(rng.permutation(np.flatnonzero(landmarks))[:most].tolist())

    def _far(self, region: str) -> float:
        """Return the largest distance of a face of the study from the average face."""
        if region not in self._farthest:
            norms = []
            for place in self._sample(MOST_MEASURED):
                masks = self.reader.faces.masks(self.prepared["points"][place].to_numpy())
                pixels = self.prepared["pixels"][place].to_numpy()
                norms.append(self._norm(self.reader.features(pixels, masks, region), region))
            self._farthest[region] = max(norms)
        return self._farthest[region]

    def _norm(self, features: Mapping, region: str) -> float:
        """Return the distance from the average face in a region's features."""
        return float(
            np.sqrt(sum(np.sum(np.square(v)) for space, v in features.items() if space.region == region))
        )


CHECK_VERSION = 1
"""Version of the method; pictures of other versions are created again."""


def _kept(path: Path, key: str) -> tuple[dict, list[tuple]] | None:
    """Return the row and predictions of a picture from an earlier run with the same settings."""
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


def _find_fault(row: Mapping[str, Any]) -> str:
    """Return why a picture fails the check; empty if it passes."""
    if abs(row[STEP] / row[ASKED] - 1) > TOLERANCE:
        return f"the cue could be moved by {row[STEP]:.2f} only"
    if abs(row[OTHER_CHANGE]) > OTHER_CUES:
        return f"the cue of {row[OTHER]} moved by {row[OTHER_CHANGE]:.2f}"
    if row["least_area"] < LEAST_AREA:
        return "the shape would be distorted too much"
    if row["clipped"] > MOST_CLIPPED:
        return "colours would be cut off"
    if row["distance"] > 1:
        return "the region would be outside the range of the study's faces"
    return ""

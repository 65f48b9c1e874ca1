"""Folder of an experiment, with its pictures, predictions, lists and settings for `traitlens rate`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens.collecting.preregistration import EXPERIMENT_FILES
from traitlens.columns import GROUP, IDENTITY, IMAGE, MAY_PUBLISH, PREDICTED, REGION, TRAIT
from traitlens.experiment.counterbalancing import LIST, counterbalanced_lists
from traitlens.experiment.effects import BASE, EFFECT, STEP
from traitlens.experiment.picture_files import write_contact_sheet
from traitlens.experiment.stimuli import ASKED, StimulusTables
from traitlens.faces.images import load_image
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write, read_table, write_table
from traitlens.study.reading import Study
from traitlens.study.settings_file import to_toml

FOLDER = "experiment"
"""Subfolder of the study that contains the experiment."""

PICTURES, PREDICTIONS, LISTS = EXPERIMENT_FILES

SETTINGS = """\
# An experiment with altered faces.
# Before the first participant, freeze the plan: traitlens plan THIS_FOLDER
# Then collect ratings: traitlens rate serve THIS_FOLDER --participants NUMBER

name = {name}
groups = {groups}
traits = {traits}
scale = {scale}
seed = {seed}

[collecting]
repeats = {repeats}
checks = {checks}

[cleaning]
lowest_checks = 0.5

# Not used: no readout is fitted to these ratings.
[folds]
number = 2

[plan]
hypotheses = {hypotheses}
"""

ETHICS = """\
# Draft of an ethics paragraph

Adapt this draft and have it approved before data are collected.

> Participants rate photographs of {faces} persons. In each photograph one region of the face ({regions})
> was altered by computer; the rest of the photograph is unchanged. Only photographs of persons who agreed
> that their picture may be altered and shown for research are used. Altered pictures are marked as such in
> their file names and metadata, are used for this experiment only, and are not passed on. Ratings are
> impressions; they say nothing about the persons shown, and will not be reported for single persons.
> Participants are informed before the experiment that some pictures were altered, and afterwards how and
> why. They can stop at any time, and can withdraw their answers as long as the answers are stored with their
> pseudonym. Only groups are compared; no statement about a single participant is made.

Check before use:

- The persons shown have permitted alteration, not only publication.
- No picture is offensive or makes a person look ill: look at every page of the contact sheet.
- The debriefing shows an original and an altered picture side by side.
"""


@dataclass(frozen=True)
class ExperimentDesign:
    """Pictures, predictions and lists of an experiment.

    Parameters
    ----------
    folder : Path
        Folder of the experiment.
    pictures, predicted : DataFrame
        Tables of :class:`~traitlens.experiment.stimuli.StimulusTables`.
    lists : DataFrame
        Table of :func:`~traitlens.experiment.counterbalancing.counterbalanced_lists`.
    """

    folder: Path
    pictures: pd.DataFrame
    predicted: pd.DataFrame
    lists: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> "ExperimentDesign":
        """Read the tables of an experiment from its folder.

        Raises
        ------
        TraitlensError
            If a table is missing or cannot be read.
        """
        folder = Path(folder)
        if missing := [name for name in EXPERIMENT_FILES if not (folder / name).is_file()]:
            advice = "create it first: traitlens stimuli STUDY"
            raise TraitlensError([Problem("is missing", advice, str(folder / name)) for name in missing])
        needed = {PICTURES: {IMAGE, BASE, TRAIT, REGION, STEP}, PREDICTIONS: {IMAGE, TRAIT, GROUP, PREDICTED}}
        tables = {name: read_table(folder / name) for name in EXPERIMENT_FILES}
        problems = [
            Problem(
                f"has no column {', '.join(sorted(columns - set(tables[name])))}", "restore the file", name
            )
            for name, columns in (needed | {LISTS: {LIST, IMAGE, TRAIT}}).items()
            if not columns <= set(tables[name])
        ]
        if problems:
            raise TraitlensError(problems)
        return cls(folder, *tables.values())

    def predicted_effects(self) -> pd.DataFrame:
        """Compute the predicted effects by regression of predicted changes on steps, through the origin.

        Returns
        -------
        DataFrame
            trait, region, group, effect (rating points per standard deviation of the cue).
        """
        joined = self.predicted.merge(self.pictures[[IMAGE, TRAIT, REGION, STEP]], on=[IMAGE, TRAIT])
        joined["product"] = joined[PREDICTED] * joined[STEP]
        joined["square"] = joined[STEP] ** 2
        sums = joined.groupby([TRAIT, REGION, GROUP], sort=False)[["product", "square"]].sum()
        return (sums["product"] / sums["square"]).rename(EFFECT).reset_index()

    def describe_predictions(self) -> list[str]:
        """Describe the predicted effects as hypotheses, with a sentence for each trait and region."""
        sentences = []
        for (trait, region), rows in self.predicted_effects().groupby([TRAIT, REGION], sort=False):
            parts = [f"{row.effect:+.2f} in the group {row.group}" for row in rows.itertuples()]
            text = (
                f"One standard deviation more of the cue of the {region} changes ratings of {trait} by "
                f"{' and '.join(parts)} (points)."
            )
            sentences.append(text)
        return sentences


def write_experiment_folder(
    study: Study,
    tables: StimulusTables,
    folder: Path,
    versions: int | None = 1,
    seed: int = 0,
) -> ExperimentDesign:
    """Write tables, settings, lists, an ethics draft and a contact sheet to the folder of an experiment.

    Parameters
    ----------
    study : Study
        The study of the base faces.
    tables : StimulusTables
        Tables of the altered pictures.
    folder : Path
        Folder that contains the altered pictures; it becomes a study of its own for `traitlens rate`.
    versions : int or None, default 1
        Number of versions of a base face that a rater sees; all if None.
    seed : int, default 0
        Seed of the lists.
    """
    folder = Path(folder)
    pictures = tables.pictures
    lists = counterbalanced_lists(pictures, versions, seed)
    design = ExperimentDesign(folder, pictures, tables.predicted, lists)
    write_table(folder / PICTURES, pictures)
    write_table(folder / PREDICTIONS, tables.predicted)
    write_table(folder / LISTS, lists)
    write_table(folder / "left_out.csv", tables.left_out)
    identities = pictures[[IMAGE, BASE]].rename(columns={BASE: IDENTITY}).drop_duplicates(IMAGE)
    write_table(folder / "images.csv", identities.assign(**{MAY_PUBLISH: "true"}))
    for path in (folder / "images").glob("*.png"):  # delete pictures of earlier requests
        if path.name not in set(pictures[IMAGE]):
            path.unlink()
    traits = [trait for trait in study.traits if trait in set(pictures[TRAIT])]
    trials = int(lists.groupby(LIST).size().max())
    text = SETTINGS.format(
        name=to_toml(f"{study.settings.name or study.folder.resolve().name}: altered faces"),
        groups=to_toml(study.groups),
        traits=to_toml(traits),
        scale=to_toml([float(value) for value in study.scale]),
        seed=seed,
        repeats=0.0 if versions == 1 else 0.1,
        checks=max(trials // 40, 2),
        hypotheses=to_toml(design.describe_predictions()),
    )
    with atomic_write(folder / "study.toml") as temporary:
        temporary.write_text(text, encoding="utf-8")
    regions = list(dict.fromkeys(pictures[REGION]))
    with atomic_write(folder / "ethics.md") as temporary:
        temporary.write_text(
            ETHICS.format(faces=pictures[BASE].nunique(), regions=", ".join(regions)), encoding="utf-8"
        )
    write_contact_sheet(folder, _contact_sheet_rows(study, tables, folder / "images"))
    return design


def _contact_sheet_rows(
    study: Study, tables: StimulusTables, images: Path
) -> list[tuple[str, list[np.ndarray | None]]]:
    """Return a caption and pictures (lowered, original, raised) for each altered region of each face."""
    every = pd.concat(
        [tables.pictures[[BASE, TRAIT, REGION, ASKED]], tables.left_out[[BASE, TRAIT, REGION, ASKED]]]
    )
    names = tables.pictures.set_index([BASE, TRAIT, REGION, ASKED])[IMAGE].to_dict()
    triples = []
    for key, rows in every.groupby([BASE, TRAIT, REGION], sort=True):
        if not any((*key, step) in names for step in rows[ASKED]):
            continue
        steps: Sequence[float | None] = [*sorted(step for step in rows[ASKED] if step < 0), None]
        steps = [*steps, *sorted(step for step in rows[ASKED] if step > 0)]
        shown: list[np.ndarray | None] = []
        for step in steps:
            if step is None:
                shown.append(load_image(study.path(str(key[0]))))
            elif name := names.get((*key, step)):
                shown.append(load_image(images / name))
            else:
                shown.append(None)
        triples.append((f"{key[0]}, {key[2]}, {key[1]}", shown))
    return triples

"""Text of an experiment's preregistration, written from its frozen plan."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlens.collecting.preregistration import FILES
from traitlens.columns import IMAGE, REGION, TRAIT
from traitlens.experiment.counterbalancing import LIST
from traitlens.experiment.effects import BASE
from traitlens.experiment.experiment_folder import ExperimentDesign
from traitlens.storage import atomic_write

PREREGISTRATION = "preregistration.md"

TEXT = """\
# Preregistration: {name}

Plan frozen {frozen} (UTC), digest `{digest}`. Answers given before this time are not analysed as
confirmatory.

## Predictions

The predictions were made by readouts that were not fitted to the persons shown, before any rating of an
altered picture was collected.

{hypotheses}

Where predictions differ between the groups, the observed changes should differ too (group x region).

## Design

- Base faces: {faces}; regions: {regions}; traits: {traits}; altered pictures: {pictures}.
- Lists: {lists}; a participant rates {trials} pictures at most. Participants are assigned to lists in turn.
- Groups: {groups}.
- Raters per group: ____ (see the power table that `traitlens stimuli` printed).

## Exclusions

{exclusions}

## Analysis

- Effects: for each trait and group, the change of the rating per standard deviation of the region's cue,
  after removing the means of raters and base faces. Raters and base faces are random factors.
- Group x region: standardised difference between two groups' effects; permutation test over raters with the
  maximum over regions and traits (999 permutations; p < .05).
- Agreement: slope of observed on predicted effects through the origin, and their correlation, with 95 %
  intervals.
- A prediction fails if the 95 % interval of the observed effect includes 0, or has the opposite sign.
- Command: `traitlens experiment STUDY RATINGS`, which checks this digest and those of the tables:

{files}
"""


def write_preregistration(folder: Path, plan: Mapping[str, Any], name: str) -> Path:
    """Write the text of an experiment's preregistration to `preregistration.md` in its folder.

    Parameters
    ----------
    folder : Path
        Folder of the experiment.
    plan : mapping
        The frozen plan.
    name : str
        Name of the experiment.

    Returns
    -------
    Path
        The written file.
    """
    design, content = ExperimentDesign.read(folder), plan["content"]
    pictures = design.pictures
    rules = [
        f"- {rule}: {value}" for rule, value in content["exclusions"].items() if value not in (None, False)
    ]
    text = TEXT.format(
        name=name,
        frozen=plan["frozen"],
        digest=plan["digest"],
        hypotheses="\n".join(f"- {sentence}" for sentence in content["hypotheses"]),
        faces=pictures[BASE].nunique(),
        regions=", ".join(dict.fromkeys(pictures[REGION])),
        traits=", ".join(dict.fromkeys(pictures[TRAIT])),
        pictures=pictures[IMAGE].nunique(),
        lists=design.lists[LIST].nunique(),
        trials=int(design.lists.groupby(LIST).size().max()),
        groups=", ".join(content["groups"]) or "one",
        exclusions="\n".join(rules) or "- none",
        files="\n".join(f"- {file}: `{value}`" for file, value in content[FILES].items()),
    )
    with atomic_write(Path(folder) / PREREGISTRATION) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(folder) / PREREGISTRATION

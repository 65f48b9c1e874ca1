"""The model card: intended use, training data, performance and limitations of a model."""

from typing import TYPE_CHECKING

import pandas as pd

from traitlens.columns import GROUP, TRAIT
from traitlens.features.weights import VGG16_DIGEST

if TYPE_CHECKING:
    from traitlens.readouts.trait_models import TraitModels

_CARD = """\
---
library_name: traitlens
tags:
- face-perception
- impressions
- regression
license: other
---

# Impressions of faces: {traits}

**What it predicts.** The mean rating that a group of raters would give to a face image, an impression of the
raters. It says nothing about the person shown: not their character, health, mind or group.

## Intended use
Research into how people form impressions of faces, and which parts of a face carry them. Load it with
`TraitModels.load(folder)`, or use it from the hub by its name: `traitlens predict hf://OWNER/NAME face.jpg`.

**Not for** decisions about people (hiring, lending, policing, admission, diagnosis, matching), nor for
sorting or scoring photographs of people who have not agreed to it.

## What it is
{count} {kinds} readouts of {backbone} (weights `{digest}`; not part of this folder), reading {spaces}.
{weights}
Preprocessing: {channels} minus {mean}, divided by {divide_by}. Images were prepared so: {prepared}.

## Raters
Groups: {groups}. Differences between the readouts of two groups of raters mix what the groups see with who
was asked, how many they were and how well they agree; test them before speaking of them.

## Performance
On identities that a readout did not see. The ceiling is what the raters' agreement allows.

{performance}

## Limits
- It was fitted on one set of images and one set of raters; both have a time, a place and a culture.
- Ratings of faces hold stereotypes about age, gender, ethnicity and disability. The readouts learn these as
  faithfully as anything else in the ratings.
- Images unlike those that it was fitted on (other poses, light, ages, origins) are predicted worse, and
  nothing in the output warns of it.

## Files
`readouts.safetensors` holds the numbers, `manifest.json` describes them and holds their digest. Loading runs
no code from this folder.
"""


def write_card(models: "TraitModels") -> str:
    """Write the model card in the form of the Hugging Face hub."""
    preprocessing = models.preprocessing
    return _CARD.format(
        traits=_one_line(", ".join(models.traits)),
        groups=_one_line(", ".join(models.groups)),
        count=len(models.readouts),
        kinds=" and ".join(sorted({readout.label for readout in models.readouts})),
        backbone=models.backbone_name,
        digest=models.backbone_digest[:12],
        weights=_say_weights(models),
        spaces=_say_spaces(models),
        channels=preprocessing.channels,
        mean=preprocessing.mean,
        divide_by=preprocessing.divide_by,
        prepared=_one_line(str(dict(models.prepared))) if models.prepared else "not recorded",
        performance=_performance(models.performance),
    )


def _say_spaces(models: "TraitModels") -> str:
    """Describe the features of the readouts."""
    text = ", ".join(dict.fromkeys(f"{space.tap} of the view '{space.view}'" for space in models.spaces))
    regions = ", ".join(dict.fromkeys(space.region for space in models.spaces if space.region))
    if not regions:
        return text
    return (
        f"{text}, of regions of the face ({_one_line(regions)}), each on the average face of the study's "
        "images, which this folder holds"
    )


def _say_weights(models: "TraitModels") -> str:
    """Describe the source of the network's weights."""
    if models.backbone_digest == VGG16_DIGEST:
        return (
            "The weights of VGG16 are those of Simonyan and Zisserman (2015), Visual Geometry Group, Oxford, "
            "CC BY 4.0."
        )
    source = _one_line(models.backbone_source) or "not recorded"
    return (
        f"Source of the weights: {source}. To use the readouts, add the network by this name with "
        "`traitlens add-backbone`."
    )


def _one_line(text: str) -> str:
    """Return a text as one line, so that names do not break the page."""
    return " ".join(text.replace("|", "/").replace("<", "‹").replace(">", "›").split())


def _performance(table: pd.DataFrame) -> str:
    """Format the performance as a Markdown table."""
    columns = [GROUP, TRAIT, "n_images", "r", "ci_low", "ci_high", "r2", "rmse", "ceiling_r", "ceiling_r2"]
    shown = [column for column in columns if column in table]
    if table.empty or not shown:
        return "Not recorded."
    lines = [f"| {' | '.join(shown)} |", f"|{'---|' * len(shown)}"]
    for row in table[shown].itertuples(index=False):
        cells = [f"{cell:.3f}" if isinstance(cell, float) else _one_line(str(cell)) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)

"""The model card of a saved model: intended use, training data, performance and limitations."""

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

**What it predicts.** The mean rating that a group of raters would give to a face image. A rating is an
impression of the raters. It says nothing about the person shown: not their character, health, mind or group.

## Intended use
Research into how people form impressions of faces, and which parts of a face carry them. Load it with
`TraitModels.load(folder)`, or use it from the hub by its name: `traitlens predict hf://OWNER/NAME face.jpg`.

**Not for** decisions about people (hiring, lending, policing, admission, diagnosis, matching), nor for
sorting or scoring photographs of people who have not agreed to it.

## What it is
{count} {kinds} readouts of {backbone} (weights `{digest}`; not part of this folder), reading {spaces}.
{weights}
Preprocessing: {channels} minus {mean}, divided by {divide_by}. Settings of image preparation: {prepared}.

## Raters
Groups: {groups}. The readouts of two groups differ not only if the groups see faces differently, but also
with the sample of raters, their number and their agreement. Test a difference before reporting it.

## Performance
For persons who are not in the training images of a readout. The ceiling is the highest performance that the
agreement of the raters allows.

{performance}

## Limits
- The model was fitted to one set of images and one set of raters, from a particular time, place and culture.
- Ratings of faces contain stereotypes about age, gender, ethnicity and disability. The readouts learn these
  as well as anything else in the ratings.
- Images unlike the training images (other poses, light, ages, origins) are predicted worse, without a
  warning.

## Files
`readouts.safetensors` contains the arrays, `manifest.json` their description and digest. No code of this
folder is run when the model is loaded.
"""


def write_card(models: "TraitModels") -> str:
    """Return the text of the model card, in the format of the Hugging Face hub."""
    preprocessing = models.preprocessing
    return _CARD.format(
        traits=_one_line(", ".join(models.traits)),
        groups=_one_line(", ".join(models.groups)),
        count=len(models.readouts),
        kinds=" and ".join(sorted({readout.label for readout in models.readouts})),
        backbone=models.backbone_name,
        digest=models.backbone_digest[:12],
        weights=_describe_weights(models),
        spaces=_describe_spaces(models),
        channels=preprocessing.channels,
        mean=preprocessing.mean,
        divide_by=preprocessing.divide_by,
        prepared=_one_line(str(dict(models.prepared))) if models.prepared else "not recorded",
        performance=_performance_table(models.performance),
    )


def _describe_spaces(models: "TraitModels") -> str:
    """Describe the features of the readouts."""
    text = ", ".join(dict.fromkeys(f"{space.tap} of the view '{space.view}'" for space in models.spaces))
    regions = ", ".join(dict.fromkeys(space.region for space in models.spaces if space.region))
    if not regions:
        return text
    return (
        f"{text}, of regions of the face ({_one_line(regions)}), each on the average face of the study's "
        "images, which is in this folder"
    )


def _describe_weights(models: "TraitModels") -> str:
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
    """Return a string on one line and without characters that Markdown would interpret."""
    return " ".join(text.replace("|", "/").replace("<", "‹").replace(">", "›").split())


def _performance_table(table: pd.DataFrame) -> str:
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

"""Sentences for a methods section about each readout method, and keys of the references that they cite."""

from collections.abc import Sequence

from traitlens.features.views import WHOLE
from traitlens.study.settings import ReadoutSettings

Text = tuple[str, tuple[str, ...]]


def ridge_text(settings: ReadoutSettings) -> Text:
    """Describe ridge regression: its features, and the choice of its penalty."""
    taps = settings.taps or (settings.tap,)
    crops = [view for view in settings.views if view != WHOLE]
    read = f"the {'layers' if len(taps) > 1 else 'layer'} {_listed(taps)}"
    if crops:
        read += f", of the image and of crops of it ({_listed(crops)})"
    averaged = "square roots of averages over" if settings.transform == "sqrt" else "averaged to"
    text = (
        "For each group and trait, a ridge regression (Hoerl & Kennard, 1970) predicted the mean rating from "
        f"the activations of {read}, {averaged} a grid of {settings.grid} × {settings.grid} places"
        f"{' and over each image and its mirror image' * settings.mirror}; its penalty"
        f"{', one for all groups and traits,' * (settings.sharing == 1)} was chosen by cross-validation "
        "within the training images. "
    )
    if settings.whiten is not None:
        text += f"Channels were made uncorrelated first (shrinkage {settings.whiten:g}), outside each fold. "
    if settings.across_traits:
        text += "Predictions borrowed from the group's other traits. "
    if left_out := _steps_without_tests(settings):
        text += (
            f"Tests that refit readouts do so without {_listed(left_out)}, with which readouts are not "
            "linear in a group's ratings. "
        )
    return text, ("hoerl",)


def _steps_without_tests(settings: ReadoutSettings) -> list[str]:
    """Return the steps that depend on a group's ratings otherwise than linearly."""
    steps = {
        "borrowing across traits": settings.across_traits,
        "weights of images": settings.weigh_images,
        "the choice of weights of layers and crops": settings.mixes > 1,
    }
    return [step for step, taken in steps.items() if taken]


DENSE_TEXT: Text = (
    "For each group and trait, the activations of the last convolutional layer, averaged over the "
    "image, entered a dense layer of 1,024 rectified linear units and one linear unit that "
    "predicted the mean "
    "rating, as in Cao et al. (2023). ",
    ("cao",),
)

CAO2023_TEXT: Text = (
    "For each group and trait, the network of Cao et al. (2023) was trained as in their scripts: the "
    "activations of the last convolutional layer, averaged over the image, entered a dense layer of 1,024 "
    "rectified linear units and one linear unit; plain gradient descent, rate 0.01, four images in a step, "
    "450 epochs for every group, inputs divided by 255, raw ratings. Unlike in the scripts, the "
    "inputs that were explained were divided too, and each image was explained by a network that was not "
    "trained on it. Maps explain the rating itself, not its deviation from the mean. ",
    ("cao",),
)


def finetune_text(settings: ReadoutSettings) -> Text:
    """Describe the training of the network's last layers."""
    return (
        f"For each group and fold, the layers of the network above {settings.tap} were trained on for all "
        "traits together (AdamW; features mirrored and shifted at random; number of epochs chosen on a fifth "
        "of the training identities), with a linear readout of the last layer averaged over the image. "
    ), ()


def _listed(names: Sequence[str]) -> str:
    """Write names with commas and "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]

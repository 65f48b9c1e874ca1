"""Description of each readout method for the methods section of a paper, with keys of references."""

from collections.abc import Sequence

from traitlens.features.views import WHOLE
from traitlens.study.settings import ReadoutSettings

Text = tuple[str, tuple[str, ...]]


def ridge_text(settings: ReadoutSettings) -> Text:
    """Describe the features of ridge readouts and the choice of their penalty."""
    taps = settings.taps or (settings.tap,)
    crops = [view for view in settings.views if view != WHOLE]
    read = f"the {'layers' if len(taps) > 1 else 'layer'} {_join(taps)}"
    if crops:
        read += f", of the image and of crops of it ({_join(crops)})"
    averaged = "square roots of averages over" if settings.transform == "sqrt" else "averaged to"
    text = (
        "For each group and trait, a ridge regression (Hoerl & Kennard, 1970) predicted the mean rating from "
        f"the activations of {read}, {averaged} a grid of {settings.grid} × {settings.grid} places"
        f"{' and over each image and its mirror image' * settings.mirror}; its penalty"
        f"{', one for all groups and traits,' * (settings.sharing == 1)} was chosen by cross-validation "
        "within the training images. "
    )
    if settings.whiten is not None:
        text += (
            f"Channels were first made uncorrelated (shrinkage {settings.whiten:g}), estimated outside each "
            "fold. "
        )
    if settings.across_traits:
        text += "Predictions used the predictions of the group's other traits. "
    if left_out := _nonlinear_steps(settings):
        text += (
            f"Tests that refit readouts leave out {_join(left_out)}, because readouts would not be linear in "
            "the ratings of a group. "
        )
    return text, ("hoerl",)


def _nonlinear_steps(settings: ReadoutSettings) -> list[str]:
    """Name the steps of a fit after which predictions are not linear in the ratings of a group."""
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
    "450 epochs for every group, inputs divided by 255, raw ratings. Unlike in the scripts, inputs were also "
    "divided by 255 when predictions were explained, and each image was explained by a network that was not "
    "trained on it. Maps explain the rating itself, not its deviation from the mean. ",
    ("cao",),
)


def finetune_text(settings: ReadoutSettings) -> Text:
    """Describe the fine-tuning of the network's last layers."""
    return (
        f"For each group and fold, the layers of the network above {settings.tap} were fine-tuned for all "
        "traits together (AdamW; features mirrored and shifted at random; number of epochs chosen on a fifth "
        "of the training identities), with a linear readout of the last layer averaged over the image. "
    ), ()


def _join(names: Sequence[str]) -> str:
    """Join names with commas and "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]

"""Preprocessing of pixels for a network; every model is stored with the settings of its preprocessing."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of RGB pixels: reorder channels, subtract means, divide.

    Parameters
    ----------
    channels : {"BGR", "RGB"}
        Order of the channels of the network input.
    mean : (float, float, float)
        Number subtracted from each channel, in that order, on the scale 0 to 255.
    divide_by : (float, float, float)
        Number by which each channel is then divided.

    Examples
    --------
    >>> grey = np.full((1, 2, 2, 3), 128, np.uint8)
    >>> VGG_CAFFE.to_input(grey)[0, :, 0, 0].round().tolist()
    [24.0, 11.0, 4.0]
    """

    channels: Literal["BGR", "RGB"] = "BGR"
    mean: tuple[float, float, float] = (103.939, 116.779, 123.68)
    divide_by: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def to_input(self, pixels: np.ndarray) -> "torch.Tensor":
        """Convert pixels to network input.

        Parameters
        ----------
        pixels : ndarray
            uint8 RGB (image, row, column, 3).

        Returns
        -------
        Tensor
            float32 (image, channel, row, column), channels last in memory.

        Raises
        ------
        ValueError
            If the pixels have another type or shape.
        """
        import torch

        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
            raise ValueError(
                f"pixels must be uint8 RGB (image, row, column, 3), but are {pixels.dtype} {pixels.shape}"
            )
        values = torch.from_numpy(np.array(pixels, order="C")).permute(0, 3, 1, 2).float()
        if self.channels == "BGR":
            values = values.flip(1)
        mean = torch.tensor(self.mean).view(3, 1, 1)
        divide_by = torch.tensor(self.divide_by).view(3, 1, 1)
        values = (values - mean) / divide_by
        return values.contiguous(memory_format=torch.channels_last)

    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return the lowest and highest possible network input of each channel.

        Returns
        -------
        low, high : (float, float, float)
            Network input of black and of white pixels.
        """
        pairs = list(zip(self.mean, self.divide_by, strict=True))
        low = tuple(-mean / by for mean, by in pairs)
        high = tuple((255 - mean) / by for mean, by in pairs)
        return low, high  # type: ignore[return-value]

    @property
    def is_sound(self) -> bool:
        """Whether the settings are valid: a known order of channels, and three finite numbers each."""
        numbers = (*self.mean, *self.divide_by)
        return (
            self.channels in ("BGR", "RGB")
            and len(self.mean) == len(self.divide_by) == 3
            and bool(np.isfinite(numbers).all())
            and 0 not in self.divide_by
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as values that JSON can represent.

        Returns
        -------
        dict
            The settings by name.
        """
        return asdict(self)


VGG_CAFFE = Preprocessing()
"""Preprocessing of Oxford's VGG16: BGR minus the mean of ImageNet, without division."""

PREPROCESSINGS: dict[str, Preprocessing] = {
    "caffe": VGG_CAFFE,
    "torchvision": Preprocessing("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "arcface": Preprocessing("RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "vgg_face": Preprocessing("RGB", (129.1863, 104.7624, 93.5940)),
    "vgg_face_bgr": Preprocessing("BGR", (93.5940, 104.7624, 129.1863)),
}
"""Preprocessing of known networks, by name: VGG16 of Oxford and Keras ("caffe"), torchvision, networks
trained with ArcFace (Deng et al. 2019), and VGG-Face (Parkhi et al. 2015) with its channels in either
order."""

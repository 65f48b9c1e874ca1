r"""Patterns of convolutions for PatternNet and PatternAttribution (Kindermans et al. 2018, arXiv:1705.05598).

The weights :math:`w` of a unit separate its signal from distractors. Its *pattern* :math:`a` is the direction
of the signal in its input, estimated from the positions at which the unit is active:

.. math:: a = \frac{E_+[x y] - E_+[x] E_+[y]}{w^T (E_+[x y] - E_+[x] E_+[y])}.

Formula and treatment of ReLUs follow iNNvestigate (Alber et al. 2019).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from traitlens.features.backbone import Backbone, Layer
from traitlens.features.residual_pass import run_layers
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write

if TYPE_CHECKING:
    import torch

_DIGEST = "backbone_digest"

FEWEST = 3
"""Smallest number of positions at which a unit must be active for its pattern to be estimated."""


@dataclass(frozen=True, eq=False)
class Patterns:
    """Patterns of the convolutions of a network.

    Parameters
    ----------
    tensors : dict of str to ndarray
        Patterns, float32 (out, in, row, column), by name of the convolution, from first to last.
    backbone_digest : str
        Digest of the weights of the network.
    """

    tensors: dict[str, np.ndarray]
    backbone_digest: str

    def save(self, path: Path) -> None:
        """Write the patterns to a safetensors file."""
        from safetensors.numpy import save_file

        with atomic_write(Path(path)) as temporary:
            save_file(self.tensors, temporary, metadata={_DIGEST: self.backbone_digest})

    @classmethod
    def load(cls, path: Path, backbone: Backbone) -> "Patterns":
        """Read the patterns of a network from a safetensors file.

        Raises
        ------
        TraitlensError
            If the file cannot be read, or contains patterns of another network.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                digest = (file.metadata() or {}).get(_DIGEST, "")
                tensors = {
                    layer.name: file.get_tensor(layer.name)
                    for layer in backbone.layers
                    if layer.weight is not None and layer.name in file.keys()  # noqa: SIM118
                }
        except (OSError, SafetensorError) as error:
            raise TraitlensError(Problem(f"cannot be read as patterns ({error})", "", str(path))) from None
        shapes = {layer.name: layer.weight.shape for layer in backbone.layers if layer.weight is not None}
        if digest != backbone.digest or any(tensors[name].shape != shapes[name] for name in tensors):
            what = f"contains patterns of another network than {backbone.name!r}"
            raise TraitlensError(Problem(what, "estimate them again", str(path)))
        return cls(tensors, digest)


def estimate_patterns(
    backbone: Backbone, images: Iterable[np.ndarray], tap: str, progress: Callable[[int], None] | None = None
) -> Patterns:
    """Estimate the patterns of the convolutions up to a tap.

    Parameters
    ----------
    backbone : Backbone
        The network.
    images : iterable of ndarray
        uint8 RGB (row, column, 3), read one at a time.
    tap : str
        Name of the deepest layer that readouts use.
    progress : callable or None
        Called with 1 after each image.

    Returns
    -------
    Patterns
        Patterns of each convolution; zero for units that are active at fewer than three positions.

    Examples
    --------
    >>> patterns = estimate_patterns(backbone, images, "block4_pool")  # doctest: +SKIP
    """
    import torch

    sums: dict[str, _ConvolutionSums] = {}
    layers = backbone.up_to(tap)
    with torch.no_grad():
        for image in images:
            for layer, values, before, active in _run_convolutions(layers, backbone.input(image[None])):
                sums.setdefault(layer.name, _ConvolutionSums(layer)).add(values, before, active)
            if progress is not None:
                progress(1)
    if not sums:
        raise ValueError("patterns need at least one image")
    return Patterns({name: one.pattern() for name, one in sums.items()}, backbone.digest)


def _run_convolutions(
    layers: "tuple[Layer, ...]", values: "torch.Tensor"
) -> "Iterator[tuple[Layer, torch.Tensor, torch.Tensor, torch.Tensor]]":
    """Yield each convolution, its input, its output before the activation, and a mask of active units.

    Without a ReLU, all units are active.
    """
    import torch

    if layers[0].plan is not None:
        for passed in run_layers(layers, values):
            plan = passed.layer.plan
            if passed.layer.kind == "convolution" and plan is not None:
                active = passed.before > 0
                everywhere = torch.ones_like(active)
                yield (
                    passed.layer,
                    passed.inputs[0],
                    passed.before,
                    active if plan.activation == "relu" else everywhere,
                )
        return
    for layer in layers:
        if layer.weight is not None:
            before = torch.nn.functional.conv2d(values, layer.weight, layer.bias, padding=1)
            yield layer, values, before, before > 0
            values = before.relu()
        else:
            values = layer(values)


class _ConvolutionSums:
    """Sums over positions at which units of a convolution are active, from which patterns are computed.

    They are the number of positions, and sums of inputs, of outputs, and of products of both.
    """

    def __init__(self, layer: Layer):
        assert layer.weight is not None
        self.layer = layer
        self.weight = layer.weight.double().cpu()
        self.count, self.y = (self.weight.new_zeros(len(self.weight)) for _ in range(2))
        self.x, self.xy = (self.weight.new_zeros(self.weight.shape) for _ in range(2))

    def add(self, values: "torch.Tensor", before: "torch.Tensor", active: "torch.Tensor") -> None:
        """Add one image to the sums."""
        from torch.nn.grad import conv2d_weight

        plan = self.layer.plan
        window = {"padding": 1} if plan is None else {
            "stride": plan.window.stride, "padding": plan.window.padding,
        }  # fmt: skip
        shape = tuple(self.weight.shape)
        mask = active.to(values.dtype)
        # The gradient of a convolution's weights is a sum of products of outputs and inputs.
        for total, outputs in ((self.x, mask), (self.xy, mask * before)):
            total += conv2d_weight(values, shape, outputs, **window).double().cpu()  # type: ignore[no-untyped-call]
        self.y += (mask * before).double().sum((0, 2, 3)).cpu()
        self.count += mask.double().sum((0, 2, 3)).cpu()

    def pattern(self) -> np.ndarray:
        """Compute the patterns from the sums: float32 (out, in, row, column)."""
        import torch

        count = self.count.clamp(min=1).view(-1, 1, 1, 1)
        covariance = self.xy / count - (self.x / count) * (self.y.view(-1, 1, 1, 1) / count)
        length = (self.weight * covariance).sum((1, 2, 3), keepdim=True)
        pattern = covariance / torch.where(length == 0, 1.0, length)
        pattern[self.count < FEWEST] = 0  # otherwise rounding errors are divided
        return np.ascontiguousarray(pattern.numpy(), "<f4")

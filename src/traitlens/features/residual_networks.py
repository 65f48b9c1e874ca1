"""Reading of residual networks from state dicts: torchvision's ResNet, and networks trained with ArcFace.

Batch normalisation is folded into the convolutions. torchvision's networks (He et al. 2016) normalise after
each convolution; ArcFace's (Deng et al. 2019) also before the first convolution of a block. Since padding is
added after that normalisation, its shift becomes a bias that is smaller at the edges of the image.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from traitlens.features.network_layers import INPUT, LayerPlan, Window

State = Mapping[str, np.ndarray]

_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.conv1\.weight")
_PREFIX = re.compile(r"^(?:module|model|backbone|encoder|network)\.")
_LEFT_OUT = re.compile(r"(?:fc|features|bn2)\.\w+|.*num_batches_tracked")
_EPSILON = 1e-5
_NORM = ("weight", "bias", "running_mean", "running_var")


def is_residual(state: State) -> bool:
    """Return whether the names in a state dict are those of a residual network."""
    return any(_BLOCK.fullmatch(_PREFIX.sub("", name)) for name in state)


def read_residual(state: State) -> tuple[tuple[LayerPlan, ...], dict[str, np.ndarray]]:
    """Build a residual network from a state dict.

    Parameters
    ----------
    state : mapping of str to ndarray
        Tensors by name, as in torchvision's ResNet (``layer1.0.conv1.weight``; 18 to 152 layers, also wide)
        or in ArcFace's networks (``layer1.0.prelu.weight``). All layers after the last block are ignored.

    Returns
    -------
    plans : tuple of LayerPlan
        The layers; outputs of blocks are named ``layer1_1`` and so on.
    tensors : dict of str to ndarray
        float32 ``LAYER.weight``, ``.bias``, ``.shift`` and ``.slope``.

    Raises
    ------
    ValueError
        If tensors are missing, unknown, or of an unexpected shape.
    """
    builder = _Builder({_PREFIX.sub("", name): tensor for name, tensor in state.items()})
    blocks = sorted(
        (int(found[1]), int(found[2])) for name in builder.state if (found := _BLOCK.fullmatch(name))
    )
    is_arcface = "prelu.weight" in builder.state
    if is_arcface:
        last = builder.convolve("conv1", INPUT, "conv1", after="bn1", slope="prelu")
    else:
        last = builder.convolve("conv1", INPUT, "conv1", after="bn1", stride=2, activation="relu")
        last = builder.add(LayerPlan("pool1", "max_pool", (last,), Window(3, 2, 1)))
    for layer, block in blocks:
        stride = 2 if block == 0 and (layer > 1 or is_arcface) else 1
        last = (builder.arcface_block if is_arcface else builder.block)(layer, block, last, stride)
    builder.check_rest()
    return tuple(builder.plans), builder.tensors


class _Builder:
    """Build layers from a state dict, and record which of its tensors are used."""

    def __init__(self, state: dict[str, np.ndarray]):
        self.state = state
        self.used: set[str] = set()
        self.plans: list[LayerPlan] = []
        self.tensors: dict[str, np.ndarray] = {}

    def add(self, plan: LayerPlan) -> str:
        """Append a layer and return its name."""
        self.plans.append(plan)
        return plan.name

    def take(self, name: str) -> np.ndarray:
        """Return a tensor of the state dict as float64, and record that it is used."""
        if name not in self.state:
            raise ValueError(f"it has no {name!r}")
        self.used.add(name)
        return np.asarray(self.state[name], np.float64)

    def norm(self, name: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the scale and the shift that a batch normalisation applies to each channel."""
        weight, bias, mean, variance = (self.take(f"{name}.{part}") for part in _NORM)
        if any(part.shape != (channels,) for part in (weight, bias, mean, variance)) or variance.min() < 0:
            raise ValueError(f"{name!r} is not a batch normalisation of {channels} channels")
        scale = weight / np.sqrt(variance + _EPSILON)
        return scale, bias - mean * scale

    def convolve(
        self,
        source: str,
        below: str,
        name: str,
        after: str,
        before: str = "",
        stride: int = 1,
        activation: str = "none",
        slope: str = "",
    ) -> str:
        """Append a convolution with its normalisations and its activation, and return its name.

        `source` is its name in the state dict, `below` the layer that is its input; `after`, `before` and
        `slope` are the names of the normalisations after and before it and of a PReLU.
        """
        weight = self.take(f"{source}.weight")
        if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0:
            raise ValueError(f"{source!r} is not a convolution with a square window")
        scale, bias = self.norm(after, len(weight))
        weight = weight * scale.reshape(-1, 1, 1, 1)
        if before:
            scale, shift = self.norm(before, weight.shape[1])
            self._store(f"{name}.shift", (weight * shift.reshape(1, -1, 1, 1)).sum(1, keepdims=True))
            weight = weight * scale.reshape(1, -1, 1, 1)
        self._store(f"{name}.weight", weight)
        self._store(f"{name}.bias", bias)
        window = Window(weight.shape[2], stride, weight.shape[2] // 2)
        plan = LayerPlan(name, "convolution", (below,), window, "relu" if activation == "relu" else "none")
        if slope:
            values = self.take(f"{slope}.weight")
            self._store(f"{name}.slope", np.broadcast_to(values, (len(weight),)))
            plan = replace(plan, activation="prelu")
        return self.add(plan)

    def _store(self, name: str, values: np.ndarray) -> None:
        self.tensors[name] = np.ascontiguousarray(values, "<f4")

    def block(self, layer: int, block: int, below: str, stride: int) -> str:
        """Append a block of torchvision's ResNet: two convolutions, or three with stride in the second."""
        source, name = f"layer{layer}.{block}", f"layer{layer}_{block + 1}"
        count = 3 if f"{source}.conv3.weight" in self.state else 2
        shrinking = 2 if count == 3 else 1
        last = below
        for number in range(1, count + 1):
            last = self.convolve(
                f"{source}.conv{number}",
                last,
                f"{name}_conv{number}",
                after=f"{source}.bn{number}",
                stride=stride if number == shrinking else 1,
                activation="none" if number == count else "relu",
            )
        shortcut = self._append_shortcut(source, name, below, stride)
        return self.add(LayerPlan(name, "sum", (last, shortcut), activation="relu"))

    def arcface_block(self, layer: int, block: int, below: str, stride: int) -> str:
        """Append a block of ArcFace's networks: normalisation, convolution, PReLU, convolution, and sum."""
        source, name = f"layer{layer}.{block}", f"layer{layer}_{block + 1}"
        middle = self.convolve(
            f"{source}.conv1",
            below,
            f"{name}_conv1",
            before=f"{source}.bn1",
            after=f"{source}.bn2",
            slope=f"{source}.prelu",
        )
        last = self.convolve(f"{source}.conv2", middle, f"{name}_conv2", after=f"{source}.bn3", stride=stride)
        return self.add(LayerPlan(name, "sum", (last, self._append_shortcut(source, name, below, stride))))

    def _append_shortcut(self, source: str, name: str, below: str, stride: int) -> str:
        """Append the convolution of a block's shortcut, if the block has one; return the shortcut's layer."""
        down = f"{source}.downsample"
        if f"{down}.0.weight" not in self.state:
            return below
        return self.convolve(f"{down}.0", below, f"{name}_shortcut", after=f"{down}.1", stride=stride)

    def check_rest(self) -> None:
        """Raise an error if tensors are unused, as in networks with squeeze-and-excitation layers."""
        rest = [name for name in self.state if name not in self.used and not _LEFT_OUT.fullmatch(name)]
        if rest:
            raise ValueError(f"it also contains {', '.join(name[:80] for name in rest[:3])}")

"""Fine-tuned readouts: the last layers of the network are trained for all traits of each group and fold.

The output of the frozen layers is computed once. In training it is randomly mirrored and shifted by a cell
for data augmentation. The trained layers start from the pretrained weights. The number of epochs is the one
with the smallest error on a fifth of the training identities, which are set aside.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from traitlens.columns import FOLD, GROUP, IDENTITY, IMAGE, TRAIT
from traitlens.digests import digest
from traitlens.features.backbone import Layer
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.problems import Problem, TraitlensError
from traitlens.readouts.fit_results import FittedReadouts, arrange_targets, tabulate_predictions
from traitlens.readouts.folds import inner_folds
from traitlens.readouts.readout import FinetunedReadout, Tail
from traitlens.readouts.ridge import check_counts
from traitlens.storage import atomic_write

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Tuning:
    """Settings of the fine-tuning.

    Parameters
    ----------
    rate : float
        Learning rate of the layers (AdamW; Loshchilov and Hutter 2019).
    head_rate : float
        Learning rate of the linear readout.
    most_epochs : int
        Maximum number of epochs.
    decay : float
        Weight decay.
    batch : int
        Number of images per step.
    shift : int
        Maximum shift of features in cells.
    """

    rate: float = 1e-4
    head_rate: float = 3e-3
    decay: float = 0.01
    batch: int = 32
    most_epochs: int = 12
    shift: int = 1


def fit_finetune(
    features: Mapping[FeatureSpace, np.ndarray],
    targets: pd.DataFrame,
    folds: pd.DataFrame,
    layers: Sequence[Layer],
    seed: int = 0,
    tuning: Tuning = Tuning(),
    device: str = "cpu",
    folder: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> FittedReadouts:
    """Fine-tune the last layers of a network with a linear readout, for each group and fold.

    Parameters
    ----------
    features : mapping of FeatureSpace to ndarray
        One space without a grid, the output of the last frozen layer; images in the order of `folds`.
    targets : DataFrame
        group, trait, image, rating. A group need not have rated every image.
    folds : DataFrame
        image, identity, fold.
    layers : sequence of Layer
        Layers of the network after the last frozen layer.
    seed : int, default 0
        Seed of the order of images, of augmentation and of the inner split.
    tuning : Tuning
        Settings of the training.
    device : str, default "cpu"
        Device on which to train. Steps are computed in bfloat16 if the device supports it.
    folder : Path or None
        Folder in which trained networks are stored, so that an interrupted fit can resume. Networks of
        earlier fits to other data are removed. If None, no files are written.
    progress : callable or None
        Called with the number of readouts that were fitted since the last call.

    Returns
    -------
    FittedReadouts
        Readouts, out-of-fold predictions and chosen numbers of epochs.

    Raises
    ------
    TraitlensError
        If there are several feature spaces, a residual network or no layer to train,
        or if a group rated too few images.
    """
    if any(layer.plan is not None for layer in layers):
        advice = "use another readout, or a network built like VGG"
        raise TraitlensError(Problem("layers of a residual network cannot be fine-tuned", advice))
    if len(features) != 1 or not any(layer.weight is not None for layer in layers):
        raise TraitlensError(
            Problem(
                "fine-tuning reads one tap with convolutions above it", "choose a lower tap in study.toml"
            )
        )
    ((space, values),) = features.items()
    matrix = arrange_targets(targets, folds[IMAGE])
    check_counts(matrix.names, matrix.ratings, folds)
    predicted = np.full(matrix.ratings.shape, np.nan)
    readouts, choices = {}, {}
    files: list[Path | None] = []
    groups = np.array([group for group, _ in matrix.names])
    for fold in sorted(int(number) for number in folds[FOLD].unique()):
        rows = np.flatnonzero((folds[FOLD] != fold).to_numpy())
        inside = np.flatnonzero((folds[FOLD] == fold).to_numpy())
        held = inner_folds(folds[IDENTITY].to_numpy()[rows], seed=seed) == 0
        for group in dict.fromkeys(groups):
            columns = np.flatnonzero(groups == group)
            ratings = matrix.ratings[np.ix_(rows, columns)]
            means, spreads = np.nanmean(ratings, axis=0), np.nanstd(ratings, axis=0)
            work = _TrainingData(
                values, rows, (ratings - means) / spreads, layers, tuning, seed, device, held
            )
            file = None if folder is None else Path(folder) / f"{work.digest()[:32]}.safetensors"
            tail, weight, epochs, error = _read_or_train(file, work)
            files.append(file)
            reference = tail.averages(values[rows]).mean(axis=0)
            averages = tail.averages(values[inside])
            for index, column in enumerate(columns):
                trait = matrix.names[column][1]
                readout = FinetunedReadout(
                    str(group), trait, fold, tail, (weight[index] * spreads[index]).astype(np.float32),
                    reference, float(means[index]), space,
                )  # fmt: skip
                predicted[inside, column] = readout.mean + (averages - reference) @ readout.weight
                readouts[column, fold] = readout
                choices[column, fold] = {
                    GROUP: group, TRAIT: trait, FOLD: fold, "epochs": epochs, "inner_error": error
                }  # fmt: skip
            if progress is not None:
                progress(len(columns))
    if folder is not None:
        _remove_old_networks(Path(folder), files)
    return FittedReadouts(
        readouts=tuple(readouts[key] for key in sorted(readouts)),
        predictions=tabulate_predictions(matrix, predicted, folds),
        choices=pd.DataFrame([choices[key] for key in sorted(choices)]),
        method="finetune",
    )


@dataclass(frozen=True, eq=False)
class _TrainingData:
    """Training data and settings of one network."""

    values: np.ndarray
    rows: np.ndarray
    wanted: np.ndarray
    layers: Sequence[Layer]
    tuning: Tuning
    seed: int
    device: str
    held: np.ndarray

    def digest(self) -> str:
        """Return a digest of the data and settings that determine the trained network."""
        layers = [
            (
                layer.name,
                *(None if part is None else part.cpu().numpy() for part in (layer.weight, layer.bias)),
            )
            for layer in self.layers
        ]
        values, bfloat16 = self.values[self.rows], computes_bfloat16(self.device)
        return digest(values, self.wanted, self.held, layers, self.tuning, self.seed, bfloat16)


def _read_or_train(file: Path | None, work: _TrainingData) -> tuple[Tail, np.ndarray, int, float]:
    """Read a trained network from its file, or train it and write the file."""
    if file is None:
        return _choose_and_train(work)
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    names = tuple(layer.name for layer in work.layers)
    try:
        tensors = load_file(file)
        weight, (epochs, error) = tensors.pop("head"), tensors.pop("choice")
        return Tail(names, tensors), weight, int(epochs), float(error)
    except (OSError, KeyError, SafetensorError):  # The file is missing or damaged.
        tail, weight, epochs, error = _choose_and_train(work)
    with atomic_write(file) as temporary:
        kept = {**tail.tensors, "head": weight, "choice": np.array([epochs, error])}
        save_file({name: np.ascontiguousarray(values) for name, values in kept.items()}, temporary)
    return tail, weight, epochs, error


def _remove_old_networks(folder: Path, files: Collection[Path | None]) -> None:
    """Remove the networks of earlier fits, keeping the given files."""
    for file in folder.glob("*.safetensors"):
        if file not in files:
            file.unlink(missing_ok=True)


def _choose_and_train(work: _TrainingData) -> tuple[Tail, np.ndarray, int, float]:
    """Choose the number of epochs on held-out identities, then train on all identities."""
    held = work.held
    errors = _train(work, np.flatnonzero(~held), work.tuning.most_epochs, np.flatnonzero(held))[2]
    epochs = int(np.argmin(errors)) + 1
    tail, weight, _ = _train(work, np.arange(len(held)), epochs)
    return tail, weight, epochs, float(errors[epochs - 1])


def _train(
    work: _TrainingData, rows: np.ndarray, epochs: int, held: np.ndarray | None = None
) -> tuple[Tail, np.ndarray, list[float]]:
    """Train layers and linear readout; return both, and the held-out error after each epoch."""
    import torch

    tuning, device = work.tuning, work.device
    random = torch.Generator().manual_seed(work.seed)
    layers = [
        (layer.name, [part.detach().to(device, torch.float32).clone().requires_grad_() for part in parts])
        for layer in work.layers
        if (parts := [part for part in (layer.weight, layer.bias) if part is not None])
    ]
    trained = dict(layers)
    wanted = torch.from_numpy(work.wanted.astype(np.float32)).to(device)

    def average(positions: np.ndarray, augment: bool) -> "torch.Tensor":
        values = torch.from_numpy(np.array(work.values[work.rows[positions]], np.float32))
        if augment:
            values = _augment(values, tuning.shift, random)
        values = values.to(device)
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=computes_bfloat16(device)):
            for layer in work.layers:
                values = _apply(trained.get(layer.name), values)
        return values.float().mean((2, 3))

    with torch.no_grad():
        start = torch.cat(
            [average(part, False) for part in np.array_split(rows, -(-len(rows) // tuning.batch))]
        )
        centre, spread = start.mean(0), start.std(0).mean().clamp(min=1e-6)
    head = torch.zeros(wanted.shape[1], len(centre), device=device, requires_grad=True)

    def predict(positions: np.ndarray, augment: bool) -> "torch.Tensor":
        return ((average(positions, augment) - centre) / spread) @ head.T

    optimiser = torch.optim.AdamW(
        [
            {"params": [part for _, parts in layers for part in parts], "lr": tuning.rate},
            {"params": [head], "lr": tuning.head_rate},
        ],
        weight_decay=tuning.decay,
    )
    errors = []
    for _ in range(epochs):
        order = rows[torch.randperm(len(rows), generator=random).numpy()]
        for positions in np.array_split(order, -(-len(order) // tuning.batch)):
            loss = _mean_squared_error(predict(positions, True), wanted[positions])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if held is not None:
            with torch.no_grad():
                errors.append(float(_mean_squared_error(predict(held, False), wanted[held])))
    tensors = {
        f"{name}.{part}": values.detach().cpu().contiguous().numpy()
        for name, parts in layers
        for part, values in zip(("weight", "bias"), parts, strict=True)
    }
    names = tuple(layer.name for layer in work.layers)
    return Tail(names, tensors), (head / spread).detach().cpu().numpy(), errors


def _apply(parts: "list[torch.Tensor] | None", values: "torch.Tensor") -> "torch.Tensor":
    """Apply a convolution with the given weight and bias; if there are none, max pooling."""
    from torch.nn import functional

    if parts is None:
        return functional.max_pool2d(values, 2, 2)
    return functional.conv2d(values, parts[0], parts[1], padding=1).relu()


def _augment(values: "torch.Tensor", shift: int, random: "torch.Generator") -> "torch.Tensor":
    """Mirror the features of each image at random, and shift the features of all images by the same cells."""
    import torch
    from torch.nn import functional

    mirrored = torch.rand(len(values), generator=random) < 0.5
    values = torch.where(mirrored[:, None, None, None], values.flip(3), values)
    down, across = (int(torch.randint(0, 2 * shift + 1, (), generator=random)) for _ in range(2))
    padded = functional.pad(values, (shift,) * 4, mode="replicate")
    rows, columns = values.shape[2:]
    return padded[:, :, down : down + rows, across : across + columns]


def _mean_squared_error(predicted: "torch.Tensor", wanted: "torch.Tensor") -> "torch.Tensor":
    """Return the mean squared error over rated images."""
    rated = wanted.isfinite()  # Missing ratings are left out first, because their gradient would be NaN.
    return ((predicted[rated] - wanted[rated]) ** 2).mean()


def computes_bfloat16(device: str) -> bool:
    """Return whether a device supports bfloat16.

    Returns
    -------
    bool
        True on graphics cards and processors with these instructions.
    """
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(torch.cpu._is_amx_tile_supported())

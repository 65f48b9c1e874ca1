"""The face detector and the face mesh network, run in torch.

The networks are BlazeFace short range (Bazarevsky et al. 2019, arXiv:1907.05047) and the attention mesh
(Grishchenko et al. 2020, arXiv:2006.10962) of MediaPipe 0.10.21. ``scripts/convert_face_models.py``
converted them; see ``models/NOTICE``.
"""

import functools
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from traitlens.problems import ModelError, Problem

if TYPE_CHECKING:
    import torch

DETECTOR: Final = "face_detection_short_range"
MESH: Final = "face_landmark_with_attention"

SHA256: Final[Mapping[str, str]] = {
    DETECTOR: "048087a3033a5feacd698399dc7e6b3294226ec1e88499dd423ed85b9cef0026",
    MESH: "9ce45d522d9e7b5c4f81f69c7a348afd2df319bff371b97f1c6dfb3677859e2b",
}
"""SHA-256 of the .npz file of each network."""

Operation = Mapping[str, Any]
Tensors = list["torch.Tensor"]
Constants = Mapping[str, "torch.Tensor"]


class Network:
    """A network that is read from a file of the package and run operation by operation.

    Parameters
    ----------
    name : str
        :data:`DETECTOR` or :data:`MESH`.

    Raises
    ------
    ModelError
        If the file is damaged.
    """

    def __init__(self, name: str):
        import torch

        file = resources.files("traitlens.faces") / "models" / f"{name}.npz"
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != SHA256[name]:
            raise ModelError(Problem("is damaged", "reinstall traitlens", f"{name}.npz"))
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            graph = json.loads(arrays["graph"].tobytes())
            self._constants = {
                key: torch.from_numpy(arrays[key].astype(np.float32))
                for key in arrays.files
                if key != "graph"
            }
        self._input: int = graph["input"]
        self._outputs: dict[str, int] = graph["outputs"]
        self._operations: list[Operation] = graph["operations"]

    @property
    def crops(self) -> list[list[int]]:
        """Mesh points around which the network crops its features for lips, left eye and right eye."""
        return [operation["around"] for operation in self._operations if operation["do"] == "find_crop"]

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on one image.

        Parameters
        ----------
        pixels : ndarray (row, column, 3)
            RGB, scaled to the range that the network expects.

        Returns
        -------
        dict of str to ndarray
            The outputs of the network by name.
        """
        import torch

        with torch.inference_mode():
            image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32))[None]
            values = {self._input: image}
            for operation in self._operations:
                inputs = [values[number] for number in operation["inputs"]]
                values[operation["output"]] = OPERATIONS[operation["do"]](inputs, operation, self._constants)
            return {name: values[number].numpy() for name, number in self._outputs.items()}


@functools.cache
def load_network(name: str) -> Network:
    """Return a network, which is read at the first call."""
    return Network(name)


class _Threads:
    """Number of threads to be restored by the last of the current users of :func:`single_thread`."""

    lock = threading.Lock()
    users = 0
    before = 1


@contextmanager
def single_thread() -> Iterator[None]:
    """Restrict torch to one thread in a `with` block, which is faster for small layers."""
    import torch

    with _Threads.lock:
        if _Threads.users == 0:
            _Threads.before = torch.get_num_threads()
            torch.set_num_threads(1)
        _Threads.users += 1
    try:
        yield
    finally:
        with _Threads.lock:
            _Threads.users -= 1
            if _Threads.users == 0:
                torch.set_num_threads(_Threads.before)


def _pad_same(
    values: "torch.Tensor", size: list[int], stride: list[int], fill: float = 0.0
) -> "torch.Tensor":
    """Pad as TensorFlow does for "same" convolutions, with an odd pixel at the right and at the bottom."""
    import torch

    by: list[int] = []
    for length, window, step in zip(
        reversed(values.shape[2:]), reversed(size), reversed(stride), strict=True
    ):
        total = max((-(-length // step) - 1) * step + window - length, 0)
        by += [total // 2, total - total // 2]
    return torch.nn.functional.pad(values, by, value=fill) if any(by) else values


def _convolve(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":
    import torch

    values, weight = inputs[0], constants[operation["weight"]]
    if operation["same"]:
        values = _pad_same(values, list(weight.shape[2:]), operation["stride"])
    return torch.nn.functional.conv2d(
        values, weight, constants[operation["bias"]], operation["stride"], groups=operation["groups"]
    )


def _prelu(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":
    import torch

    return torch.nn.functional.prelu(inputs[0], constants[operation["slope"]])


def _relu(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":  # noqa: ARG001
    return inputs[0].relu()


def _add(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":  # noqa: ARG001
    return inputs[0] + inputs[1]


def _multiply(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":
    return inputs[0] * constants[operation["by"]]


def _max_pool(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":  # noqa: ARG001
    import torch

    values = inputs[0]
    if operation["same"]:
        values = _pad_same(values, operation["size"], operation["stride"], -torch.inf)
    return torch.nn.functional.max_pool2d(values, operation["size"], operation["stride"])


def _pad(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":  # noqa: ARG001
    import torch

    return torch.nn.functional.pad(inputs[0], operation["by"])


def _reshape(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":  # noqa: ARG001
    """Reshape in the order of TensorFlow: row, column, channel."""
    values = inputs[0].permute(0, 2, 3, 1) if inputs[0].dim() == 4 else inputs[0]
    return values.reshape(operation["shape"])


def _concatenate(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":  # noqa: ARG001
    import torch

    return torch.cat(inputs, dim=operation["axis"])


def _find_crop(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":  # noqa: ARG001
    """Return the matrix to the image from a crop around mesh points that is level with two given points."""
    import torch

    points = inputs[0][0, :, :2]
    across = points[operation["right"]] - points[operation["left"]]
    along = across / across.norm()
    axes = torch.stack([along, torch.stack([-along[1], along[0]])])  # rows: the crop's x and y axis
    rotated = points[operation["around"]] @ axes.T
    low, high = rotated.amin(dim=0), rotated.amax(dim=0)
    size = torch.tensor(operation["size"], dtype=points.dtype)
    step = (high - low) * torch.tensor(operation["scale"], dtype=points.dtype) / size
    matrix = torch.eye(4, dtype=points.dtype)
    matrix[:2, :2] = axes.T * step
    matrix[:2, 3] = axes.T @ ((low + high) / 2) - matrix[:2, :2] @ (size / 2)
    return matrix[None]


def _crop(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":  # noqa: ARG001
    """Crop features by bilinear interpolation between pixel centres, with zeros outside."""
    import torch

    features, matrix = inputs[0], inputs[1][0]
    width, height = operation["size"]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    places = torch.stack([x, y], dim=-1) @ matrix[:2, :2].T + matrix[:2, 3]
    extent = torch.tensor([features.shape[3], features.shape[2]])
    return torch.nn.functional.grid_sample(features, (2 * places / extent - 1)[None], align_corners=False)


def _move_points(inputs: Tensors, operation: Operation, constants: Constants) -> "torch.Tensor":  # noqa: ARG001
    """Transform points from the coordinates of a crop to those of the image."""
    points, matrix = inputs[0], inputs[1][0]
    return points @ matrix[:2, :2].T + matrix[:2, 3]


OPERATIONS: Final[Mapping[str, Callable[[Tensors, Operation, Constants], "torch.Tensor"]]] = {
    "convolve": _convolve,
    "prelu": _prelu,
    "relu": _relu,
    "add": _add,
    "multiply": _multiply,
    "max_pool": _max_pool,
    "pad": _pad,
    "reshape": _reshape,
    "concatenate": _concatenate,
    "find_crop": _find_crop,
    "crop": _crop,
    "move_points": _move_points,
}
"""Function for each operation in the files of the networks."""

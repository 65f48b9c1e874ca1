"""Settings of the network and of the machine that it runs on: device, precision and parallelism."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from traitlens.features.backbone import Backbone, load_backbone
from traitlens.features.backbone_catalogue import list_custom_backbones
from traitlens.features.weights import vgg16_file


@dataclass(frozen=True)
class Machine:
    """Settings of the network and of the machine that it runs on.

    Parameters
    ----------
    device : str, default "cpu"
        "cpu", "cuda", "mps" or "auto".
    precision : str, default "float32"
        "float32" or "bf16".
    weights : Path or None
        File with the weights of the backbone; found or downloaded if None.
    workers : int or None
        Number of worker processes on this machine (needs Dask); threads of one process if None.
    scheduler : str or None
        Address of a Dask scheduler, such as "tcp://10.0.0.1:8786".
    divide_by : float, default 1
        Number by which the network input is divided; 255 in the protocol of Cao et al. (2023).
    backbone_name : str, default "vgg16"
        Name of the network.
    """

    device: str = "cpu"
    precision: str = "float32"
    weights: Path | None = None
    workers: int | None = None
    scheduler: str | None = None
    divide_by: float = 1.0
    backbone_name: str = "vgg16"

    def backbone(self, announce: Callable[[str], None] = lambda text: None) -> Backbone:
        """Return the network; it is loaded once in each process, and again if its file has changed.

        Parameters
        ----------
        announce : callable
            Called with a line of text before a slow step.

        Returns
        -------
        Backbone
            The network on this device and in this precision.

        Raises
        ------
        TraitlensError
            If the weights, the device or the precision are not available.
        """
        key = (self, self._file_state())
        if key not in _loaded:
            _loaded.clear()  # keep one network, since it may fill the memory of a graphics card
            backbone = load_backbone(self.backbone_name, self.weights, announce)
            backbone = backbone.to(self.device, self.precision)
            if self.divide_by != 1:
                divided = replace(backbone.preprocessing, divide_by=(self.divide_by,) * 3)
                backbone = replace(backbone, preprocessing=divided)
            key = (self, self._file_state())  # again, since loading may have downloaded the file
            _loaded[key] = backbone
        return _loaded[key]

    def _file_state(self) -> tuple[Path, int, int] | None:
        """Return path, modification time and size of the file of weights; None if it does not exist."""
        file = self.weights
        if file is None:
            name = self.backbone_name
            file = vgg16_file() if name == "vgg16" else list_custom_backbones().get(name)
        if file is None or not file.exists():
            return None
        state = file.stat()
        return file, state.st_mtime_ns, state.st_size


_loaded: dict[tuple[Machine, tuple[Path, int, int] | None], Backbone] = {}


def time_forward(machine: Machine, size: int, layers: Collection[str]) -> float:
    """Measure the time in seconds that one thread takes for a forward pass of one image.

    Parameters
    ----------
    machine : Machine
        Device and precision of the network.
    size : int
        Side of the image in pixels.
    layers : collection of str
        Names of the layers that are needed; deeper layers are not computed.
    """
    import torch

    backbone = machine.backbone()
    image = np.zeros((1, size, size, 3), np.uint8)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for _ in range(2):
            start = time.perf_counter()
            backbone.activations(image, layers)
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return min(times)

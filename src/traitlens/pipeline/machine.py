"""Where and how the network is run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Where and how the network is run; numbers agree between machines within a stated tolerance.

    Parameters
    ----------
    device : str, default "cpu"
        "cpu", "cuda", "mps" or "auto".
    precision : str, default "float32"
        "float32" or "bf16".
    weights : Path or None
        A file with the backbone's weights.
    """

    device: str = "cpu"
    precision: str = "float32"
    weights: Path | None = None

"""The readouts by name, as settings, command line and documentation call them."""

from collections.abc import Callable

from traitlens.problems import unknown_choice
from traitlens.readouts.cao2023 import fit_cao2023
from traitlens.readouts.dense import fit_dense
from traitlens.readouts.fitted import FittedReadouts
from traitlens.readouts.ridge import fit_ridge
from traitlens.readouts.tuning import fit_finetune

READOUTS: dict[str, Callable[..., FittedReadouts]] = {
    "ridge": fit_ridge,
    "dense": fit_dense,
    "cao2023": fit_cao2023,
    "finetune": fit_finetune,
}
"""Each takes features, targets, folds, seed and progress, and options of its own; returns FittedReadouts."""


def find_readout(name: str) -> Callable[..., FittedReadouts]:
    """Find a readout by name.

    Parameters
    ----------
    name : str
        One of :data:`READOUTS`.

    Returns
    -------
    callable
        The function that fits it.

    Raises
    ------
    TraitlensError
        If there is no such readout.

    Examples
    --------
    >>> find_readout("ridge").__name__
    'fit_ridge'
    """
    if name not in READOUTS:
        raise unknown_choice("readout", name, READOUTS)
    return READOUTS[name]

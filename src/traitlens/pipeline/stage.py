"""How a stage is declared: its inputs, outputs, conditions and cost."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from traitlens.artifacts import Artifact
from traitlens.pipeline.context import Context

Input = str | Artifact
"""An input of a stage: a name in :data:`traitlens.pipeline.context.INPUTS`, a setting, or a file."""

Outputs = Callable[[Context], tuple[Artifact, ...]]


@dataclass(frozen=True)
class Cost:
    """Estimated cost of a stage.

    Parameters
    ----------
    passes : float, default 0
        Work that is divided among workers, in forward passes of one image.
    seconds : float, default 0
        Time of all other work.
    memory, disk : float, default 0
        Memory used by the stage, and size of its files, in bytes.
    advice : str
        Settings to change if memory or disk do not suffice.
    """

    passes: float = 0.0
    seconds: float = 0.0
    memory: float = 0.0
    disk: float = 0.0
    advice: str = ""


def _never_left_out(_context: Context) -> str | None:
    return None


def _no_cost(_context: Context) -> Cost:
    return Cost()


def _one_step(_context: Context) -> int:
    return 1


@dataclass(frozen=True)
class Stage:
    """A stage of the analysis, as declared in the flow.

    Parameters
    ----------
    name, label : str
        Name in ``traitlens status`` and in records; label of the progress bar.
    make : str
        Function of :mod:`traitlens.pipeline.stages` that writes the outputs, as "module.function". It is
        imported only when the stage runs, since it may need torch or matplotlib.
    inputs : tuple
        Everything that the outputs depend on; the function cannot read anything else.
    outputs : tuple of Artifact, or callable
        All files that the stage writes, or a function of the context if they depend on settings.
    left_out : callable
        Function of the context: the reason why the stage is left out, or None.
    cost, steps : callable
        Functions of the context: the estimated cost, and the length of the progress bar.
    version : int, default 1
        Increased when the same inputs lead to other outputs than before.
    on_request : bool, default False
        If True, the stage is made only by commands that ask for it.
    """

    name: str
    label: str
    make: str
    inputs: tuple[Input, ...]
    outputs: tuple[Artifact, ...] | Outputs
    left_out: Callable[[Context], str | None] = _never_left_out
    cost: Callable[[Context], Cost] = _no_cost
    steps: Callable[[Context], int] = _one_step
    version: int = 1
    on_request: bool = False

    def outputs_of(self, context: Context) -> tuple[Artifact, ...]:
        """Return the files that the stage writes for a study."""
        return self.outputs(context) if callable(self.outputs) else self.outputs

    @property
    def input_files(self) -> tuple[Artifact, ...]:
        """Inputs that are files written by other stages."""
        return tuple(one for one in self.inputs if isinstance(one, Artifact))

    def load(self) -> Callable[[Any], None]:
        """Import and return the function that writes the stage's outputs."""
        module, _, function = self.make.rpartition(".")
        loaded: Callable[[Any], None] = getattr(
            import_module(f"traitlens.pipeline.stages.{module}"), function
        )
        return loaded

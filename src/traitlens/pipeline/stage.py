"""Declaration of a stage: inputs, outputs, conditions and cost."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from traitlens.artifacts import Artifact
from traitlens.pipeline.context import Context

Input = str | Artifact
"""A name of :data:`traitlens.pipeline.context.INPUTS`, a setting ("settings.seed") or a file."""

Outputs = Callable[[Context], tuple[Artifact, ...]]


@dataclass(frozen=True)
class Cost:
    """Cost of a stage.

    Parameters
    ----------
    passes : float, default 0
        Work shared among workers, in forward passes of one image.
    seconds : float, default 0
        Other time.
    memory, disk : float, default 0
        Bytes of memory while it runs, and bytes of its files.
    advice : str
        Advice if memory or disk do not suffice.
    """

    passes: float = 0.0
    seconds: float = 0.0
    memory: float = 0.0
    disk: float = 0.0
    advice: str = ""


def _never(_context: Context) -> str | None:
    return None


def _free(_context: Context) -> Cost:
    return Cost()


def _one(_context: Context) -> int:
    return 1


@dataclass(frozen=True)
class Stage:
    """A stage of the analysis.

    Parameters
    ----------
    name : str
        Its row of ``traitlens status``.
    make : str
        Function of :mod:`traitlens.pipeline.stages` that writes the outputs, as "module.function"; imported
        when the stage is run, so that the plan loads neither torch nor matplotlib.
    inputs : tuple
        Inputs of the outputs; the function cannot read anything else.
    outputs : tuple of Artifact, or callable
        All files that it writes, or a function of the context if they depend on settings.
    left_out : callable
        Returns why the stage is left out, or None.
    steps : callable
        Returns the length of the progress bar.
    version : int, default 1
        Raised when the same inputs give other outputs than before.
    on_request : bool, default False
        Whether a plain run leaves it out where it is not current.
    """

    name: str
    label: str
    make: str
    inputs: tuple[Input, ...]
    outputs: tuple[Artifact, ...] | Outputs
    left_out: Callable[[Context], str | None] = _never
    cost: Callable[[Context], Cost] = _free
    steps: Callable[[Context], int] = _one
    version: int = 1
    on_request: bool = False

    def outputs_of(self, context: Context) -> tuple[Artifact, ...]:
        """Return the files that the stage writes."""
        return self.outputs(context) if callable(self.outputs) else self.outputs

    @property
    def after(self) -> tuple[Artifact, ...]:
        """Its inputs that are results of other stages."""
        return tuple(one for one in self.inputs if isinstance(one, Artifact))

    def load(self) -> Callable[[Any], None]:
        """Import the function that makes the stage."""
        module, _, function = self.make.rpartition(".")
        loaded: Callable[[Any], None] = getattr(
            import_module(f"traitlens.pipeline.stages.{module}"), function
        )
        return loaded

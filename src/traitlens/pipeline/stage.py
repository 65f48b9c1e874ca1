"""A stage of the flow as a value: what it reads, what it writes, when it is left out and what it costs."""

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
    """What a stage takes.

    Parameters
    ----------
    passes : float, default 0
        Work that is shared among workers, in forward passes of one image.
    seconds : float, default 0
        Other time.
    memory, disk : float, default 0
        Bytes while it runs, and bytes that it leaves.
    advice : str
        What to change where memory or disk is too small.
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
    """One step from a study to its report.

    Parameters
    ----------
    name : str
        Its row of ``traitlens status``.
    make : str
        Function of :mod:`traitlens.pipeline.stages` that writes the outputs, as "module.function"; imported
        when the stage is run, so that the plan loads neither torch nor plotting.
    inputs : tuple
        What the outputs depend on; the function can read nothing else.
    outputs : tuple of Artifact, or callable
        The files that it writes, all of them and no others; of a context where settings decide.
    left_out : callable
        Returns why the stage is left out, or None where it is wanted.
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
        """The results of other stages that it reads."""
        return tuple(one for one in self.inputs if isinstance(one, Artifact))

    def load(self) -> Callable[[Any], None]:
        """Import the function that makes the stage.

        Returns
        -------
        callable
            The function; takes a :class:`~traitlens.pipeline.stage_io.StageIO`.
        """
        module, _, function = self.make.rpartition(".")
        loaded: Callable[[Any], None] = getattr(
            import_module(f"traitlens.pipeline.stages.{module}"), function
        )
        return loaded

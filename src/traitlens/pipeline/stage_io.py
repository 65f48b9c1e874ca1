"""Access of a stage's function to the inputs and outputs that the stage declares."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from traitlens.artifacts import Artifact
from traitlens.computing.engines import Engine
from traitlens.computing.machine import Machine
from traitlens.digests import digest
from traitlens.pipeline.context import Context
from traitlens.pipeline.stage import Input, Stage
from traitlens.progress import Advance
from traitlens.storage import BlockStore, write_json, write_table

if TYPE_CHECKING:
    from traitlens.features.backbone import Backbone


class StageIO:
    """Read the inputs and write the outputs of one stage; undeclared ones raise an error.

    Parameters
    ----------
    context : Context
        Study and results folder.
    stage : Stage
        The stage that declares the inputs and outputs.
    engine : callable
        Function that returns the engine to compute blocks of images.
    advance : callable
        Function that is called with the number of steps just finished.
    """

    def __init__(self, context: Context, stage: Stage, engine: Callable[[], Engine], advance: Advance):
        self._context, self._stage, self._engine = context, stage, engine
        self.advance = advance
        self.read_inputs: set[str] = set()
        self._outputs = stage.outputs_of(context)

    @property
    def results(self) -> Path:
        """The results folder."""
        return self._context.results

    @property
    def machine(self) -> Machine:
        """Device, precision and parallelism of the network."""
        return self._context.machine

    @cached_property
    def backbone(self) -> "Backbone":
        """The network, with its weights loaded."""
        self._check_declared("backbone")
        return self.machine.backbone(self._context.watcher.say)

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Number of channels and stride of each layer of the network, by name."""
        self._check_declared("backbone")
        shapes: Mapping[str, tuple[int, int]] = self._context.backbone_facts.shapes
        return shapes

    @cached_property
    def engine(self) -> Engine:
        """The engine that computes blocks of images."""
        engine: Engine = self._engine()
        return engine

    def _check_declared(self, one: Input) -> None:
        if one not in self._stage.inputs:
            raise RuntimeError(f"stage {self._stage.name!r} does not declare that it reads {one!r}")
        self.read_inputs.add(one if isinstance(one, str) else one.path)

    def value(self, name: str) -> Any:
        """Return an input that is not a file, as :meth:`Context.value` does."""
        self._check_declared(name)
        return self._context.value(name)

    def has(self, artifact: Artifact) -> bool:
        """Return whether a file of an earlier stage exists; it does not if that stage was left out."""
        return self.file(artifact).exists()

    def read(self, artifact: Artifact) -> Any:
        """Read a file that an earlier stage wrote."""
        self._check_declared(artifact)
        return artifact.read(self.results)

    def file(self, artifact: Artifact) -> Path:
        """Return the absolute path of an input or output file, for workers that access it in blocks."""
        if artifact not in self._outputs:
            self._check_declared(artifact)
        return artifact.of(self.results).resolve()

    def write(
        self, artifact: Artifact, value: pd.DataFrame | Iterable[pd.DataFrame] | dict[str, Any]
    ) -> None:
        """Write an output: a table (whole or as successive pieces) or a JSON object."""
        if artifact not in self._outputs:
            raise RuntimeError(f"stage {self._stage.name!r} does not declare that it writes {artifact.path}")
        write = write_json if artifact.path.endswith(".json") else write_table
        write(artifact.of(self.results), value)

    @cached_property
    def blocks(self) -> BlockStore:
        """Blocks of images already computed for this stage and its inputs, also by a killed run."""
        stage = self._stage
        inputs = [(str(one), self._context.digest(one)) for one in stage.inputs]
        blocks = BlockStore(self.results, stage.name, digest(stage.version, inputs))
        blocks.remove_others()
        return blocks

"""Access of stage functions to their declared inputs and outputs."""

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
    """Inputs and outputs of one stage; undeclared ones raise an error.

    Parameters
    ----------
    engine : callable
        Returns the engine that computes blocks of images.
    advance : callable
        Called with the number of steps done.
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
        """The loaded network."""
        self._declared("backbone")
        return self.machine.backbone(self._context.watcher.say)

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Channels and stride of each layer of the network."""
        self._declared("backbone")
        shapes: Mapping[str, tuple[int, int]] = self._context.backbone_facts.shapes
        return shapes

    @cached_property
    def engine(self) -> Engine:
        """The engine that computes blocks of images."""
        engine: Engine = self._engine()
        return engine

    def _declared(self, one: Input) -> None:
        if one not in self._stage.inputs:
            raise RuntimeError(f"stage {self._stage.name!r} does not declare that it reads {one!r}")
        self.read_inputs.add(one if isinstance(one, str) else one.path)

    def value(self, name: str) -> Any:
        """Return an input of the study.

        Parameters
        ----------
        name : str
            A name of :data:`traitlens.pipeline.context.INPUTS`, or a setting ("settings.seed").
        """
        self._declared(name)
        return self._context.value(name)

    def has(self, artifact: Artifact) -> bool:
        """Return whether a file of an earlier stage exists.

        Returns
        -------
        bool
            False if its stage was left out.
        """
        return self.file(artifact).exists()

    def read(self, artifact: Artifact) -> Any:
        """Read a file of an earlier stage."""
        self._declared(artifact)
        return artifact.read(self.results)

    def file(self, artifact: Artifact) -> Path:
        """Return the path of a file, for workers that read or write it in blocks.

        Returns
        -------
        Path
            Absolute, since workers may have another working folder.
        """
        if artifact not in self._outputs:
            self._declared(artifact)
        return artifact.of(self.results).resolve()

    def write(
        self, artifact: Artifact, value: pd.DataFrame | Iterable[pd.DataFrame] | dict[str, Any]
    ) -> None:
        """Write a table or a JSON object.

        Parameters
        ----------
        value : DataFrame, iterable of DataFrame or dict
            The table, its parts, or the object.
        """
        if artifact not in self._outputs:
            raise RuntimeError(f"stage {self._stage.name!r} does not declare that it writes {artifact.path}")
        write = write_json if artifact.path.endswith(".json") else write_table
        write(artifact.of(self.results), value)

    @cached_property
    def blocks(self) -> BlockStore:
        """Blocks of this stage, possibly left by a killed run with the same inputs."""
        stage = self._stage
        inputs = [(str(one), self._context.digest(one)) for one in stage.inputs]
        blocks = BlockStore(self.results, stage.name, digest(stage.version, inputs))
        blocks.remove_others()
        return blocks

"""Run the stages that are stale or missing, in the order of the flow."""

import errno
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from traitlens import storage
from traitlens.artifacts import ARTIFACTS
from traitlens.computing.engines import Engine, open_engine
from traitlens.locking import Lock
from traitlens.memory import release_memory, reuse_memory
from traitlens.pipeline.context import Context
from traitlens.pipeline.flow import FLOW
from traitlens.pipeline.plan import plan_stage
from traitlens.pipeline.request import write_request
from traitlens.pipeline.stage import Stage
from traitlens.pipeline.stage_io import StageIO
from traitlens.problems import Problem, TraitlensError
from traitlens.records import Record


class Runner:
    """Run stages in a results folder, which is locked against other processes.

    Raises
    ------
    TraitlensError
        If the folder cannot be written, or another process has locked it.
    """

    def __init__(self, context: Context):
        reuse_memory()
        self.context = context
        _refuse_other_files(context.results)
        self._engine: Engine | None = None
        try:
            context.results.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(context.results)
            weakref.finalize(self, self._lock.release)
            storage.remove_partial(context.results)
            write_request(context)
            self._remove_unrecorded()
        except OSError as error:
            advice = "choose another --out"
            problem = Problem(f"cannot be written ({error.strerror})", advice, str(context.results))
            raise TraitlensError(problem) from error

    def make(self, until: str | None = None) -> None:
        """Run stages that are stale or missing, and remove the files of stages that are left out.

        Parameters
        ----------
        until : str or None
            Name of the last stage; all if None.

        Raises
        ------
        TraitlensError
            If an input is invalid, or memory or disk do not suffice; finished stages are kept.
        """
        for stage in FLOW:
            planned = plan_stage(self.context, stage)
            if planned.damaged:
                self.context.watcher.say(f"{planned.reason}; made again")
            if planned.state == "left out":
                self._remove_outputs(stage)
            elif planned.will_be_made:
                self._run_stage(stage)
            if stage.name == until:
                break

    def _run_stage(self, stage: Stage) -> None:
        """Run one stage, and record the digests of its inputs and outputs."""
        context, start = self.context, time.perf_counter()
        self._remove_outputs(stage, but={output.path for output in stage.outputs_of(context)})
        with (
            self._explain_disk_errors(stage.label),
            context.watcher.stage(stage.label, stage.steps(context)) as advance,
        ):
            work = StageIO(context, stage, self.engine, advance)
            stage.load()(work)
            self._refuse_lost_lock()
            outputs = [output.path for output in stage.outputs_of(context)]
            context.forget(*outputs, "given_landmarks" if stage.name == "landmarks" else "")
            record = Record(
                stage.version,
                {one if isinstance(one, str) else one.path: context.digest(one) for one in stage.inputs},
                {path: context.digest(ARTIFACTS[path]) for path in outputs},
                round(time.perf_counter() - start, 2),
                time.time(),
            )
            missing = [path for path, found in record.outputs.items() if not found]
            if missing:
                raise RuntimeError(f"stage {stage.name!r} did not write {', '.join(missing)}")
            if "blocks" in work.__dict__:
                work.blocks.remove()
            context.records.write(stage.name, record)
        if stage.name == "landmarks":
            release_memory()  # of the decoded photographs

    def _refuse_lost_lock(self) -> None:
        """Raise an error if this process no longer holds the lock of the results folder."""
        if not self._lock.is_held():
            advice = "wait until no other run works here, then run the same command again"
            what = "stopped: another run took over this results folder, or its lock was deleted"
            raise TraitlensError(Problem(what, advice, str(self.context.results)))

    def _remove_outputs(self, stage: Stage, but: frozenset[str] | set[str] = frozenset()) -> None:
        """Remove the record of a stage and the files that it lists, except those in `but`."""
        record = self.context.records.read(stage.name)
        self.context.records.remove(stage.name)
        for path in record.outputs if record is not None else {}:
            if path in ARTIFACTS and path not in but:
                storage.remove(ARTIFACTS[path].of(self.context.results))
                self.context.forget(path)

    def _remove_unrecorded(self) -> None:
        """Remove result files that no record lists, left by a killed run or by an earlier version."""
        recorded = {path for _, record in self.context.records for path in record.outputs}
        for path, artifact in ARTIFACTS.items():
            if path not in recorded:
                storage.remove(artifact.of(self.context.results))

    @contextmanager
    def _explain_disk_errors(self, label: str) -> Iterator[None]:
        """Convert disk errors to one message that names the stage and the file and says what to do."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            advice = "free some space" if full else "check the disk"
            raise TraitlensError(
                Problem(
                    f"{label[:1].lower()}{label[1:]} stopped: {error.strerror or error}",
                    f"{advice} and run the same command again; finished work is kept",
                    str(error.filename or self.context.results),
                )
            ) from error

    def engine(self) -> Engine:
        """Return the engine that computes blocks of images; start it if necessary."""
        if self._engine is None:
            self._engine = open_engine(self.context.machine)
        return self._engine

    def close(self) -> None:
        """Stop the workers and release the results folder."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        results: Path = self.context.results
        if results.is_dir():
            storage.remove_partial(results)
        self._lock.release()


def _refuse_other_files(results: Path) -> None:
    """Raise an error if a folder contains other files than results, since a run removes files."""
    try:
        ours = not results.exists() or (results / ".cache").is_dir() or not any(results.iterdir())
    except OSError as error:
        advice = "choose another --out"
        raise TraitlensError(
            Problem(f"cannot be written ({error.strerror})", advice, str(results))
        ) from error
    if not ours:
        advice = "choose a new or empty folder for --out"
        raise TraitlensError(Problem("contains files that are not results", advice, str(results)))

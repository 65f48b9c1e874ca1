"""Compute the state of each stage (current, stale, missing or left out) and its reason.

No network is loaded.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from traitlens.artifacts import Artifact
from traitlens.pipeline.context import Context
from traitlens.pipeline.flow import FLOW
from traitlens.pipeline.stage import Stage

State = Literal["current", "stale", "missing", "left out"]


@dataclass(frozen=True)
class Planned:
    """A stage and its state in a results folder.

    Parameters
    ----------
    state : {"current", "stale", "missing", "left out"}
        "stale" if its inputs or settings have changed since it was made, or its files were altered.
    reason : str
        Why the stage is stale or left out.
    damaged : bool
        Whether one of its files was altered after it was written.
    """

    stage: Stage
    state: State
    reason: str = ""
    damaged: bool = False

    @property
    def will_be_made(self) -> bool:
        """Whether the next run will make this stage."""
        return self.state in ("stale", "missing")


def plan(context: Context, flow: Sequence[Stage] = FLOW) -> Iterator[Planned]:
    """Compute the state of every stage, in the order of the flow.

    Yields
    ------
    Planned
        The state of the next stage; a stage is also stale if one of its inputs will be made again.
    """
    awaited: set[str] = set()
    for stage in flow:
        planned = plan_stage(context, stage, awaited)
        record = context.records.read(stage.name)
        if planned.will_be_made:
            awaited |= {output.path for output in stage.outputs_of(context)}
        elif planned.state == "left out" and record is not None:
            awaited |= set(record.outputs)  # a run removes them
        yield planned


def plan_stage(context: Context, stage: Stage, awaited: Collection[str] = ()) -> Planned:
    """Compute the state of one stage.

    Parameters
    ----------
    awaited : collection of str
        Paths of files that earlier stages will make again or remove.
    """
    planned = _compute_state(context, stage, awaited)
    if stage.on_request and context.check_images is None and planned.will_be_made:
        planned = Planned(stage, "left out", "made on request by `traitlens sanity`")
    context.reasons.pop(stage.name, None)
    context.forget("reasons")
    if planned.state == "left out":
        context.reasons[stage.name] = {
            "stage": stage.name,
            "label": stage.label,
            "reason": planned.reason,
        }
    return planned


def _compute_state(context: Context, stage: Stage, awaited: Collection[str]) -> Planned:
    """Compute a stage's state: compare its recorded inputs and files with the present ones."""
    reason = stage.left_out(context)
    if reason is not None:
        return Planned(stage, "left out", reason)
    record = context.records.read(stage.name)
    if record is None:
        return Planned(stage, "missing")
    remade = [one.path for one in stage.input_files if one.path in awaited]
    if remade:
        return Planned(stage, "stale", f"inputs will be made again or removed: {', '.join(remade)}")
    changed = [_input_name(one) for one in stage.inputs if _has_changed(context, one, record.inputs)]
    changed += ["version"] * (record.version != stage.version)
    changed += ["inputs"] * ({_input_name(one) for one in stage.inputs} != set(record.inputs))
    if changed:
        return Planned(stage, "stale", f"changed: {', '.join(dict.fromkeys(changed))}")
    wanted = {output.path: output for output in stage.outputs_of(context)}
    if set(wanted) != set(record.outputs):
        return Planned(stage, "stale", "its list of files has changed")
    damaged = [path for path, one in wanted.items() if context.digest(one) != record.outputs[path]]
    if damaged:
        return Planned(stage, "stale", f"changed after it was written: {', '.join(damaged)}", damaged=True)
    return Planned(stage, "current")


def _input_name(one: str | Artifact) -> str:
    return one if isinstance(one, str) else one.path


def _has_changed(context: Context, one: str | Artifact, recorded: Mapping[str, str]) -> bool:
    """Return whether an input has another digest than the recorded one."""
    if one == "check_images" and context.check_images is None:
        return False  # this run does not ask for checks of maps
    return _input_name(one) in recorded and context.digest(one) != recorded[_input_name(one)]

"""State of all stages: current, stale, missing or left out, with the reason; loads no network."""

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
    """A stage and its state.

    Parameters
    ----------
    state : {"current", "stale", "missing", "left out"}
        "stale" if it was made from other inputs or settings, or its files have changed.
    reason : str
        What changed, or why it is left out.
    damaged : bool
        Whether one of its files has changed since it was written.
    """

    stage: Stage
    state: State
    reason: str = ""
    damaged: bool = False

    @property
    def will_be_made(self) -> bool:
        """Whether a run will make it."""
        return self.state in ("stale", "missing")


def plan(context: Context, flow: Sequence[Stage] = FLOW) -> Iterator[Planned]:
    """Compute the state of every stage, in order.

    Yields
    ------
    Planned
        A stage and its state. A stage is also stale if one of its inputs will be made again.
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
        Paths of files that earlier stages will make, or that will be removed.
    """
    planned = _compare(context, stage, awaited)
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


def _compare(context: Context, stage: Stage, awaited: Collection[str]) -> Planned:
    """Compare the recorded inputs of a stage with the current ones."""
    reason = stage.left_out(context)
    if reason is not None:
        return Planned(stage, "left out", reason)
    record = context.records.read(stage.name)
    if record is None:
        return Planned(stage, "missing")
    remade = [one.path for one in stage.after if one.path in awaited]
    if remade:
        return Planned(stage, "stale", f"to be made again or removed: {', '.join(remade)}")
    changed = [_name(one) for one in stage.inputs if _differs(context, one, record.inputs)]
    changed += ["version"] * (record.version != stage.version)
    changed += ["inputs"] * ({_name(one) for one in stage.inputs} != set(record.inputs))
    if changed:
        return Planned(stage, "stale", f"changed: {', '.join(dict.fromkeys(changed))}")
    wanted = {output.path: output for output in stage.outputs_of(context)}
    if set(wanted) != set(record.outputs):
        return Planned(stage, "stale", "other files are needed")
    damaged = [path for path, one in wanted.items() if context.digest(one) != record.outputs[path]]
    if damaged:
        return Planned(stage, "stale", f"changed after it was written: {', '.join(damaged)}", damaged=True)
    return Planned(stage, "current")


def _name(one: str | Artifact) -> str:
    return one if isinstance(one, str) else one.path


def _differs(context: Context, one: str | Artifact, recorded: Mapping[str, str]) -> bool:
    """Return whether an input differs from the recorded one."""
    if one == "check_images" and context.check_images is None:
        return False  # not requested in this run
    return _name(one) in recorded and context.digest(one) != recorded[_name(one)]

"""The flow from a study to its report.

:mod:`~traitlens.pipeline.flow` lists its stages; :mod:`~traitlens.pipeline.plan` computes which of them are
current, stale, missing or left out; :mod:`~traitlens.pipeline.run` makes them; the functions of the stages
are in :mod:`traitlens.pipeline.stages`. Inputs and outputs of stages are recorded by digest, so that a
stopped run resumes, and after a change of an input only what depends on it is made again.
"""

from traitlens.pipeline.context import Context
from traitlens.pipeline.flow import FLOW
from traitlens.pipeline.plan import Planned, plan
from traitlens.pipeline.stage import Cost, Stage
from traitlens.pipeline.study_check import check

__all__ = ["FLOW", "Context", "Cost", "Planned", "Stage", "check", "plan"]

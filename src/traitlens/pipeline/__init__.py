"""Computation of a results folder from a study, in stages.

:mod:`~traitlens.pipeline.flow` lists the stages; :mod:`~traitlens.pipeline.plan` computes which of them are
current, stale, missing or left out; :mod:`~traitlens.pipeline.run` runs them; the functions of the stages
are in :mod:`traitlens.pipeline.stages`. Digests of the inputs and outputs of each stage are recorded. A
stopped run can therefore resume, and after a change only the stages that depend on it are run again.
"""

from traitlens.pipeline.context import Context
from traitlens.pipeline.flow import FLOW
from traitlens.pipeline.plan import Planned, plan
from traitlens.pipeline.stage import Cost, Stage
from traitlens.pipeline.study_check import check

__all__ = ["FLOW", "Context", "Cost", "Planned", "Stage", "check", "plan"]

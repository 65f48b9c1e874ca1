"""The flow from a study to its report.

:mod:`~traitlens.pipeline.flow` lists its stages; :mod:`~traitlens.pipeline.plan` computes which of them are
current, stale, missing or left out; :mod:`~traitlens.pipeline.run` makes them; the functions that do so are
in :mod:`traitlens.pipeline.stages`. What a stage reads and writes is recorded by digest, so that a second run
resumes where the first one stopped, and a changed input makes again only what depends on it.
"""

from traitlens.pipeline.context import Context
from traitlens.pipeline.flow import FLOW
from traitlens.pipeline.plan import Planned, plan
from traitlens.pipeline.stage import Cost, Stage
from traitlens.pipeline.study_check import check

__all__ = ["FLOW", "Context", "Cost", "Planned", "Stage", "check", "plan"]

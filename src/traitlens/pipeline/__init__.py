"""The flow from a study to a report; the only room that knows every other.

Comes in: a study's folder. Goes out: its results folder. A :class:`Run` takes the one to the other stage by
stage: prepare, rate, features, fit, explain, regions, compare, report. Each stage is a function of its inputs
and settings. What it makes is recorded under the digest of both, so that a second run starts where the first
one stopped, and a change of one setting makes only what depends on it again.
"""

from traitlens.pipeline.answers import find_poor_answers
from traitlens.pipeline.machine import Machine
from traitlens.pipeline.run import Run
from traitlens.pipeline.sanity import check_maps
from traitlens.pipeline.whole import check, run

__all__ = ["Machine", "Run", "check", "check_maps", "find_poor_answers", "run"]

"""Prediction of impressions of faces, relevance maps that explain them, and comparison of groups of raters.

Predictions are impressions that raters would form, never facts about the person shown.

Public functions are imported on first use, so that importing the package is fast:

>>> import traitlens as tl
>>> study = tl.Study.load("mystudy")  # doctest: +SKIP
>>> models = tl.fit(study)  # doctest: +SKIP
>>> maps = tl.explain(models, study)  # doctest: +SKIP
>>> difference = tl.compare(models, maps, study)  # doctest: +SKIP
>>> tl.write_report(study, models, maps, difference, "report.html")  # doctest: +SKIP
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Study": "traitlens.study.reading",
    "check": "traitlens.pipeline",
    "run": "traitlens.api",
    "Run": "traitlens.api",
    "analyze": "traitlens.relevance.attribution",
    "fit": "traitlens.api",
    "explain": "traitlens.api",
    "compare": "traitlens.api",
    "write_report": "traitlens.api",
    "draw_figure": "traitlens.report.figures",
}

__all__ = [
    "Run",
    "Study",
    "__version__",
    "analyze",
    "check",
    "compare",
    "draw_figure",
    "explain",
    "fit",
    "run",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'traitlens' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

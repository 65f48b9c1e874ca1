"""Preregistered analysis plan: frozen before groups are compared, and later compared with the analysis."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from traitlens.collecting.transactions import now
from traitlens.digests import digest, digest_file
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import write_json
from traitlens.study.settings import Settings
from traitlens.study.settings_file import read_settings

PLAN = "plan.json"
EXPERIMENT_FILES = ("pictures.csv", "predicted.csv", "lists.csv")
"""Tables of an experiment with altered faces, whose digests are part of the plan."""

FILES = "files"
PLANNED, ADDED, CHANGED, NOT_DONE = "planned", "added", "changed", "planned, not done"


def freeze_plan(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Freeze a study's analysis plan; if a frozen plan exists, compare it with the settings.

    Parameters
    ----------
    folder : Path
        The study folder. The plan is written to `plan.json`, with the time and a digest of its content, and
        is never replaced.

    Returns
    -------
    plan : dict
        The frozen plan: frozen (time, UTC), digest and content.
    differences : DataFrame
        Each part of the plan and whether it has changed, as in :func:`compare_with_plan`.

    Raises
    ------
    TraitlensError
        If the settings have faults, no test or hypothesis is planned, groups were compared already, or the
        plan was changed after it was frozen.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TraitlensError(Problem("there is no such folder", "name the study folder", str(folder)))
    settings, problems = read_settings(folder / "study.toml")
    if problems:
        raise TraitlensError(problems)
    plan = read_plan(folder)
    if plan is None:
        if not (settings.plan.hypotheses or settings.plan.tests):
            advice = "write hypotheses and tests into [plan]"
            raise TraitlensError(Problem("there is nothing to freeze", advice, "study.toml"))
        if list((folder / "results" / "comparisons").glob("*.csv")):
            what = "groups have already been compared, so it is too late for a plan"
            raise TraitlensError(Problem(what, "report the tests as exploratory", "results/comparisons"))
        content = _plan_content(settings) | _digest_files(folder)
        plan = {"frozen": now(), "digest": digest(content), "content": content}
        write_json(folder / PLAN, plan)
    return plan, compare_with_plan(plan, settings)


def read_plan(folder: Path) -> dict[str, Any] | None:
    """Read a study's frozen plan.

    Returns
    -------
    dict or None
        The plan with frozen (time, UTC), digest and content; None if no plan was frozen.

    Raises
    ------
    TraitlensError
        If the plan cannot be read, or was changed after it was frozen.
    """
    path = Path(folder) / PLAN
    if not path.exists():
        return None
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        whole = plan["digest"] == digest(plan["content"]) and isinstance(plan["frozen"], str)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = Problem(f"cannot be read ({error})", "restore the frozen file", PLAN)
        raise TraitlensError(problem) from error
    if not whole:
        what = "was changed after it was frozen: its digest does not match"
        raise TraitlensError(Problem(what, "restore the frozen file", PLAN))
    return dict(plan)


def changed_files(plan: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the names of an experiment's tables that were changed after the plan was frozen."""
    planned, present = (content.get(FILES, {}) for content in (plan["content"], _digest_files(Path(folder))))
    return [name for name in dict.fromkeys([*planned, *present]) if planned.get(name) != present.get(name)]


def _digest_files(folder: Path) -> dict[str, Any]:
    """Return the digests of an experiment's tables for its plan; empty unless all tables exist."""
    found = {name: digest_file(folder / name) for name in EXPERIMENT_FILES if (folder / name).is_file()}
    return {FILES: found} if len(found) == len(EXPERIMENT_FILES) else {}


def _plan_content(settings: Settings) -> dict[str, Any]:
    """Return the content of a plan, which is all settings that determine the tests and their data."""
    return json.loads(
        json.dumps(
            {
                "hypotheses": settings.plan.hypotheses,
                "tests": settings.plan.tests,
                "regions": settings.plan.regions,
                "groups": settings.groups,
                "traits": settings.traits,
                "scale": settings.scale,
                "exclusions": settings.cleaning.model_dump(),
                "folds": settings.folds.model_dump(),
                "faces": settings.faces.model_dump(),
                "readout": settings.readout.model_dump(),
                "relevance": settings.relevance.model_dump(),
                "comparison": settings.comparison.model_dump(),
                "seed": settings.seed,
            }
        )
    )


def compare_with_plan(
    plan: Mapping[str, Any], settings: Settings, tests: list[str] | None = None
) -> pd.DataFrame:
    """Compare a frozen plan with the present settings and with the tests that were done.

    Parameters
    ----------
    plan : mapping
        The frozen plan.
    settings : Settings
        The study's present settings.
    tests : list of str, optional
        Names of the tests that were done; the tests planned in the settings if None.

    Returns
    -------
    DataFrame
        A row per setting and test: what (such as "exclusions.fastest" or "test means"), planned, now, and
        mark ("planned", "changed", "added" or "planned, not done").
    """
    content = {name: part for name, part in plan["content"].items() if name != FILES}
    planned, present = _flatten(content), _flatten(_plan_content(settings))
    # A setting that the plan's version of traitlens did not have counts as unchanged at its default.
    new = {
        what
        for what, text in _flatten(_plan_content(Settings())).items()
        if what not in planned and present[what] == text
    }
    rows = []
    for what in dict.fromkeys([*planned, *present]):
        if what == "tests" or what in new:
            continue
        before, after = planned.get(what, "–"), present.get(what, "–")
        rows.append((what, before, after, PLANNED if before == after else CHANGED))
    intended = list(plan["content"]["tests"])
    made = list(settings.plan.tests) if tests is None else tests
    for test in dict.fromkeys([*intended, *made]):
        mark = PLANNED if test in intended and test in made else ADDED if test in made else NOT_DONE
        rows.append(
            (f"test {test}", "yes" if test in intended else "no", "yes" if test in made else "no", mark)
        )
    return pd.DataFrame(rows, columns=["what", "planned", "now", "mark"])


def _flatten(value: Any, before: str = "") -> dict[str, str]:
    """Return nested settings as text, keyed by dotted names; `before` is the prefix of the names."""
    if isinstance(value, dict):
        return {
            name: text
            for key, part in value.items()
            for name, text in _flatten(part, f"{before}.{key}" if before else str(key)).items()
        }
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    return {before: "–" if value in (None, "") else str(value)}

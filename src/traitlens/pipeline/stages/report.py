"""The report, its figures, and what was studied and with what."""

from typing import Any

from traitlens.artifacts import ARTIFACTS, FACES, PLAN, PLANNED, PREPARED, PROVENANCE, STUDY
from traitlens.collecting.preregistration import compare_with_plan
from traitlens.columns import IDENTITY, IMAGE, MAY_PUBLISH, RATER
from traitlens.pipeline.stage_io import Work
from traitlens.records import Records
from traitlens.report.description import describe_software
from traitlens.report.page import write_report
from traitlens.study.settings import Settings

NO_TESTS = {"answers", "rater_regions"}
"""Tables of comparisons that hold no tests of their own."""


def report(work: Work) -> None:
    """Write `study.json`, `provenance.json`, the frozen plan, the figures and the report."""
    work.write(STUDY, describe_study(work))
    work.write(PROVENANCE, describe_provenance(work))
    plan = work.value("frozen_plan")
    if plan is not None:
        settings = Settings.model_validate(work.value("description")["settings"])
        tests = sorted(
            one.name
            for one in ARTIFACTS.values()
            if one.path.startswith("comparisons/")
            and one.path.endswith(".csv")
            and one.name not in NO_TESTS
            and work.has(one)
        )
        work.write(PLAN, plan)
        work.write(PLANNED, compare_with_plan(plan, settings, tests))
    write_report(work.results)


def describe_study(work: Work) -> dict[str, Any]:
    """Describe what was studied, so that the report can be made from the results alone.

    Parameters
    ----------
    work : Work
        The report's stage.

    Returns
    -------
    dict
        What `study.json` holds.
    """
    described, ratings = work.value("description"), work.value("ratings")
    images, settings = described["images"], described["settings"]
    return {
        "name": settings["name"],
        "description": settings["description"],
        "groups": work.value("groups"),
        "traits": work.value("traits"),
        "scale": described["scale"],
        "n_images": len(images),
        "n_identities": int(images[IDENTITY].nunique()),
        "n_raters": int(ratings[RATER].nunique()) if RATER in ratings else None,
        "n_ratings": len(ratings),
        "may_publish": dict(zip(images[IMAGE], map(bool, images[MAY_PUBLISH]), strict=True)),
        "identity": dict(zip(images[IMAGE], images[IDENTITY], strict=True)),
        "settings": {**settings, "crop": work.read(PREPARED).attrs["crop"]},
        "notices": [*described["notices"], *work.read(FACES)["notices"]],
        "left_out": work.value("reasons"),
    }


def describe_provenance(work: Work) -> dict[str, Any]:
    """Return with what the results were made.

    Parameters
    ----------
    work : Work
        The report's stage.

    Returns
    -------
    dict
        What `provenance.json` holds.
    """
    backbone = work.backbone
    return {
        **describe_software(),
        "backbone": {
            "name": backbone.name,
            "source": backbone.source,
            "weights_sha256": backbone.digest,
            "preprocessing": backbone.preprocessing.as_dict(),
        },
        "device": work.machine.device,
        "precision": work.machine.precision,
        "seed": work.value("description")["settings"]["seed"],
        "sha256": work.value("study_files"),
        "seconds": {stage: record.seconds for stage, record in Records(work.results)},
    }

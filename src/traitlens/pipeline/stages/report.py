"""Stage that writes the report, its figures, the description of the study, and the provenance."""

from datetime import UTC, datetime
from typing import Any

from traitlens.artifacts import ARTIFACTS, FACES, PLAN, PLANNED, PREPARED, PROVENANCE, STUDY
from traitlens.collecting.preregistration import compare_with_plan
from traitlens.columns import IDENTITY, IMAGE, MAY_PUBLISH, RATER
from traitlens.pipeline.stage_io import StageIO
from traitlens.records import Records
from traitlens.report.description import describe_software
from traitlens.report.page import write_report
from traitlens.study.settings import Settings

NO_TESTS = {"answers"}
"""Tables in the folder of comparisons that contain no tests of their own."""


def report(io: StageIO) -> None:
    """Write `study.json`, `provenance.json`, the frozen plan, the figures and the report."""
    io.write(STUDY, describe_study(io))
    io.write(PROVENANCE, describe_provenance(io))
    plan = io.value("frozen_plan")
    if plan is not None:
        settings = Settings.model_validate(io.value("description")["settings"])
        tests = sorted(
            one.name
            for one in ARTIFACTS.values()
            if one.path.startswith("comparisons/")
            and one.path.endswith(".csv")
            and one.name not in NO_TESTS
            and io.has(one)
        )
        io.write(PLAN, plan)
        io.write(PLANNED, compare_with_plan(plan, settings, tests))
    write_report(io.results)


def describe_study(io: StageIO) -> dict[str, Any]:
    """Return what the report says about the study, so that the results folder suffices to write it."""
    described, ratings = io.value("description"), io.value("ratings")
    images, settings = described["images"], described["settings"]
    return {
        "name": settings["name"],
        "description": settings["description"],
        "groups": io.value("groups"),
        "traits": io.value("traits"),
        "scale": described["scale"],
        "n_images": len(images),
        "n_identities": int(images[IDENTITY].nunique()),
        "n_raters": int(ratings[RATER].nunique()) if RATER in ratings else None,
        "n_ratings": len(ratings),
        "may_publish": dict(zip(images[IMAGE], map(bool, images[MAY_PUBLISH]), strict=True)),
        "identity": dict(zip(images[IMAGE], images[IDENTITY], strict=True)),
        "settings": {**settings, "crop": io.read(PREPARED).attrs["crop"]},
        "notices": [*described["notices"], *io.read(FACES)["notices"]],
        "imported": described["imported"],
        "left_out": io.value("reasons"),
        "planted": described["planted"],
    }


def describe_provenance(io: StageIO) -> dict[str, Any]:
    """Return software versions, digests of weights and tables, the seed, and the time of each stage."""
    backbone = io.backbone
    return {
        "date": datetime.now(UTC).isoformat(" ", "minutes"),
        **describe_software(),
        "backbone": {
            "name": backbone.name,
            "source": backbone.source,
            "weights_sha256": backbone.digest,
            "is_residual": backbone.is_residual,
            "preprocessing": backbone.preprocessing.as_dict(),
        },
        "device": io.machine.device,
        "precision": io.machine.precision,
        "seed": io.value("description")["settings"]["seed"],
        "sha256": io.value("study_files"),
        "seconds": {stage: record.seconds for stage, record in Records(io.results)},
    }

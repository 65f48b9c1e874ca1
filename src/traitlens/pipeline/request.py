"""Record the study and the options of a run in its results folder, for `traitlens status`."""

import json
import os
from dataclasses import replace
from pathlib import Path

from traitlens.computing.machine import Machine
from traitlens.pipeline.context import Context
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write
from traitlens.study.reading import Study
from traitlens.study.setting_overrides import PROTOCOLS, follow_protocol, override_kept_maps


def _request_file(results: Path) -> Path:
    return results / ".cache" / "origin"


def write_request(context: Context) -> None:
    """Write the path of the study and the options of the run."""
    settings, results = context.study.settings, context.results.resolve()
    study = context.study.folder.resolve()
    # A relative path, so that the study can be copied or moved with its results.
    inside = results.is_relative_to(study)
    found = {
        "study": Path(os.path.relpath(study, results)).as_posix() if inside else str(study),
        "precision": context.machine.precision,
        "keep_maps": settings.run.keep_maps,
        "protocol": settings.readout.method if settings.readout.method in PROTOCOLS else "default",
    }
    text, file = json.dumps(found), _request_file(context.results)
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        with atomic_write(file) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_request(results: Path) -> Context:
    """Return the context in which a results folder was made.

    Returns
    -------
    Context
        The study as it is now, with the options of the run that made the results.

    Raises
    ------
    TraitlensError
        If the folder is not a results folder, or its study cannot be read.
    """
    try:
        found = json.loads(_request_file(results).read_text(encoding="utf-8"))
        folder, precision = results / found["study"], str(found["precision"])
        keep, protocol = str(found["keep_maps"]), str(found.get("protocol", "default"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        advice = "use a folder written by `traitlens run`"
        raise TraitlensError(Problem("is not a results folder of traitlens", advice, str(results))) from error
    study = follow_protocol(override_kept_maps(Study.load(folder.resolve()), keep), protocol)
    return Context(study, results, replace(Machine(), precision=precision))

"""Export of a study's ratings, results, report and figures as one zip file for another program."""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from traitlens.app.workspace import Workspace
from traitlens.storage import atomic_write
from traitlens.study.exporting import export_study
from traitlens.study.reading import Study

FORMS: Final = {"csv-long": "R and Python", "sav": "SPSS", "mat": "MATLAB"}
"""Programs that read each export format."""


def make_zip(workspace: Workspace, form: str) -> Path:
    """Write a zip file with the study's ratings, results, report and figures.

    Returns
    -------
    Path
        The file, in the subfolder `exports` of the study.

    Raises
    ------
    TraitlensError
        If the study has faults.
    """
    target = workspace.folder / "exports" / f"{workspace.folder.name} for {FORMS[form]}.zip"
    folder = Path(tempfile.mkdtemp(prefix="export-", dir=workspace.private))
    try:
        export_study(Study.load(workspace.folder), folder / "data", form, workspace.results)
        with (
            atomic_write(target) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for file in sorted((folder / "data").rglob("*")):
                if file.is_file() and not file.name.startswith("."):
                    packed.write(file, file.relative_to(folder / "data"))
            packed.write(workspace.report, "report.html")
            for file in sorted((workspace.results / "figures").glob("*")):
                packed.write(file, Path("figures") / file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target

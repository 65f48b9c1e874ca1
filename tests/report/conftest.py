import importlib.util
import sys
from pathlib import Path

import pytest

# Test modules are imported by path, so a module beside them is loaded by path too.
_spec = importlib.util.spec_from_file_location("results_folder", Path(__file__).parent / "results_folder.py")
_module = importlib.util.module_from_spec(_spec)
sys.modules["results_folder"] = _module
_spec.loader.exec_module(_module)


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory) -> Path:
    """A results folder; tests only read it."""
    return _module.make_results(tmp_path_factory.mktemp("results"), traits=("warm", _module.HOSTILE_TRAIT))


@pytest.fixture(scope="session")
def report(results_folder) -> str:
    """The report of that folder."""
    from traitlens.report.page import write_report

    return write_report(results_folder).read_text(encoding="utf-8")

"""The package as a whole: how fast it imports, and whether its docstrings tell what they must."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.validate import validate

import traitlens

MODULES = sorted(module.name for module in pkgutil.walk_packages(traitlens.__path__, "traitlens."))
CHECKS = {"GL08", "SS05", "PR01", "PR02", "PR03", "PR10", "RT01", "RT03"}
"""Missing docstring, infinitive summary, parameters that are missing, unknown, out of order or misspelt, and
missing or undescribed returns."""

INNER = (
    "traitlens.cli",  # its help is written for the terminal
    "traitlens.progress",
    "traitlens.study.checking",
    "traitlens.study.drawing",
    "traitlens.pipeline.costs",
    "traitlens.computing.engines",
    "traitlens.pipeline.flow",
    "traitlens.pipeline.stages",
    "traitlens.readouts.manifest",
    "traitlens.readouts.methods_text",
    "traitlens.relevance.sparse_propagation",
    "traitlens.relevance.sparse_kernels",
    "traitlens.relevance.initial_relevance",
    "traitlens.relevance.prepared_layers",
    "traitlens.relevance.propagation",
    "traitlens.relevance.rules",
    "traitlens.relevance.backward_steps",
    "traitlens.relevance.unit_lists",
    "traitlens.report.sections",
    "traitlens.report.tables",
)
"""Modules that no user calls: one line for each function is enough, but what is documented must be true."""
INNER_CHECKS = {"GL08", "PR02", "PR10"}


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, traitlens; "
        "print([m for m in ('torch', 'matplotlib', 'himalaya', 'statsmodels', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", MODULES)
def test_public_docstrings_are_complete(module):
    faults = []
    checks = INNER_CHECKS if module.startswith(INNER) else CHECKS
    for name, thing in vars(importlib.import_module(module)).items():
        own = getattr(thing, "__module__", None) == module
        if name.startswith("_") or not own or not (inspect.isfunction(thing) or inspect.isclass(thing)):
            continue
        if inspect.isclass(thing) and issubclass(thing, Exception) and "__init__" not in vars(thing):
            continue
        for path in [f"{module}.{name}", *_methods(module, name, thing)]:
            found = validate(path)["errors"]
            faults += [f"{path}: {code} {text}" for code, text in found if code in checks]
    assert not faults, "\n".join(faults)


def _methods(module, name, thing):
    """List a class's own public methods that the classes above it do not document."""
    if not inspect.isclass(thing):
        return []
    known = {
        *getattr(thing, "__dataclass_fields__", {}),
        *(name for one in thing.__mro__[1:] for name in vars(one)),
    }
    return [
        f"{module}.{name}.{method}"
        for method, function in vars(thing).items()
        if not method.startswith("_") and method not in known and inspect.isfunction(inspect.unwrap(function))
    ]


@pytest.mark.parametrize("room", ["features", "map_checks", "readouts", "relevance"])
def test_public_names_of_a_room_are_there_and_documented(room):
    package = importlib.import_module(f"traitlens.{room}")
    listed = (Path(__file__).parents[1] / "docs" / "api.md").read_text("utf-8").split()
    assert len(package.__all__) > 5
    for name in package.__all__:
        assert not inspect.ismodule(getattr(package, name)), name
        assert f"traitlens.{room}.{name}" in listed, name

"""The package as a whole: how fast it imports, and whether its docstrings are complete."""

import importlib
import inspect
import pkgutil
import re
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

SHORT_CHECKS = {"GL08", "PR02", "PR10"}
"""What is no part of the interface may have one line, but what is documented must be true."""

ROOT = Path(__file__).parents[1]
LISTED = re.findall(r"^ {3}(traitlens\.[\w.]+)$", (ROOT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE)
"""Functions and classes that the documentation lists."""


def is_listed(thing):
    return any(
        path.endswith(f".{thing.__name__}")
        and getattr(importlib.import_module(path.rpartition(".")[0]), thing.__name__) is thing
        for path in LISTED
    )


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
    for name, thing in vars(importlib.import_module(module)).items():
        own = getattr(thing, "__module__", None) == module
        if name.startswith("_") or not own or not (inspect.isfunction(thing) or inspect.isclass(thing)):
            continue
        if inspect.isclass(thing) and issubclass(thing, Exception) and "__init__" not in vars(thing):
            continue
        checks = CHECKS if is_listed(thing) else SHORT_CHECKS
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
    listed = (ROOT / "docs" / "api.md").read_text("utf-8").split()
    assert len(package.__all__) > 5
    for name in package.__all__:
        assert not inspect.ismodule(getattr(package, name)), name
        assert f"traitlens.{room}.{name}" in listed, name

"""Names of modules and classes: one name for one thing."""

import ast
from collections import defaultdict
from pathlib import Path

import traitlens

ROOT = Path(traitlens.__file__).parent

STAGES = "pipeline/stages/"
"""Modules of stages are named for the package whose functions they call."""

SHARED_MODULES: dict[str, str] = {}
"""Modules that share a name, and why."""

SHARED_CLASSES: dict[str, str] = {}
"""Public classes that share a name, and why."""


def modules():
    """Paths of all modules below the package; a package counts by the name of its folder."""
    for path in sorted(ROOT.rglob("*.py")):
        inner = path.relative_to(ROOT)
        if path.name != "__init__.py":
            yield path, inner, path.stem
        elif inner.parent != Path():
            yield path, inner, path.parent.name


def shared(named):
    return {name: places for name, places in named.items() if len(places) > 1}


def test_no_two_modules_share_a_name():
    named = defaultdict(list)
    for _, inner, name in modules():
        if not inner.as_posix().startswith(STAGES) and not name.startswith("__"):
            named[name].append(inner.as_posix())
    found = shared(named)
    assert set(found) == set(SHARED_MODULES), {
        name: found.get(name) for name in found.keys() ^ SHARED_MODULES
    }


def test_no_two_public_classes_share_a_name():
    named = defaultdict(list)
    for path, inner, _ in modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                named[node.name].append(inner.as_posix())
    found = shared(named)
    assert set(found) == set(SHARED_CLASSES), {
        name: found.get(name) for name in found.keys() ^ SHARED_CLASSES
    }

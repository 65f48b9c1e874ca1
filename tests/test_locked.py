"""Pinned versions: they are those that pyproject.toml allows, and every file of them has its hash."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11.5", "3.12.0", "3.13.0", "3.14.0")
SYSTEMS = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}


def read_pins(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line.removesuffix(" \\")) for line in lines if re.match(r"\w", line)]


def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    return [one for one in map(Requirement, wanted) if one.name != "traitlens"]


def holds(requirement, python, system):
    environment = {
        "python_full_version": python, "python_version": python.rpartition(".")[0], "sys_platform": system,
        "platform_system": SYSTEMS[system], "platform_machine": "x86_64", "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "extra": "",
    }  # fmt: skip
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_declared_package_is_pinned_once_within_its_range(python, system):
    pins = [pin for pin in read_pins("requirements.txt") if holds(pin, python, system)]
    versions = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    assert len(versions) == len(pins)
    for one in declared():
        if holds(one, python, system):
            version = versions.get(canonicalize_name(one.name))
            assert version, f"{one.name} is not pinned: run `make lock`"
            assert one.specifier.contains(version, prereleases=True), (str(one), version)


def test_constraints_are_the_same_pins_and_every_pin_has_hashes():
    assert list(map(str, read_pins("constraints.txt"))) == list(map(str, read_pins("requirements.txt")))
    blocks = re.split(r"\n(?=\w)", (ROOT / "requirements.txt").read_text(encoding="utf-8"))[1:]
    assert len(blocks) > 150
    for block in blocks:
        assert re.search(r"^[\w.\[\]-]+==\S+", block)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block[:60]

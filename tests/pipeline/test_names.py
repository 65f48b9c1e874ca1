"""Names in the settings: every known one ends in a report, every unknown one is refused at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tiny import add_backbone, edit_settings, make_study, skip_figures

from traitlens.api import Run
from traitlens.pipeline.study_check import check_tables
from traitlens.readouts.registry import METHODS as READOUTS
from traitlens.relevance.methods import METHODS
from traitlens.study.reading import Study


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAITLENS_CACHE", str(folder / "cache"))
        skip_figures(patch)
        add_backbone(folder)
        yield folder


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny):
    folder = make_study(tmp_path_factory.mktemp("names") / "study", identities=6, traits=1)
    done = Run(Study.load(folder))
    done.make("fit")
    done.close()
    return folder


FEW = ("lrp.epsilon", "gradient", "zennit.epsilon_gamma_box")
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in METHODS if name not in FEW]


@pytest.mark.parametrize("method", [*FEW, *OTHERS])
def test_every_relevance_method_ends_in_a_report(study, tmp_path, method):
    text = (study / "study.toml").read_text()
    try:
        edit_settings(study, ("[comparison]", f'[relevance]\nmethod = "{method}"\n\n[comparison]'))
        assert check_tables(study)[1] == []
        done = Run(Study.load(study))
        done.report()
        done.close()
    finally:
        (study / "study.toml").write_text(text)
    pixels = (study / "results" / "comparisons" / "pixels.csv").exists()
    assert pixels == (METHODS[method].is_linear and not METHODS[method].gradients)


@pytest.mark.parametrize("readout", [name for name in READOUTS if name != "cao2023"])
def test_every_readout_ends_in_a_report(tmp_path, readout):
    folder = make_study(tmp_path / "study", identities=6, traits=1)
    edit_settings(folder, ('method = "ridge"', f'method = "{readout}"'))
    if readout == "finetune":
        edit_settings(folder, ("block2_pool", "block1_pool"))
    problems = check_tables(folder)[1]
    if readout == "dense":  # it reads a layer that the tiny network does not have
        assert "block5_pool" in str(problems[0])
        return
    assert problems == []
    done = Run(Study.load(folder))
    assert done.report().exists()
    done.close()


UNKNOWN = {
    "readout": (('method = "ridge"', 'method = "rigde"'), "unknown readout 'rigde'; did you mean 'ridge'?"),
    "tap": (("block2_pool", "blok2_pool"), "unknown tap 'blok2_pool'; did you mean 'block2_pool'?"),
    "backbone": (('"tiny"', '"tinny"'), "unknown backbone 'tinny'; did you mean 'tiny'?"),
    "relevance": (
        ("[comparison]", '[relevance]\nmethod = "lrp.epsilonn"\n\n[comparison]'),
        "unknown relevance method 'lrp.epsilonn'; did you mean 'lrp.epsilon'?",
    ),
    "pixel test": (("pixels = 16", 'pixels = 16\npixel_test = "tfcee"'), "pixel_test"),
    "cleaning rule": (("[comparison]", "[cleaning]\nuntoched = true\n\n[comparison]"), "untouched"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_names_are_refused_with_the_nearest_known_one(tmp_path, name):
    folder = make_study(tmp_path / "study", identities=6)
    change, message = UNKNOWN[name]
    edit_settings(folder, change)
    problems = check_tables(folder)[1]
    told = [str(problem) for problem in problems]
    assert any(message in text and "study.toml" in text for text in told), told


WITHOUT_TORCH = """
import sys
from pathlib import Path
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch must not be imported")
sys.meta_path.insert(0, Refuse())
from traitlens.cli import main
sys.argv = ["traitlens", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("protocol", ["default", "cao2023"])
def test_status_and_check_need_neither_torch_nor_weights(study, tmp_path, tiny, protocol):
    environment = {"TRAITLENS_CACHE": str(tiny / "cache"), "TRAITLENS_OFFLINE": "1"}
    results = study / "results"
    if protocol == "cao2023":
        from traitlens.study.setting_overrides import follow_protocol

        results = study / "results-cao2023"
        done = Run(follow_protocol(Study.load(study), protocol), results)
        done.make("landmarks")
        done.close()
    for arguments in (["check", str(study)], ["--json", "status", str(results)]):
        found = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            check=False,
        )
        assert found.returncode == 0, found.stderr
    states = {stage["name"]: stage["state"] for stage in json.loads(found.stdout)["stages"]}
    assert states["landmarks"] == "current"
    assert "check_null_maps" in states


def test_no_function_of_the_flow_has_more_than_seven_parameters():
    import ast

    from traitlens import pipeline

    (folder,) = pipeline.__path__
    long = []
    for file in sorted(Path(folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if len([one for one in names if one.arg not in ("self", "cls")]) > 7:
                    long.append(f"{file.name}: {node.name}")
    assert long == []

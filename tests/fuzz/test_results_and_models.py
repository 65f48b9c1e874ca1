"""Results folders, models and state dicts of strangers."""

import io
import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tests.fuzz.hostile import SECRET, SLOW, WORDS, damage, damage_json, inputs, random_of, read_or_refuse
from tests.report.results_folder import make_results

from traitlens.digests import digest_file
from traitlens.features.backbone import build_backbone
from traitlens.features.custom_backbones import read_custom_backbone
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.preprocessing import VGG_CAFFE
from traitlens.features.taps import Tap
from traitlens.readouts.manifest import MANIFEST, TENSORS
from traitlens.readouts.readout import DenseReadout, LinearPart, LinearReadout
from traitlens.readouts.trait_models import TraitModels
from traitlens.report.figures import FIGURES, draw_figure
from traitlens.report.results import read_results

pytestmark = SLOW


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = make_results(tmp_path_factory.mktemp("fuzz") / "results", traits=("warm", "strong"), n_images=6)
    (folder.parent / SECRET).write_text("1")
    for name in ("performance", "average_maps", "faces"):  # loads what drawing needs
        draw_figure(folder, name)
    return folder


def replaced(file: Path, content: bytes, folder: Path, read) -> None:
    """Read with another content of a file, and set the file again."""
    kept = file.read_bytes()
    try:
        file.write_bytes(content)
        read_or_refuse(folder, read)
    finally:
        file.write_bytes(kept)


def look(folder: Path, figure: str | None) -> None:
    """Read everything that a results folder holds, and draw a figure."""
    results = read_results(folder)
    for part in (results.maps, results.averages, results.pixel_tests, results.pixels):
        if part is not None:
            with suppress(RuntimeError, MemoryError):  # a damaged chunk: one line of the command line
                part.isel({next(iter(part.dims)): slice(0, 1)}).load()
    if figure is not None:
        draw_figure(results, figure)


@pytest.fixture(scope="module")
def tables(results, tmp_path_factory):
    """The results without arrays, which are read in less time."""
    folder = tmp_path_factory.mktemp("tables") / "results"
    shutil.copytree(results, folder, ignore=shutil.ignore_patterns("*.zarr"))
    (folder.parent / SECRET).write_text("1")
    return folder


@inputs(600)
def test_study_json(tables, number):
    chance = random_of(number)
    file = tables / chance.choice(["study.json", "study.json", "provenance.json"])
    content = damage_json(file.read_text(encoding="utf-8"), chance)
    figure = chance.choice(list(FIGURES)) if chance.random() < 0.03 else None
    replaced(file, content, tables, lambda: look(tables, figure))


@inputs(600)
def test_files_of_results(results, number):
    chance = random_of(number)
    files = sorted(
        path for path in results.rglob("*") if path.is_file() and path.suffix not in (".svg", ".png", ".html")
    )
    file = chance.choice(files)
    content = file.read_bytes()
    is_json = file.name in (".zarray", ".zattrs", ".zgroup", ".zmetadata") or file.suffix == ".json"
    hostile = damage_json(content.decode(), chance) if is_json else damage(content, chance)
    figure = chance.choice(list(FIGURES)) if chance.random() < 0.03 else None
    replaced(file, hostile, results, lambda: look(results, figure))


SPACE, END = FeatureSpace(Tap("block1_pool", 2)), FeatureSpace(Tap("block1_pool", 1))


@pytest.fixture(scope="module")
def backbone():
    rng = np.random.default_rng(0)
    tensors = {
        "block1_conv1.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "block1_conv1.bias": np.zeros(4, np.float32),
    }
    return build_backbone("tiny", tensors, VGG_CAFFE, "ab" * 32)


@pytest.fixture(scope="module")
def model(backbone, tmp_path_factory):
    rng = np.random.default_rng(1)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    readouts = [
        LinearReadout("a", "warm", 0, (LinearPart(SPACE, draw(4, 2, 2), draw(4, 2, 2)),), 4.25),
        DenseReadout("b", "warm", 0, draw(5, 4), draw(5), draw(1, 5), draw(1), 3.5, END),
    ]
    table = pd.DataFrame({"group": ["a"], "trait": ["warm"], "r": [0.5], "n_images": [9]})
    folder = tmp_path_factory.mktemp("model") / "model"
    models = TraitModels.of(readouts, backbone, {}, {"crop": "full", "size": 32}, table)
    models.save(folder)
    (folder.parent / SECRET).write_text("1")
    models.predict(backbone, [np.zeros((32, 32, 3), np.uint8)])
    return folder


def hostile_tensors(file: Path, chance) -> bytes:
    """Change shapes, types, values and names of tensors, or damage the bytes."""
    if chance.random() < 0.4:
        return damage(file.read_bytes(), chance)
    tensors = load_file(file)
    name = chance.choice(list(tensors))
    value = tensors[name]
    kind = chance.randrange(7)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[chance.choice(WORDS) or "x"] = tensors.pop(name)
    elif kind == 2:
        tensors[name] = np.full_like(value, chance.choice([np.nan, np.inf, -np.inf, 3e38]))
    elif kind == 3:
        tensors[name] = value.reshape(-1)[: chance.randrange(value.size + 1)].copy()
    elif kind == 4:
        tensors[name] = value.astype(chance.choice([np.float64, np.int8, np.float16, np.uint8]))
    elif kind == 5:
        tensors[name] = np.zeros(chance.choice([(0,), (1000, 1000), (), (4, 0, 2)]), np.float32)
    else:
        tensors[name] = np.stack([value, value])
    made = file.with_name("made.safetensors")
    try:
        save_file(tensors, made)
        return made.read_bytes()
    finally:
        made.unlink(missing_ok=True)


@inputs(600)
def test_model_folders(model, backbone, number):
    chance = random_of(number)
    pixels = [np.zeros((32, 32, 3), np.uint8)]
    manifest, tensors = model / MANIFEST, model / TENSORS
    kept = {file: file.read_bytes() for file in (manifest, tensors)}

    def predict():
        models = TraitModels.load(model)
        predicted = models.predict(backbone, pixels)
        assert np.isfinite(predicted["predicted"]).all()

    try:
        if chance.random() < 0.4:
            tensors.write_bytes(hostile_tensors(tensors, chance))
            about = json.loads(kept[manifest])
            about["tensors"] = digest_file(tensors)  # a stranger can write a digest too
            manifest.write_text(json.dumps(about), encoding="utf-8")
        else:
            manifest.write_bytes(damage_json(manifest.read_text(encoding="utf-8"), chance))
        read_or_refuse(model, predict)
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


def state_dict(chance):
    """Make a state dict with odd tensors."""
    state, inputs_ = {}, 3
    for block in range(1, chance.randrange(1, 4) + 1):
        outputs = chance.choice([1, 4, 8])
        name = chance.choice([f"conv{block}_1", f"features.{(block - 1) * 3}"])
        state[f"{name}.weight"] = torch.randn(outputs, inputs_, 3, 3)
        state[f"{name}.bias"] = torch.zeros(outputs)
        inputs_ = outputs
    odd = [
        lambda: torch.tensor(1.0), lambda: torch.randn(4, 3, 3), lambda: torch.randn(4, 3, 5, 5),
        lambda: torch.zeros(1).expand(2**30), lambda: torch.full((4, 3, 3, 3), float("nan")),
        lambda: torch.empty(2**40, device="meta"), lambda: torch.randn(4, 3, 3, 3).to_sparse(),
        lambda: torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.quint8),
        lambda: torch.zeros(4, 0, 3, 3),
        lambda: torch.zeros(4, 3, 3, 3, dtype=torch.complex64),
        lambda: torch.zeros(4, 3, 3, 3, dtype=torch.bool),
        lambda: "text", lambda: None, lambda: [1, 2], lambda: {"a": torch.zeros(1)}, lambda: 10**40,
        lambda: torch.zeros(4, 3, 3, 3, dtype=torch.bfloat16), lambda: torch.full((4,), 3e38),
    ]  # fmt: skip
    for _ in range(chance.choice([0, 1, 1, 2])):
        names = [
            *state,
            f"features.{'9' * chance.choice([1, 12, 5000])}.weight",
            "x",
            "",
            chance.choice(WORDS),
        ]
        state[chance.choice(names)] = chance.choice(odd)()
    if chance.random() < 0.1:
        state = {"state_dict": state}
    return state


@inputs(600)
def test_state_dicts(tmp_path_factory, number):
    chance = random_of(number)
    folder = tmp_path_factory.getbasetemp() / "states" / "inside"
    folder.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    torch.save(state_dict(chance), stream)
    content = stream.getvalue()
    file = folder / chance.choice(["network.pth", "network.pth", "network.safetensors"])
    file.write_bytes(damage(content, chance) if chance.random() < 0.4 else content)
    read_or_refuse(folder, lambda: read_custom_backbone(file))
    shutil.rmtree(folder)

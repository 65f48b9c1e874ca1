"""Maps by zennit and Captum, and plain gradients; run by benchmarks/relevance.py in their own environment."""

import importlib.machinery
import json
import sys
import time
import types

import numpy as np
import torch
from torch import nn


class StandIn(types.ModuleType):
    """Takes torchvision's place: zennit imports names from it that are not needed here."""

    __path__: list[str] = []  # noqa: RUF012 -- the import system reads it so

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (nn.Module,), {})


for missing in ("", ".models", ".models.resnet", ".models.vgg", ".datasets", ".transforms"):
    sys.modules[f"torchvision{missing}"] = StandIn(f"torchvision{missing}")
    sys.modules[f"torchvision{missing}"].__spec__ = importlib.machinery.ModuleSpec("torchvision", None)

_, program, inputs, output, threads = sys.argv
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


def with_zennit():
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlusFlat

    attributor = Gradient(model, EpsilonPlusFlat())
    attributor.__enter__()
    return lambda values: attributor(values, lambda output: output)[1]


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


explain = {"gradient": lambda: gradient, "zennit": with_zennit, "captum": with_captum}[program]()
maps = explain(images)
if program == "zennit":
    np.save(output, maps.detach().sum(1).numpy())
four = images[:1].repeat(4, 1, 1, 1).contiguous(memory_format=torch.channels_last)
explain(four)
print(json.dumps({"ready": True}), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    explain(images[:1])
    one = time.perf_counter() - start
    start = time.perf_counter()
    explain(four)
    batch = (time.perf_counter() - start) / 4
    print(json.dumps({"seconds_per_map": min(one, batch)}), flush=True)

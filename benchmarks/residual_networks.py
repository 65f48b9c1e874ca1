"""Compare maps of ResNet-18 and ResNet-50 with those of zennit, with random weights.

    python benchmarks/residual_networks.py [--size 64]

Only this script needs zennit (GPL): `pip install --no-deps zennit`. Batch normalisation is folded exactly for
both programs, because zennit's own folding leaves a factor of 1 / sqrt(1 + 1e-5) in every layer. The largest
difference is printed as a share of the largest value.
"""

import argparse
import importlib.machinery
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.oracles.residual import Block, ResNet

from traitlens.features.backbone import Backbone, build_layers
from traitlens.features.preprocessing import PREPROCESSINGS
from traitlens.features.residual_networks import read_residual
from traitlens.relevance.methods import METHODS
from traitlens.relevance.propagation import propagator

NETWORKS = {"ResNet-18": ((2, 2, 2, 2), False), "ResNet-50": ((3, 4, 6, 3), True)}
COMPOSITES = {
    "zennit.epsilon_plus": "EpsilonPlus",
    "zennit.epsilon_plus_flat": "EpsilonPlusFlat",
    "zennit.epsilon_alpha2_beta1_flat": "EpsilonAlpha2Beta1Flat",
    "zennit.epsilon_gamma_box": "EpsilonGammaBox",
}


class StandIn(types.ModuleType):
    """Replaces torchvision, from which zennit imports names that are not needed here."""

    __path__: list[str] = []  # noqa: RUF012 -- the import system requires this attribute

    def __getattr__(self, name):
        """Return an empty module class."""
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (nn.Module,), {})


def import_zennit():
    """Import zennit without torchvision."""
    for missing in ("", ".models", ".models.resnet", ".models.vgg", ".datasets", ".transforms"):
        name = f"torchvision{missing}"
        sys.modules[name] = StandIn(name)
        sys.modules[name].__spec__ = importlib.machinery.ModuleSpec("torchvision", None)
    try:
        from zennit import composites, layer
    except ImportError:
        sys.exit("zennit is not installed: pip install --no-deps zennit")
    return composites, layer.Sum


def canonise(network, make_sum):
    """Fold batch normalisation exactly, and make sums of shortcuts modules, like zennit's canonisers."""

    class Add(nn.Module):
        def __init__(self):
            super().__init__()
            self.sum = make_sum()

        def forward(self, some, more):
            return self.sum(torch.stack([some, more], -1))

    for module in list(network.modules()):
        if isinstance(module, (Block, ResNet)):
            for number in range(1, 1 + getattr(module, "count", 1)):
                convolution, norm = (getattr(module, f"{name}{number}") for name in ("conv", "bn"))
                setattr(module, f"conv{number}", fuse_conv_bn_eval(convolution, norm))
                setattr(module, f"bn{number}", nn.Identity())
        if isinstance(module, Block):
            module.add = Add()
            if module.downsample is not None:
                module.downsample = nn.Sequential(fuse_conv_bn_eval(*module.downsample))
    return network


def main() -> None:
    """Compare maps, and print a line for each network, precision and composite."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    size = parser.parse_args().size
    composites, make_sum = import_zennit()
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    for name, (blocks, deep) in NETWORKS.items():
        for precision in ("float32", "float64"):
            network = ResNet(blocks, deep, 64)
            plans, tensors = read_residual(
                {key: value.numpy() for key, value in network.state_dict().items()}
            )
            layers = build_layers(plans, tensors)
            backbone = Backbone(name, layers, PREPROCESSINGS["torchvision"], name).to(precision=precision)
            network = canonise(network, make_sum).to(getattr(torch, precision))
            values = backbone.input(image).contiguous()
            low, high = (
                values.new_tensor(bound).view(1, 3, 1, 1).expand_as(values)
                for bound in backbone.preprocessing.bounds()
            )
            tap = backbone.taps[-1]
            for method, composite in COMPOSITES.items():
                passage = propagator(backbone, METHODS[method]).forward(values, {tap})
                output = passage.activations[tap]
                random = torch.Generator().manual_seed(1)
                weight = torch.randn((1, output.shape[1], 1, 1), generator=random, dtype=output.dtype)
                got = passage.back({tap: output * weight})
                bounds = {"low": low, "high": high} if composite == "EpsilonGammaBox" else {}
                with getattr(composites, composite)(**bounds).context(network) as explained:
                    leaf = values.clone().requires_grad_()
                    (want,) = torch.autograd.grad(explained(leaf), leaf, output * weight)
                want = want.sum(1)
                difference = float((got - want).abs().max() / want.abs().max())
                print(f"{name} {precision} {method}: {difference:.1e}")


if __name__ == "__main__":
    main()

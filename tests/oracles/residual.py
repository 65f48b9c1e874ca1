"""torchvision's ResNet and ArcFace's iresnet as plain modules, with random weights."""

import torch
from torch import nn


class Add(nn.Module):
    def forward(self, some, more):
        return some + more


class Block(nn.Module):
    def __init__(self, inputs, width, stride, deep):
        super().__init__()
        outputs = 4 * width if deep else width
        if deep:
            shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        else:
            shapes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        self.count = len(shapes)
        self.add = Add()
        for number, (ins, outs, side, step) in enumerate(shapes, 1):
            setattr(self, f"conv{number}", nn.Conv2d(ins, outs, side, step, side // 2, bias=False))
            setattr(self, f"bn{number}", nn.BatchNorm2d(outs))
            setattr(self, f"relu{number}", nn.ReLU())
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.outputs = outputs

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        for number in range(1, self.count + 1):
            x = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x))
            x = getattr(self, f"relu{number}")(x if number < self.count else self.add(x, shortcut))
        return x


class ResNet(nn.Module):
    """He et al. (2016) as torchvision builds it: ResNet((2, 2, 2, 2), False, 64) is ResNet-18."""

    def __init__(self, blocks, deep, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        channels = width
        self.layers = []
        for layer, count in enumerate(blocks, 1):
            made = []
            for number in range(count):
                stride = 2 if layer > 1 and number == 0 else 1
                made.append(Block(channels, width * 2 ** (layer - 1), stride, deep))
                channels = made[-1].outputs
            setattr(self, f"layer{layer}", nn.Sequential(*made))
            self.layers.append(f"layer{layer}")
        self.fc = nn.Linear(channels, 5)
        randomise(self)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for layer in self.layers:
            x = getattr(self, layer)(x)
        return x


class ArcBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.add = Add()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2, self.prelu = nn.BatchNorm2d(outputs), nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return self.add(y, x if self.downsample is None else self.downsample(x))


class ArcFace(nn.Module):
    """Deng et al. (2019), insightface's iresnet."""

    def __init__(self, blocks=(2, 1), width=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1, self.prelu = nn.BatchNorm2d(width), nn.PReLU(width)
        channels = width
        self.layers = []
        for layer, count in enumerate(blocks, 1):
            outputs = width * 2 ** (layer - 1)
            made = [ArcBlock(outputs if n else channels, outputs, 1 if n else 2) for n in range(count)]
            channels = outputs
            setattr(self, f"layer{layer}", nn.Sequential(*made))
            self.layers.append(f"layer{layer}")
        self.bn2 = nn.BatchNorm2d(channels)
        self.fc, self.features = nn.Linear(channels, 5), nn.BatchNorm1d(5)
        randomise(self)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        for layer in self.layers:
            x = getattr(self, layer)(x)
        return x


def randomise(network):
    """Draw weights so that the size of activations stays about the same, and statistics of normalisation."""
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            scale = module.weight[0].numel() ** -0.5
            module.weight.data = torch.randn(module.weight.shape, generator=random) * scale
        if isinstance(module, nn.BatchNorm2d):
            shape = module.weight.shape
            module.weight.data = 0.5 + torch.rand(shape, generator=random)
            module.bias.data = 0.3 * torch.randn(shape, generator=random)
            module.running_mean.data = 0.3 * torch.randn(shape, generator=random)
            module.running_var.data = 0.5 + torch.rand(shape, generator=random)
        if isinstance(module, nn.PReLU):
            module.weight.data = 0.25 * torch.randn(module.weight.shape, generator=random)
    return network.eval()


class Through(torch.autograd.Function):
    """A function whose backward pass is a rule of relevance."""

    @staticmethod
    def forward(ctx, function, rule, *inputs):
        ctx.save_for_backward(*inputs)
        ctx.rule = rule
        return function(*inputs)

    @staticmethod
    def backward(ctx, relevance):
        return None, None, *ctx.rule(relevance, *ctx.saved_tensors)


class Explained(nn.Module):
    """A convolution between two normalisations, with a rule of relevance."""

    def __init__(self, norm_before, convolution, norm_after, rule):
        super().__init__()
        self.steps = nn.Sequential(*filter(None, (norm_before, convolution, norm_after)))
        weight = convolution.weight.detach()
        weight = weight * (norm_after.weight / (norm_after.running_var + norm_after.eps).sqrt()).view(
            -1, 1, 1, 1
        )
        if norm_before is not None:
            scale = norm_before.weight / (norm_before.running_var + norm_before.eps).sqrt()
            weight = weight * scale.view(1, -1, 1, 1)
        self.weight, self.rule = weight.detach(), rule
        self.stride, self.padding = convolution.stride, convolution.padding

    def linear(self, x, weight):
        return nn.functional.conv2d(x, weight, None, self.stride, self.padding)

    def forward(self, x):
        return Through.apply(self.steps, lambda relevance, x: (self.back(relevance, x),), x)

    def back(self, relevance, x):
        z, bias = self.steps(x), self.steps(torch.zeros_like(x))
        up, down = self.weight.clamp(min=0), self.weight.clamp(max=0)
        plus, minus = x.clamp(min=0), x.clamp(max=0)
        if self.rule == "flat":
            return self.split(relevance, [(torch.ones_like(x), torch.ones_like(self.weight))])
        if self.rule == "epsilon":
            return self.split(relevance, [(x, self.weight)], bias, 1e-7)
        if self.rule == "z_plus":
            return self.split(relevance, [(plus, up), (minus, down)])
        if self.rule == "alpha_beta":  # iNNvestigate's: the whole bias, but not where it could cancel
            return self.split(relevance, [(plus, up), (minus, down)], bias * (z > 0))
        assert self.rule == "zennit plus"
        return self.split(relevance, [(plus, up), (minus, down)], bias.clamp(min=0), 1e-6)

    def split(self, relevance, terms, bias=0.0, epsilon=0.0):
        total = sum(self.linear(x, weight) for x, weight in terms) + bias
        total = stabilise(total, epsilon)
        sent = relevance / total
        result = 0
        for x, weight in terms:
            (slope,) = torch.autograd.functional.vjp(lambda v, w=weight: self.linear(v, w), x, sent)[1:]
            result = result + x * slope
        return result


def stabilise(total, epsilon):
    if epsilon == 0:
        return torch.where(total == 0, 1e-7, total)
    return total + epsilon * torch.where(total >= 0, 1.0, -1.0)


class ExplainedAdd(nn.Module):
    def __init__(self, epsilon):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, some, more):
        return Through.apply(torch.add, self.back, some, more)

    def back(self, relevance, some, more):
        total = stabilise(some + more, self.epsilon)
        return some * relevance / total, more * relevance / total


class Pass(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.activation = activation

    def forward(self, x):
        return Through.apply(self.activation, lambda relevance, x: (relevance,), x)


def explainable(network, rule, first="", epsilon=0.0):
    """Replace, in place, all layers of a network by such with rules of relevance; return the network."""
    for module in list(network.modules()):
        if isinstance(module, (Block, ResNet)):
            numbers = range(1, 1 + getattr(module, "count", 1))
            pairs = [(None, f"conv{number}", f"bn{number}") for number in numbers]
        elif isinstance(module, ArcBlock):
            pairs = [("bn1", "conv1", "bn2"), (None, "conv2", "bn3")]
        elif isinstance(module, ArcFace):
            pairs = [(None, "conv1", "bn1")]
        else:
            continue
        for before, convolution, after in pairs:
            norm = None if before is None else getattr(module, before)
            here = first if first and module is network else rule
            merged = Explained(norm, getattr(module, convolution), getattr(module, after), here)
            setattr(module, convolution, merged)
            setattr(module, after, nn.Identity())
            if before is not None:
                setattr(module, before, nn.Identity())
        if getattr(module, "downsample", None) is not None:
            module.downsample = Explained(None, *module.downsample, rule)
        if hasattr(module, "add"):
            module.add = ExplainedAdd(epsilon)
        for name, child in list(module.named_children()):
            if isinstance(child, (nn.ReLU, nn.PReLU)):
                setattr(module, name, Pass(child))
    return network

"""The nets in PyTorch: eager, channels last."""

from typing import Any

import jax
import jax.numpy as jnp
import torch  # pyrefly: ignore
from torch import nn  # pyrefly: ignore
from torch.nn import functional  # pyrefly: ignore

from experiments.benchmarks.nets import CLASSES, DEPTHWISE, LEARNING_RATE, LENET, MOMENTUM, RESNET20, STEM, VGG


def build(name: str, dtype: Any) -> "Eager":
    if dtype != jnp.float32:
        raise NotImplementedError("PyTorch is compared in float32")
    return Eager(_NETS[name](), "cuda" if jax.default_backend() == "gpu" else "cpu")


class Eager:
    """A net and its training: `step(images, labels)` and `forward(images)` start work, `wait` waits for it."""

    def __init__(self, net: Any, device: str) -> None:
        torch.backends.cudnn.benchmark = True
        self.device = device
        self.net = net.to(device=device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.net.parameters(), LEARNING_RATE, MOMENTUM)

    def tensors(self, batch: Any) -> tuple[Any, Any]:
        """Return a batch's images (N, H, W, C) as (N, C, H, W) with channels last in memory, and its labels."""
        image = torch.tensor(batch["image"], device=self.device).permute(0, 3, 1, 2)
        label = torch.tensor(batch["label"], device=self.device, dtype=torch.int64)
        return image.contiguous(memory_format=torch.channels_last), label

    def step(self, image: Any, label: Any) -> Any:
        """Train on a batch and return the loss before."""
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(self.net(image), label)
        loss.backward()
        self.optimizer.step()
        return loss

    def forward(self, image: Any) -> Any:
        """Return the logits, not training."""
        self.net.eval()
        with torch.no_grad():
            return self.net(image)

    def wait(self) -> None:
        """Wait for all that was started."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def lenet():
    first, second, units = LENET
    return nn.Sequential(
        nn.Conv2d(1, first, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(7 * 7 * second, units),
        nn.ReLU(),
        nn.Linear(units, CLASSES),
    )


def vgg():
    layers, channels = [], 3
    for maps in VGG:
        layers.append(nn.MaxPool2d(2) if maps == "pool" else _unit(channels, maps))
        channels = channels if maps == "pool" else maps
    return nn.Sequential(*layers, *_head(channels))


def resnet20():
    channels = RESNET20[0][0]
    layers = [_unit(3, channels)]
    for maps, stride in RESNET20:
        layers.append(Block(channels, maps, stride))
        channels = maps
    return nn.Sequential(*layers, *_head(channels))


def depthwise():
    layers, channels = [_unit(3, STEM)], STEM
    for maps, stride in DEPTHWISE:
        layers += [_unit(channels, channels, stride=stride, groups=channels), _unit(channels, maps, size=1)]
        channels = maps
    return nn.Sequential(*layers, *_head(channels))


class Block(nn.Module):
    def __init__(self, channels, maps, stride):
        super().__init__()
        self.branch = nn.Sequential(_unit(channels, maps, stride=stride), _unit(maps, maps, act=False))
        self.stride, self.new = stride, maps - channels

    def forward(self, x):  # noqa: D102
        y = self.branch(x)
        if self.stride != 1:
            x = functional.pad(
                x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new // 2, self.new - self.new // 2)
            )
        return functional.relu(y + x)


def _unit(channels, maps, *, size=3, stride=1, groups=1, act=True):
    conv = nn.Conv2d(channels, maps, size, stride, size // 2, groups=groups, bias=False)
    layers = [conv, nn.BatchNorm2d(maps)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if act else nn.Sequential(*layers)


def _head(channels):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)


_NETS = {"lenet": lenet, "vgg": vgg, "resnet20": resnet20, "depthwise": depthwise}

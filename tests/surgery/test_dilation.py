"""Nets without strides, whose later convolutions look further apart: the same maps, at more places."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import models, surgery
from jaxcnn.layers import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    DepthwiseConv,
    Gate,
    Layer,
    LpPool,
    MaxPool,
    Residual,
    Sequential,
    StandardizedConv,
    Upsample,
)
from jaxcnn.models.cifar_resnet import PadShortcut

pytestmark = pytest.mark.usefixtures("quick_compilation")
X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16, 24, 3)), jnp.float32)


def both(net, at):
    """Return what the net gives, and the dilated one with the same parameters."""
    dilated = surgery.dilate(net, at)

    @jax.jit
    def run(key):
        params, state = net.init(key, X)
        return [each.apply(params, state, X, train=False)[0] for each in (net, dilated)]

    return run(jax.random.key(0))


# Nets of which the stride 2 in "b" goes, and what comes after it.
SAME_MAPS = {
    "convolutions": Sequential(a=Conv(4), b=Conv(4, stride=2, padding=1), c=Conv(4, padding=2, dilation=2)),
    "a kernel of even size": Sequential(b=Conv(4, 2, stride=2, padding="VALID"), c=Conv(5)),
    "one axis": Sequential(b=Conv(4, stride=(1, 2), padding=1), c=Conv(4)),
    "max pooling": Sequential(b=MaxPool(2), c=Conv(4)),
    "max pooling that overlaps": Sequential(b=MaxPool(3, stride=2, padding=1), c=Conv(4)),
    "average pooling": Sequential(b=AvgPool(2), c=Conv(4)),
    "functions that pool": Sequential(b=F.max_pool, c=Conv(4)),
    "branches": Sequential(
        b=Concat(
            left=Sequential(conv=Conv(3, stride=2, padding=1), act=F.relu, deep=Conv(2, padding=1)),
            right=MaxPool(2),
        ),
        c=Residual(Sequential(conv=StandardizedConv(5), norm=BatchNorm()), shortcut=None),
        d=DepthwiseConv(5, padding=2),
    ),
    "a stride after it": Sequential(b=Conv(4, stride=2, padding=1), c=Conv(4, stride=2, padding=1)),
    "every other pixel": Sequential(b=Residual(Conv(6, stride=2, padding=1), PadShortcut(6)), c=Conv(4)),
    "gates": Sequential(b=Sequential(conv=Conv(4, stride=2, padding=1)), c=Sequential(gate=Gate(F.sigmoid), d=Conv(2))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME_MAPS)
def test_the_same_maps_at_more_places(name):
    net = SAME_MAPS[name]
    coarse, fine = both(net, ["b"])
    assert fine.shape[2] == 2 * coarse.shape[2]
    rows = 1 if name == "one axis" else 2
    np.testing.assert_allclose(fine[:, ::rows, ::2], coarse, rtol=1e-4, atol=1e-5)


def test_of_a_residual_net_it_is_the_rule_of_torchvision():
    """The first block of a stage looks as far apart as the stage before, the others twice as far."""
    net = surgery.dilate(models.resnet(50), ["stage3", "stage4"])
    for stage, first, others in (("stage2", 1, 1), ("stage3", 1, 2), ("stage4", 2, 4)):
        for name, block in net[stage].layers.items():
            branch, rate = block["residual"].branch, first if name == "block1" else others
            assert branch["conv1"].dilation == branch["conv3"].dilation == (1, 1)
            assert (branch["conv2"].dilation, branch["conv2"].padding) == ((rate, rate), ((rate, rate),) * 2)
            assert branch["conv2"].stride == ((2, 2) if (stage, name) == ("stage2", "block1") else (1, 1))
    assert net["stage4"]["block1"]["residual"].shortcut["conv"] == Conv(2048, 1, padding=0, use_bias=False)
    assert surgery.dilate(net, ["stage3", "stage4"]) == net  # there is nothing left to take out


@pytest.mark.slow
def test_two_strides_of_a_whole_net():
    net = models.resnet(10, width=4, small_images=True)[:-2]
    coarse, fine = both(net, ["stage3", "stage4"])
    assert (coarse.shape[1:3], fine.shape[1:3]) == ((2, 3), (8, 12))
    np.testing.assert_allclose(fine[:, ::4, ::4], coarse, rtol=1e-4, atol=1e-5)


def test_windows_of_pooling_grow():
    net = Sequential(a=Conv(4, stride=2, padding=1), b=MaxPool(2), c=AvgPool(3, stride=2, padding=1))
    dilated = surgery.dilate(net, ["a", "b", "c"])
    assert dilated["b"] == MaxPool(3, stride=1, padding=((0, 2), (0, 2)))
    assert dilated["c"] == AvgPool(9, stride=1, padding=4)


def test_wrappers_and_names_stay():
    frozen, plain = ["stage3", "stage4/block1"], models.resnet(10, width=4)
    net = surgery.freeze(plain, frozen)
    dilated = surgery.dilate(net, ["stage4"])
    assert surgery.paths(dilated) == surgery.paths(net)
    assert dilated == surgery.freeze(surgery.dilate(plain, ["stage4"]), frozen)


@dataclass(frozen=True)
class Own(Layer):
    """A composite of one's own."""

    conv: Layer

    def children(self):
        return {"conv": self.conv}


@dataclass(frozen=True)
class Silent(Layer):
    """A layer of one's own that does not say how far it looks."""


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Sequential(b=Silent()), r"layers that say how far they look, got Silent\(\)\. Where one works pixel by"),
        (Sequential(b=MaxPool(), c=Silent()), r"layers that say how far they look, got Silent\(\)\."),
        (Sequential(b=ConvTranspose(4, stride=2)), r"layers that can look further apart, got ConvTranspose\("),
        (Sequential(b=LpPool()), r"layers that can look further apart, got LpPool\(\)\. Leave its part"),
        (Sequential(b=MaxPool(), c=Upsample()), r"layers that can look further apart, got Upsample\(\)\."),
        (Sequential(a=Conv(2)), r"the path of a layer, got 'b'\. There are \['a'\]"),
        (Sequential(b=Own(Conv(2))), r"a net of known composites, got Own\. Only of Sequential"),
    ],
)
def test_what_cannot_be_dilated(net, message):
    with pytest.raises(ValueError, match=rf"^dilate: expected {message}"):
        surgery.dilate(net, ["b"])


def test_what_comes_before_need_not_say_how_far_it_looks():
    net = Sequential(a=Silent(), b=Conv(2, stride=2, padding=1))
    assert surgery.dilate(net, ["b"]) == Sequential(a=Silent(), b=Conv(2, padding=1))


def test_no_paths():
    with pytest.raises(TypeError, match=r"^dilate: expected a sequence of paths, got 3\."):
        surgery.dilate(models.resnet(10), 3)

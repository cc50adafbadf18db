"""Aggregated transformations against the paper's tables and torchvision."""

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models, summarize
from jaxcnn.layers import Conv
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import timm, torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
PHOTOGRAPHS, CIFAR = (jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32) for size in (224, 32))
COSTS = [  # name, parameters, multiply-adds in G: torchvision's num_params and GFLOPS for 1000 classes
    pytest.param("resnext50_32x4d", 25_028_904, 4.23, marks=pytest.mark.slow),
    pytest.param("resnext101_32x8d", 88_791_336, 16.414, marks=pytest.mark.slow),
    pytest.param("resnext101_64x4d", 83_455_272, 15.46, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "parameters", "giga"), COSTS)
def test_costs(name, parameters, giga):
    found = summarize(models.create(name, 1000), PHOTOGRAPHS)
    assert (found.parameters, round(found.multiply_adds / 1e9, 3)) == (parameters, giga)


@pytest.mark.slow
@pytest.mark.parametrize(("cardinality", "group_width", "millions"), [(8, 64, "34.4"), (16, 64, "68.1")])
def test_parameters_on_cifar(cardinality, group_width, millions):
    # Xie et al. 2017, table 7, of 10 classes; further digits are cut off there.
    net = models.resnext(29, cardinality=cardinality, group_width=group_width, small_images=True)
    params, _ = jax.eval_shape(net.init, jax.random.key(0), CIFAR)
    assert str(sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6).startswith(millions)
    if cardinality == 8:
        assert net == models.create("resnext29_8x64d")


def test_blocks_are_those_of_the_papers_table_1():
    net = models.create("resnext50_32x4d")
    assert [len(net[f"stage{i}"]) for i in (1, 2, 3, 4)] == [3, 4, 6, 3]
    for stage, inner, outputs in ((1, 128, 256), (2, 256, 512), (3, 512, 1024), (4, 1024, 2048)):
        branch = net[f"stage{stage}"]["block2"]["residual"].branch
        assert branch["conv1"] == Conv(inner, 1, padding=0, use_bias=False)
        assert branch["conv2"] == Conv(inner, 3, padding=1, groups=32, use_bias=False)
        assert branch["conv3"] == Conv(outputs, 1, padding=0, use_bias=False)


def test_one_group_makes_a_resnet():
    assert models.resnext(50, cardinality=1, group_width=64) == models.resnet(50)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [14, pytest.param(29, marks=pytest.mark.slow)])
def test_signals_neither_vanish_nor_explode_at_the_start(depth):
    found = deviations(models.resnext(depth, cardinality=4, group_width=4, width=8, small_images=True))
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 18}, r"^resnext: expected depth as one of \[14, 26, 29, 50, 101, 152\], got 18\."),
        ({"cardinality": 0}, r"^resnext: expected cardinality as a positive int, got 0\."),
        ({"group_width": 0}, r"^resnext: expected group_width as a positive int, got 0\."),
        ({"width": 0}, r"^resnext: expected width as a positive int, got 0\."),
        ({"num_classes": 0}, r"^resnext: expected num_classes as a positive int, got 0\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        models.resnext(**{"depth": 50, **options})


def test_the_same_logits_as_the_smallest_of_torchvision():
    theirs = torchvision().models.resnet
    made = theirs.ResNet(theirs.Bottleneck, [1, 1, 1, 1], num_classes=7, groups=8, width_per_group=4)
    check_same_net(models.resnext(14, 7, cardinality=8, group_width=4), made)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"])
def test_the_same_logits_as_torchvision(name):
    check_same_net(models.create(name, 7), getattr(torchvision().models, name)(num_classes=7))


@pytest.mark.slow
def test_the_same_logits_as_timm():
    theirs = timm().create_model("resnext50_32x4d", num_classes=7)
    check_same_net(models.create("resnext50_32x4d", 7), theirs, layout="timm")

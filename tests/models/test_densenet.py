"""Dense nets, for photographs and for small images, against the paper's tables, torchvision and timm."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import models, summarize, surgery
from jaxcnn.layers import BatchNorm, Conv, Dropout
from jaxcnn.models.densenet import dense_net
from tests.models.drawn import redrawn
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import timm, torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
slow = pytest.mark.slow


@functools.cache
def costs(name, size):
    classes = 10 if name.startswith("cifar") else 1000
    return summarize(models.create(name, classes), jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))


def parameters(net, size=32):
    params, _ = jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@slow
@pytest.mark.parametrize(
    ("name", "count", "giga"),
    [  # torchvision's num_params and GFLOPS for 1000 classes
        ("densenet121", 7_978_856, 2.834),
        ("densenet161", 28_681_000, 7.728),
        ("densenet169", 14_149_480, 3.36),
        ("densenet201", 20_013_928, 4.291),
    ],
)
def test_costs(name, count, giga):
    found = costs(name, 224)
    assert (found.parameters, round(found.multiply_adds / 1e9, 3)) == (count, giga)


@slow
def test_outputs_are_those_of_the_papers_table_1():
    assert {row.path: row.output[1:] for row in costs("densenet121", 224).rows if "/" not in row.path} == {
        "stem": (56, 56, 64),
        "stage1": (56, 56, 256),
        "transition1": (28, 28, 128),
        "stage2": (28, 28, 512),
        "transition2": (14, 14, 256),
        "stage3": (14, 14, 1024),
        "transition3": (7, 7, 512),
        "stage4": (7, 7, 1024),
        "norm": (7, 7, 1024),
        "act": (7, 7, 1024),
        "pool": (1024,),
        "head": (1000,),
    }


@pytest.mark.parametrize("depth", [121, 161, 169, 201])
def test_depth_counts_the_layers_with_weights(depth):
    paths = surgery.paths(models.densenet(depth))
    assert sum("conv" in path.rpartition("/")[2] for path in paths) + 1 == depth


@pytest.mark.parametrize(
    ("depth", "growth", "count"),
    [  # the paper's table 2, in millions: 0.8, 15.3, 25.6
        (10, 12, 0.02),  # not in the paper
        pytest.param(100, 12, 0.77, marks=slow),
        pytest.param(250, 24, 15.32, marks=slow),
        pytest.param(190, 40, 25.62, marks=slow),
    ],
)
def test_parameters_for_small_images(depth, growth, count):
    net = models.cifar_densenet(depth, growth=growth)
    layers, maps, total = (depth - 4) // 6, 2 * growth, 3 * 9 * 2 * growth
    for block in range(3):
        for _ in range(layers):
            total += 2 * maps + maps * 4 * growth + 2 * 4 * growth + 4 * growth * 9 * growth
            maps += growth
        if block < 2:
            total += 2 * maps + maps * (maps // 2)
            maps //= 2
    total += 2 * maps + 10 * maps + 10
    assert parameters(net, 8) == total
    assert round(total / 1e6, 2) == count
    convolutions = [path for path in surgery.paths(net) if "conv" in path.rpartition("/")[2]]
    assert len(convolutions) + 1 == depth


def test_names_have_the_papers_growth():
    assert models.create("cifar_densenet100") == models.cifar_densenet(100, growth=12)
    assert models.create("cifar_densenet250") == models.cifar_densenet(250, growth=24)
    assert models.create("cifar_densenet190") == models.cifar_densenet(190, growth=40)
    assert models.densenet(161) == models.densenet(161, growth=48)
    assert models.densenet(121) == models.densenet(121, growth=32)


def test_a_layer_adds_maps_to_those_it_is_given():
    layer = models.cifar_densenet(10, growth=5)["stage1"]["layer1"]
    assert list(layer.children()["new"].layers) == ["norm1", "act1", "conv1", "norm2", "act2", "conv2"]
    assert layer.children()["new"]["conv1"] == Conv(20, 1, use_bias=False)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 10)), jnp.float32)
    y = jax.jit(lambda key: layer.apply(*layer.init(key, x), x, train=False)[0])(jax.random.key(0))
    assert y.shape == (1, 4, 4, 15)
    np.testing.assert_array_equal(y[..., :10], x)


def test_stems_and_ends():
    net, small = models.densenet(121), models.densenet(121, small_images=True)
    assert list(net["stem"].layers) == ["conv", "norm", "act", "pool"]
    assert net["stem"]["conv"] == Conv(64, 7, stride=2, padding=3, use_bias=False)
    assert list(small["stem"].layers) == ["conv", "norm", "act"]
    assert small["stem"]["conv"] == Conv(64, use_bias=False)
    assert small[1:] == net[1:]
    tiny = models.cifar_densenet(40)
    assert list(tiny["stem"].layers) == ["conv"]  # "a convolution with 16 (or twice the growth rate) output channels"
    assert list(tiny.layers)[-4:] == ["norm", "act", "pool", "head"]
    assert tiny["act"] is F.relu
    assert [len(tiny[f"stage{i}"]) for i in (1, 2, 3)] == [6, 6, 6]
    assert models.densenet(121, growth=16)["stem"]["conv"].features == 32


def test_dropout_follows_every_second_convolution():
    net = models.cifar_densenet(10, dropout=0.2)
    assert net["stage3"]["layer1"].children()["new"]["dropout"] == Dropout(0.2)
    assert not [path for path in surgery.paths(models.cifar_densenet(10)) if path.endswith("dropout")]


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(models.cifar_densenet(22), size=16)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"^densenet: expected num_classes as a positive int, got 0\."),
        ({"growth": 0}, r"^densenet: expected growth as a positive int, got 0\."),
        ({"dropout": 1.5}, r"^densenet: expected dropout in \[0, 1\], got 1\.5\."),
        ({"small_images": 1}, r"^densenet: expected small_images as a Python bool, got 1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.create("densenet121", **options)


@pytest.mark.parametrize("depth", [120, 121.0, "121"])
def test_bad_depths(depth):
    with pytest.raises(ValueError, match=r"^densenet: expected depth as one of \[121, 161, 169, 201\], got .*12"):
        models.densenet(depth)


@pytest.mark.parametrize(
    ("depth", "options", "message"),
    [
        (101, {}, r"a depth of 6 n \+ 4, got 101\. Try 10, 22, 34, 58 or 112\."),
        (4, {}, r"a depth of 6 n \+ 4, got 4\."),
        (22.0, {}, r"a depth of 6 n \+ 4, got 22\.0\."),
        (60_004, {}, r"depth of at most 10000, got 60004\."),
        (22, {"growth": -1}, r"growth as a positive int, got -1\."),
        (22, {"num_classes": 0}, r"num_classes as a positive int, got 0\."),
    ],
)
def test_bad_options_for_small_images(depth, options, message):
    with pytest.raises(ValueError, match=rf"^cifar_densenet: expected {message}"):
        models.cifar_densenet(depth, **options)


@pytest.mark.parametrize("library", ["torchvision", pytest.param("timm", marks=slow)])
def test_the_same_logits_as_a_small_one(library):
    if library == "torchvision":
        make, names = torchvision().models.densenet.DenseNet, {"num_init_features": 8}
    else:
        make, names = timm().models.densenet.DenseNet, {}
    theirs = make(growth_rate=4, block_config=(2, 1, 3, 1), num_classes=7, **names)
    net = dense_net("densenet", models.densenet(121, growth=4)["stem"], (2, 1, 3, 1), 4, 7, 0.0)
    check_same_net(net, redrawn(theirs), layout=library)


def test_the_same_logits_for_small_images():
    # torchvision has none for them, but its class makes one: without what comes after the first convolution.
    torch = pytest.importorskip("torch")
    theirs = torchvision().models.densenet.DenseNet(
        growth_rate=6, block_config=(2, 2, 2), num_init_features=12, num_classes=7
    )
    theirs.features.conv0 = torch.nn.Conv2d(3, 12, 3, padding=1, bias=False)
    for name in ("norm0", "relu0", "pool0"):
        delattr(theirs.features, name)
    # Its last norm is called the fifth, after four blocks, whatever there are.
    check_same_net(models.cifar_densenet(16, 7, growth=6), redrawn(theirs), size=8)


@slow
@pytest.mark.parametrize("name", ["densenet121", "densenet161", "densenet169", "densenet201"])
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_same_logits(library, name):
    if library == "torchvision":
        theirs = getattr(torchvision().models, name)(num_classes=7)
    else:
        theirs = timm().create_model(name, num_classes=7)
    check_same_net(models.create(name, 7), redrawn(theirs), layout=library)


def test_batch_norm_is_everywhere_the_same():
    net = models.densenet(121)
    assert {net["norm"], net["stem"]["norm"], net["transition1"]["norm"]} == {BatchNorm()}

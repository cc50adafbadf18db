"""Inception v3 against the paper's table and torchvision."""

import functools

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models, summarize
from jaxcnn.layers import AdaptiveAvgPool, Auxiliary, AvgPool, BatchNorm, Conv, MaxPool, Sequential
from tests.models.drawn import redrawn
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import timm, torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
slow = pytest.mark.slow


def spec(size):
    return jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)


@functools.cache
def costs():
    return summarize(models.inception_v3(1000, auxiliary=True), spec(299))


@pytest.mark.slow
def test_costs():
    found = costs()
    by_head = {row.path: row for row in found.rows}["aux"]
    # torchvision's num_params and GFLOPS: the former with the added classifier, the latter without.
    assert found.parameters == 27_161_264
    assert round((found.multiply_adds - by_head.multiply_adds) / 1e9, 3) == 5.713
    # "less than 25 million parameters" (section 9), without it; torchvision's net has so many without.
    assert found.parameters - by_head.parameters == 23_834_568


@pytest.mark.slow
def test_outputs_are_those_of_the_papers_table_1():
    found = {row.path: row.output[1:] for row in costs().rows}
    # What comes out is what goes into the next row there. Its sixth row is a 3x3 convolution; as in the authors' code
    # it is of 1x1, and the next one has no stride.
    expected = {
        "stem/conv1": (149, 149, 32),
        "stem/conv2": (147, 147, 32),
        "stem/conv3": (147, 147, 64),
        "stem/pool1": (73, 73, 64),
        "stem/conv4": (73, 73, 80),
        "stem/conv5": (71, 71, 192),
        "stem/pool2": (35, 35, 192),
        "stage1": (35, 35, 288),
        "stage2/mixed6a": (17, 17, 768),
        "stage2": (17, 17, 768),
        "stage3/mixed7a": (8, 8, 1280),
        "stage3": (8, 8, 2048),
        "pool": (2048,),
        "head": (1000,),
        "aux/pool": (5, 5, 768),
        "aux/conv2": (1, 1, 768),
        "aux": (1000,),
    }
    assert {path: found[path] for path in expected} == expected
    net = models.inception_v3()
    assert [len(net[f"stage{i}"]) for i in (1, 2, 3)] == [3, 5, 3]


def test_large_convolutions_are_factored():
    net = models.inception_v3()
    sevens = net["stage2"]["mixed6e"].children()["branch7x7dbl"]
    assert [unit["conv"].kernel_size for unit in sevens] == [(1, 1), (7, 1), (1, 7), (7, 1), (1, 7)]
    both = net["stage3"]["mixed7c"].children()["branch3x3"]["conv2"].children()  # figure 7
    assert {name: unit["conv"].kernel_size for name, unit in both.items()} == {"a": (1, 3), "b": (3, 1)}
    assert net["stem"]["pool1"] == net["stem"]["pool2"] == MaxPool(3, stride=2)
    assert net["stem"]["conv1"]["norm"] == BatchNorm(eps=1e-3)
    assert isinstance(net["stage1"]["mixed5b"].children()["branch_pool"]["pool"], AvgPool)


def test_the_added_classifier_is_taken_off_again():
    net = models.inception_v3(7, auxiliary=True)
    assert isinstance(net, Auxiliary)
    assert net.taps == (("aux", "stage2"),)
    assert net.main == models.inception_v3(7)
    assert net.children()["aux"]["pool"] == AvgPool(5, stride=3)


def test_small_images():
    net = models.inception_v3(small_images=True, auxiliary=True)
    assert [unit["conv"].features for unit in net.main["stem"]] == [32, 32, 64, 80, 192]
    assert net.main["stem"]["conv1"]["conv"] == Conv(32, 3, use_bias=False)
    assert net.main[1:] == models.inception_v3()[1:]
    assert net.children()["aux"]["pool"] == AdaptiveAvgPool(5)


@slow
@pytest.mark.parametrize(
    ("options", "smallest"), [({"small_images": True, "auxiliary": True}, 7), ({}, 75), ({"auxiliary": True}, 299)]
)
def test_the_smallest_images(options, smallest):
    net = models.inception_v3(**options)
    jax.eval_shape(net.init, jax.random.key(0), spec(smallest))
    with pytest.raises(ValueError, match=r"^(conv|max_pool): expected an image of at least \dx\d pixels"):
        jax.eval_shape(net.init, jax.random.key(0), spec(smallest - 1))


@slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(models.inception_v3(small_images=True), size=16, batch=4)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1.5}, r"^inception_v3: expected num_classes as a positive int, got 1\.5\."),
        ({"auxiliary": 1}, r"^inception_v3: expected auxiliary as a Python bool, got 1\."),
        ({"small_images": None}, r"^inception_v3: expected small_images as a Python bool, got None\."),
        ({"dropout": -0.5}, r"^Dropout: expected a rate in \[0, 1\], got -0\.5\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.inception_v3(**options)


def test_the_same_logits_of_a_module_of_each_stage():
    nn, vision = pytest.importorskip("torch").nn, torchvision().models
    theirs = vision.inception_v3(num_classes=7, aux_logits=False, init_weights=False)
    for name in ("5c", "5d", "6a", "6c", "6d", "6e", "7a", "7c"):
        setattr(theirs, f"Mixed_{name}", nn.Identity())
    theirs.Mixed_6b, theirs.Mixed_7b = vision.inception.InceptionC(256, 128), vision.inception.InceptionE(768)
    net = models.inception_v3(7)
    kept = {"stage1": "mixed5b", "stage2": "mixed6b", "stage3": "mixed7b"}
    stages = {stage: Sequential(**{name: net[stage][name]}) for stage, name in kept.items()}
    small = Sequential(stem=net["stem"], **stages, **net[-3:].layers)
    check_same_net(small, redrawn(theirs), size=43)


@slow
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_same_logits(library):
    if library == "torchvision":
        theirs = torchvision().models.inception_v3(num_classes=7, aux_logits=False, init_weights=False)
    else:
        theirs = timm().create_model("inception_v3", num_classes=7)
    check_same_net(models.inception_v3(7), redrawn(theirs, 75), layout=library, size=75)


@slow
def test_the_same_outputs_of_the_added_classifier():
    theirs = torchvision().models.inception_v3(num_classes=7, init_weights=False)
    torch = pytest.importorskip("torch")

    def outputs(x):
        theirs.training = True  # of the net itself: its batch norm and dropout are in evaluation
        return torch.cat(type(theirs).forward(theirs, x), 1)

    theirs.forward = outputs
    net = models.inception_v3(7, auxiliary=True)
    check_same_net(net, redrawn(theirs, 299), size=299, read=lambda y: jnp.concatenate([y["logits"], y["aux"]], 1))

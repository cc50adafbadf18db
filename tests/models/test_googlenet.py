"""GoogLeNet against the paper's table and torchvision."""

import functools

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models, summarize
from jaxcnn.layers import AdaptiveAvgPool, Auxiliary, AvgPool, Conv, LocalResponseNorm, MaxPool, Sequential
from tests.models.drawn import redrawn
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
slow = pytest.mark.slow


def spec(size):
    return jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)


@functools.cache
def costs(**options):
    return summarize(models.googlenet(1000, **options), spec(224))


@pytest.mark.slow
def test_outputs_are_those_of_the_papers_table_1():
    rows = {row.path: row for row in costs().rows}
    expected = {
        "stem/conv1": (112, 112, 64),
        "stem/pool1": (56, 56, 64),
        "stem/conv3": (56, 56, 192),
        "stem/pool2": (28, 28, 192),
        "stage1/inception3a": (28, 28, 256),
        "stage1/inception3b": (28, 28, 480),
        "stage1/pool": (14, 14, 480),
        "stage2/inception4a": (14, 14, 512),
        "stage3/inception4b": (14, 14, 512),
        "stage3/inception4c": (14, 14, 512),
        "stage3/inception4d": (14, 14, 528),
        "stage4/inception4e": (14, 14, 832),
        "stage4/pool": (7, 7, 832),
        "stage5/inception5a": (7, 7, 832),
        "stage5/inception5b": (7, 7, 1024),
        "pool": (1024,),
        "dropout": (1024,),
        "head": (1000,),
    }
    assert {path: rows[path].output[1:] for path in expected} == expected
    # Its "params", in units of 1024, to a twentieth; 4c is left out: 463 K, where the maps given there make 498.
    given = {"3a": 159, "3b": 380, "4a": 364, "4b": 437, "4d": 580, "4e": 840, "5a": 1072, "5b": 1388}
    found = {path.rpartition("inception")[2]: row.parameters / 1024 for path, row in rows.items()}
    assert {name: round(found[name] / kilo, 1) for name, kilo in given.items()} == dict.fromkeys(given, 1.0)


@pytest.mark.slow
def test_costs_of_the_papers_net():
    # By hand: weights and biases of table 1. "1.5 billion multiply-adds" (section 1).
    assert (costs().parameters, round(costs().multiply_adds / 1e9, 2)) == (6_998_552, 1.58)


@slow
@pytest.mark.parametrize(
    ("auxiliary", "parameters"),
    [(False, 6_624_904), (True, 13_004_888)],  # torchvision's num_params, and its net's with the added classifiers
)
def test_costs_with_batch_norm(auxiliary, parameters):
    found = costs(batch_norm=True, auxiliary=auxiliary)
    assert found.parameters == parameters
    if not auxiliary:
        assert round(found.multiply_adds / 1e9, 3) == 1.498  # torchvision's GFLOPS


def test_the_added_classifiers_are_those_of_section_5():
    net = models.googlenet(1000, auxiliary=True)
    assert isinstance(net, Auxiliary)
    assert net.taps == (("aux1", "stage2"), ("aux2", "stage3"))  # after modules 4a and 4d
    assert net.main == models.googlenet(1000)
    # "4x4x512 output for the (4a), and 4x4x528 for the (4d) stage", 128 maps, 1024 units, 70 % dropped outputs
    for head, channels in (("aux1", 512), ("aux2", 528)):
        found = summarize(net.children()[head], jax.ShapeDtypeStruct((1, 14, 14, channels), jnp.float32))
        shapes = {row.path: row.output[1:] for row in found.rows}
        assert (shapes["pool"], shapes["conv"]) == ((4, 4, channels), (4, 4, 128))
        assert (shapes["hidden"], shapes["head"]) == ((1024,), (1000,))
        assert net.children()[head]["dropout"].rate == 0.7
    assert net.children()["aux1"]["pool"] == AvgPool(5, stride=3)
    assert models.googlenet(batch_norm=True, auxiliary=True).children()["aux2"]["pool"] == AdaptiveAvgPool(4)


def test_what_batch_norm_takes_the_place_of():
    ours, theirs = models.googlenet(), models.googlenet(batch_norm=True)
    assert isinstance(ours["stem"]["norm1"], LocalResponseNorm)
    assert list(ours["stem"].layers) == ["conv1", "pool1", "norm1", "conv2", "conv3", "norm2", "pool2"]
    assert list(theirs["stem"].layers) == ["conv1", "pool1", "conv2", "conv3", "pool2"]
    large = ours["stage1"]["inception3a"].children()["branch3"]["expand"]["conv"]
    small = theirs["stage1"]["inception3a"].children()["branch3"]["expand"]["conv"]
    assert (large, small) == (Conv(32, 5, padding=2), Conv(32, 3, padding=1, use_bias=False))
    assert (ours["stage4"]["pool"], theirs["stage4"]["pool"]) == (ours["stem"]["pool1"], MaxPool(2, ceil_mode=True))


def test_small_images():
    net = models.googlenet(small_images=True)
    assert net["stem"]["conv1"]["conv"] == Conv(64, 3, padding=1)
    assert net[1:] == models.googlenet()[1:]
    assert list(models.googlenet(small_images=True, batch_norm=True)["stem"].layers) == ["conv1", "conv2", "conv3"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "smallest"),
    [
        ({"small_images": True}, 6),
        pytest.param({}, 47, marks=slow),
        pytest.param({"auxiliary": True}, 79, marks=slow),
    ],
)
def test_the_smallest_images(options, smallest):
    net = models.googlenet(**options)
    jax.eval_shape(net.init, jax.random.key(0), spec(smallest))
    with pytest.raises(ValueError, match=r"^(max|avg)_pool: expected an image of at least \dx\d pixels"):
        jax.eval_shape(net.init, jax.random.key(0), spec(smallest - 1))


@slow
@pytest.mark.parametrize("batch_norm", [False, True])
def test_signals_neither_vanish_nor_explode_at_the_start(batch_norm):
    found = deviations(models.googlenet(small_images=True, batch_norm=batch_norm), size=16, batch=4)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"^googlenet: expected num_classes as a positive int, got 0\."),
        ({"batch_norm": 1}, r"^googlenet: expected batch_norm as a Python bool, got 1\."),
        ({"auxiliary": None}, r"^googlenet: expected auxiliary as a Python bool, got None\."),
        ({"small_images": "no"}, r"^googlenet: expected small_images as a Python bool, got 'no'\."),
        ({"dropout": 2}, r"^Dropout: expected a rate in \[0, 1\], got 2\."),
        ({"auxiliary": True, "auxiliary_dropout": -1}, r"^Dropout: expected a rate in \[0, 1\], got -1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.googlenet(**options)


def test_the_same_logits_of_the_first_modules_as_torchvision():
    torch = pytest.importorskip("torch")
    theirs = torchvision().models.googlenet(num_classes=7, aux_logits=False, init_weights=False)
    for name in ("inception4a", "inception4b", "inception4c", "inception4d", "inception4e", "maxpool4"):
        setattr(theirs, name, torch.nn.Identity())
    theirs.inception5a = theirs.inception5b = torch.nn.Identity()
    theirs.fc = torch.nn.Linear(480, 7)
    net = models.googlenet(7, batch_norm=True)
    check_same_net(Sequential(**net[:2].layers, **net[-3:].layers), redrawn(theirs))


@slow
@pytest.mark.parametrize("auxiliary", [False, True])
def test_the_same_outputs_as_torchvision(auxiliary):
    theirs = torchvision().models.googlenet(num_classes=7, aux_logits=auxiliary, init_weights=False)
    net = models.googlenet(7, batch_norm=True, auxiliary=auxiliary)
    if not auxiliary:
        check_same_net(net, redrawn(theirs), size=64)
        return
    torch = pytest.importorskip("torch")

    def outputs(x):
        theirs.training = True  # of the net itself: its batch norm and dropout are in evaluation
        return torch.cat(type(theirs).forward(theirs, x), 1)

    theirs.forward = outputs
    names = ("logits", "aux2", "aux1")
    check_same_net(net, redrawn(theirs), size=64, read=lambda y: jnp.concatenate([y[name] for name in names], 1))

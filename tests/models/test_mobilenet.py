"""MobileNet v1 and v2 against the papers' tables, torchvision and timm."""

import functools

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import functional as F
from jaxcnn import models, summarize
from jaxcnn.layers import Conv, DepthwiseConv, Residual
from jaxcnn.models.mobilenet_v1 import round_channels
from tests.models.drawn import redrawn
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import timm, torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
slow = pytest.mark.slow


@functools.cache
def costs(net, size=224):
    """Return the table of the net for images of that size, and its parts' shapes."""
    found = summarize(net, jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))
    return found, {row.path: row.output[1:] for row in found.rows if "/" not in row.path}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "parameters", "multiply_adds"),
    [
        (1.0, 4_231_976, 568_740_352),  # Howard et al. 2017, table 6: 4.2 M, 569 M; timm's mobilenetv1_100
        pytest.param(0.75, 2_585_560, 325_400_448, marks=slow),  # table 6: 2.6 M, 325 M
        pytest.param(0.5, 1_331_592, 149_497_088, marks=slow),  # table 6: 1.3 M, 149 M
        pytest.param(0.25, 470_072, 41_030_272, marks=slow),  # table 6: 0.5 M, 41 M
    ],
)
def test_costs_of_the_first(width, parameters, multiply_adds):
    found, _ = costs(models.mobilenet_v1(1000, width=width))
    assert (found.parameters, found.multiply_adds) == (parameters, multiply_adds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "size", "parameters", "millions"),
    [
        (1.0, 224, 3_504_872, 301),  # torchvision's num_params and GFLOPS; Sandler et al. 2018, table 4: 3.4 M, 300 M
        pytest.param(1.4, 224, 6_108_776, 582, marks=slow),  # the net that the authors released: 6.06 M, 582 M
        pytest.param(0.5, 224, 1_968_680, 97, marks=slow),  # the net that the authors released: 1.95 M, 97 M
    ],
)
def test_costs_of_the_second(width, size, parameters, millions):
    found, _ = costs(models.mobilenet_v2(1000, width=width), size)
    assert (found.parameters, round(found.multiply_adds / 1e6)) == (parameters, millions)


@pytest.mark.slow
def test_stages_are_those_of_the_papers():
    # Howard et al. 2017, table 1; Sandler et al. 2018, table 2.
    assert costs(models.mobilenet_v1(1000))[1] == {
        "stem": (112, 112, 32),
        "stage1": (112, 112, 64),
        "stage2": (56, 56, 128),
        "stage3": (28, 28, 256),
        "stage4": (14, 14, 512),
        "stage5": (7, 7, 1024),
        "pool": (1024,),
        "dropout": (1024,),
        "head": (1000,),
    }
    assert costs(models.mobilenet_v2(1000))[1] == {
        "stem": (112, 112, 32),
        "stage1": (112, 112, 16),
        "stage2": (56, 56, 24),
        "stage3": (28, 28, 32),
        "stage4": (14, 14, 64),
        "stage5": (14, 14, 96),
        "stage6": (7, 7, 160),
        "stage7": (7, 7, 320),
        "last": (7, 7, 1280),
        "pool": (1280,),
        "dropout": (1280,),
        "head": (1000,),
    }


def test_blocks_of_the_first():
    block = models.mobilenet_v1()["stage3"]["block1"]
    assert block["depthwise"]["conv"] == DepthwiseConv(3, stride=2, padding=1, use_bias=False)
    assert block["pointwise"]["conv"] == Conv(256, 1, use_bias=False)
    assert block["depthwise"]["act"] is block["pointwise"]["act"] is F.relu6


def test_blocks_of_the_second():
    net = models.mobilenet_v2()
    added = {f"stage{i}": [isinstance(block, Residual) for block in net[f"stage{i}"]] for i in range(1, 8)}
    assert added == {
        "stage1": [False],
        "stage2": [False, True],
        "stage3": [False, True, True],
        "stage4": [False, True, True, True],
        "stage5": [False, True, True],
        "stage6": [False, True, True],
        "stage7": [False],
    }
    assert list(net["stage1"]["block1"].layers) == ["depthwise", "project"]  # as wide inside as its input
    branch = net["stage5"]["block2"].branch
    assert branch["expand"]["conv"].features == 6 * 96
    assert [list(part.layers) for part in branch] == [
        ["conv", "norm", "act"],
        ["conv", "norm", "act"],
        ["conv", "norm"],
    ]
    assert branch["depthwise"]["act"] is F.relu6


@pytest.mark.parametrize("make", [models.mobilenet_v1, models.mobilenet_v2])
def test_small_images(make):
    small, large = make(small_images=True), make()
    assert small["stem"]["conv"].stride == (1, 1)
    assert small[1:] == large[1:]
    assert large["stem"]["conv"].stride == (2, 2)


def test_width():
    assert models.mobilenet_v1(width=0.25)["stem"]["conv"].features == 8
    assert models.mobilenet_v2(width=1.4)["last"]["conv"].features == 1792
    assert models.mobilenet_v2(width=0.35)["last"]["conv"].features == 1280
    # By hand: 8 is nearest to 11.2, but 29 % less.
    assert [round_channels(c) for c in (1, 8, 11.2, 12, 33.6, 67.2, 68, 1024)] == [8, 8, 16, 16, 32, 64, 72, 1024]


@pytest.mark.slow
@pytest.mark.parametrize("make", [models.mobilenet_v1, pytest.param(models.mobilenet_v2, marks=slow)])
def test_signals_neither_vanish_nor_explode_at_the_start(make):
    found = deviations(make(width=0.25, small_images=True))
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize("make", [models.mobilenet_v1, models.mobilenet_v2])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, r"^mobilenet_v[12]: expected width in \(0, 100\], got 0\. 1\.0 is the paper's net"),
        ({"width": 101}, r"^mobilenet_v[12]: expected width in \(0, 100\], got 101\."),
        ({"num_classes": 0}, r"^mobilenet_v[12]: expected num_classes as a positive int, got 0\."),
        ({"dropout": 2}, r"^Dropout: expected a rate in \[0, 1\], got 2\."),
        ({"small_images": 1}, r"^mobilenet_v[12]: expected small_images as a Python bool, got 1\."),
    ],
)
def test_bad_options(make, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(**options)


def test_the_first_has_the_logits_of_timm():
    check_same_net(
        models.mobilenet_v1(7), redrawn(timm().create_model("mobilenetv1_100", num_classes=7)), layout="timm"
    )


def test_the_second_has_the_logits_of_torchvision():
    check_same_net(models.mobilenet_v2(7), redrawn(torchvision().models.mobilenet_v2(num_classes=7)))


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (models.mobilenet_v2(7, width=0.5), "mobilenetv2_050"),
        pytest.param(models.mobilenet_v2(7), "mobilenetv2_100", marks=slow),
        pytest.param(models.mobilenet_v2(7, width=1.4), "mobilenetv2_140", marks=slow),
        pytest.param(models.mobilenet_v1(7, width=1.25), "mobilenetv1_125", marks=slow),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_same_logits_as_timm(net, name):
    check_same_net(net, redrawn(timm().create_model(name, num_classes=7)), layout="timm", size=64)


@slow
@pytest.mark.parametrize("width", [0.35, 1.0, 1.3])
def test_the_same_logits_as_torchvision(width):
    theirs = torchvision().models.mobilenet_v2(num_classes=7, width_mult=width)
    check_same_net(models.mobilenet_v2(7, width=width), redrawn(theirs), size=64)

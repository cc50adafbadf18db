"""EfficientNet against the paper's tables, torchvision and timm."""

import functools

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import functional as F
from jaxcnn import models, summarize
from jaxcnn.layers import DropPath, Residual
from tests.models.drawn import redrawn
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import timm, torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
slow = pytest.mark.slow


@functools.cache
def costs(name, size):
    return summarize(models.create(name, 1000), jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "parameters", "giga"),
    [  # torchvision's num_params and GFLOPS for 1000 classes, at the sizes of its weights; Tan and Le 2019, table 2:
        # 5.3, 7.8, 9.2, 12 M, and 0.39, 0.70, 1.0, 1.8 G multiply-adds
        ("efficientnet_b0", 224, 5_288_548, 0.386),
        pytest.param("efficientnet_b1", 240, 7_794_184, 0.687, marks=slow),
        pytest.param("efficientnet_b2", 288, 9_109_994, 1.088, marks=slow),
        pytest.param("efficientnet_b3", 300, 12_233_232, 1.827, marks=slow),
    ],
)
def test_costs(name, size, parameters, giga):
    found = costs(name, size)
    assert (found.parameters, round(found.multiply_adds / 1e9, 3)) == (parameters, giga)


@pytest.mark.slow
def test_stages_are_those_of_the_papers_table_1():
    assert {row.path: row.output[1:] for row in costs("efficientnet_b0", 224).rows if "/" not in row.path} == {
        "stem": (112, 112, 32),
        "stage1": (112, 112, 16),
        "stage2": (56, 56, 24),
        "stage3": (28, 28, 40),
        "stage4": (14, 14, 80),
        "stage5": (14, 14, 112),
        "stage6": (7, 7, 192),
        "stage7": (7, 7, 320),
        "last": (7, 7, 1280),
        "pool": (1280,),
        "dropout": (1280,),
        "head": (1000,),
    }


def test_blocks():
    net = models.efficientnet(drop_path=0.32)
    kernels = [stage["block1"]["depthwise"]["conv"].kernel_size[0] for stage in net[1:8]]
    assert kernels == [3, 3, 5, 3, 5, 5, 3]  # table 1
    block = net["stage3"]["block2"].branch
    assert list(block.layers) == ["expand", "depthwise", "se", "project", "drop"]
    assert block["expand"]["conv"].features == 6 * 40
    assert block["se"].branch["reduce"].features == 10  # a quarter of 40
    assert block["se"].branch["act"] is block["expand"]["act"] is F.silu
    assert list(block["project"].layers) == ["conv", "norm"]
    # The last block left out most often: 16 blocks, the rate of each 0.02 more than of the one before.
    rates = {
        f"{stage}/{name}": block.branch["drop"].rate
        for stage in net[1:8].layers
        for name, block in net[stage].layers.items()
        if isinstance(block, Residual)
    }
    assert rates == pytest.approx(
        {
            "stage2/block2": 0.04,
            "stage3/block2": 0.08,
            "stage4/block2": 0.12,
            "stage4/block3": 0.14,
            "stage5/block2": 0.18,
            "stage5/block3": 0.2,
            "stage6/block2": 0.24,
            "stage6/block3": 0.26,
            "stage6/block4": 0.28,
        }
    )
    assert net["stage4"]["block2"].branch["drop"] == DropPath(0.32 * 6 / 16)


def test_compound_scaling():
    # Blocks and channels of the reference code's B3, by width 1.2 and depth 1.4.
    net = models.create("efficientnet_b3")
    assert [len(stage) for stage in net[1:8]] == [2, 3, 3, 5, 5, 6, 2]
    assert net["stem"]["conv"].features == 40
    assert net["last"]["conv"].features == 1536
    assert net["dropout"].rate == 0.3
    assert net == models.efficientnet(width=1.2, depth=1.4, dropout=0.3)


def test_small_images():
    small, large = models.efficientnet(small_images=True), models.efficientnet()
    assert (small["stem"]["conv"].stride, large["stem"]["conv"].stride) == ((1, 1), (2, 2))
    assert small[1:] == large[1:]


@slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(models.efficientnet(width=0.25, depth=0.5, small_images=True))
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": -1}, r"^efficientnet: expected width in \(0, 100\], got -1\."),
        ({"depth": 0}, r"^efficientnet: expected depth in \(0, 100\], got 0\. 1\.0 is B0's"),
        ({"drop_path": 1.5}, r"^efficientnet: expected drop_path in \[0, 1\], got 1\.5\. It is a rate"),
        ({"dropout": 1.5}, r"^Dropout: expected a rate in \[0, 1\], got 1\.5\."),
        ({"num_classes": 0}, r"^efficientnet: expected num_classes as a positive int, got 0\."),
        ({"small_images": 1}, r"^efficientnet: expected small_images as a Python bool, got 1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.efficientnet(**options)


def test_the_same_logits_as_torchvision():
    check_same_net(models.efficientnet(7), redrawn(torchvision().models.efficientnet_b0(num_classes=7)))


def test_the_same_logits_of_a_small_one_as_timm():
    theirs = timm().models.efficientnet._gen_efficientnet("efficientnet_b0", 0.25, 0.5, num_classes=7)
    check_same_net(models.efficientnet(7, width=0.25, depth=0.5), redrawn(theirs), layout="timm")


@slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3"])
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_same_logits(library, name):
    theirs = getattr(torchvision().models if library == "torchvision" else timm().models, name)(num_classes=7)
    check_same_net(models.create(name, 7), redrawn(theirs), layout=library, size=64)

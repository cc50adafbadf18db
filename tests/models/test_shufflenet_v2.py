"""ShuffleNet v2 against the paper's table and torchvision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import models, summarize
from jaxcnn.layers import ChannelChunk, ChannelShuffle
from tests.models.drawn import redrawn
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
slow = pytest.mark.slow


@functools.cache
def costs(width):
    return summarize(models.shufflenet_v2(1000, width=width), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "parameters", "giga"),
    [  # torchvision's num_params and GFLOPS for 1000 classes; Ma et al. 2018, table 5: 1.4, 2.3, 3.5, 7.4 M, and 41,
        # 146, 299, 591 M multiply-adds
        (0.5, 1_366_792, 0.04),
        pytest.param(1.0, 2_278_604, 0.145, marks=slow),
        pytest.param(1.5, 3_503_624, 0.296, marks=slow),
        pytest.param(2.0, 7_393_996, 0.583, marks=slow),
    ],
)
def test_costs(width, parameters, giga):
    found = costs(width)
    assert (found.parameters, round(found.multiply_adds / 1e9, 3)) == (parameters, giga)


@pytest.mark.slow
def test_stages_are_those_of_the_papers_table_5():
    assert {row.path: row.output[1:] for row in costs(0.5).rows if "/" not in row.path} == {
        "stem": (56, 56, 24),
        "stage1": (28, 28, 48),
        "stage2": (14, 14, 96),
        "stage3": (7, 7, 192),
        "last": (7, 7, 1024),
        "pool": (1024,),
        "head": (1000,),
    }
    assert [len(models.shufflenet_v2()[f"stage{i}"]) for i in (1, 2, 3)] == [4, 8, 4]


def test_half_of_the_channels_pass_a_block_unchanged():
    block = models.shufflenet_v2(width=0.5)["stage1"]["block2"]
    assert block["branches"].children()["left"] == ChannelChunk(0)
    assert block["shuffle"] == ChannelShuffle(2)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 48)), jnp.float32)
    y = jax.jit(lambda key: block.apply(*block.init(key, x), x, train=False)[0])(jax.random.key(0))
    np.testing.assert_array_equal(y[..., ::2], x[..., :24])  # the other half lies between
    assert not np.isclose(y[..., 1::2], x[..., 24:]).all(axis=(0, 1, 2)).any()


def test_small_images():
    small, large = models.shufflenet_v2(small_images=True), models.shufflenet_v2()
    assert list(small["stem"].layers) == ["conv", "norm", "act"]
    assert list(large["stem"].layers) == ["conv", "norm", "act", "pool"]
    assert (small["stem"]["conv"].stride, large["stem"]["conv"].stride) == ((1, 1), (2, 2))
    assert small[1:] == large[1:]


@slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(models.shufflenet_v2(width=0.5, small_images=True))
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.75}, r"^shufflenet_v2: expected a width of \[0\.5, 1\.0, 1\.5, 2\.0\], got 0\.75\. Choose one"),
        ({"width": "1"}, r"^shufflenet_v2: expected a width of .*, got '1'\."),
        ({"width": True}, r"^shufflenet_v2: expected a width of .*, got True\."),
        ({"num_classes": 0}, r"^shufflenet_v2: expected num_classes as a positive int, got 0\."),
        ({"small_images": 1}, r"^shufflenet_v2: expected small_images as a Python bool, got 1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.shufflenet_v2(**options)


def test_width_may_be_an_integer():
    assert models.shufflenet_v2(width=1) == models.shufflenet_v2(width=np.float32(1.0)) == models.shufflenet_v2()


@pytest.mark.parametrize(
    "width", [0.5, pytest.param(1.0, marks=slow), pytest.param(1.5, marks=slow), pytest.param(2.0, marks=slow)]
)
def test_the_same_logits_as_torchvision(width):
    theirs = getattr(torchvision().models, f"shufflenet_v2_x{width:.1f}".replace(".", "_"))(num_classes=7)
    check_same_net(models.shufflenet_v2(7, width=width), redrawn(theirs), size=64)

"""AlexNet in two towers against the paper, in one against torchvision."""

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models, summarize
from jaxcnn.layers import Conv, LocalResponseNorm
from jaxcnn.models.alexnet import alexnet
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
SPEC = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)


def test_costs_in_two_towers():
    found = summarize(alexnet(1000), SPEC)
    assert found.parameters == 60_965_224  # by hand; the paper's abstract: 60 million
    assert round(found.multiply_adds / 1e6) == 724  # Sze et al. 2017, table II
    neurons = {row.path: row.output[1] * row.output[2] * row.output[3] for row in found.rows if "/conv" in row.path}
    # The caption of the paper's figure 2, but for the first: its 253,440 are no number of maps of a square image.
    assert neurons == {
        "stem/conv": 55 * 55 * 96,
        "stage1/conv": 186_624,
        "stage2/conv1": 64_896,
        "stage2/conv2": 64_896,
        "stage2/conv3": 43_264,
    }
    sizes = {row.path: row.output[1:] for row in found.rows if "/" not in row.path}
    assert sizes == {
        "stem": (27, 27, 96),
        "stage1": (13, 13, 256),
        "stage2": (6, 6, 256),
        "pool": (6, 6, 256),
        "flatten": (9216,),
        "hidden1": (4096,),
        "hidden2": (4096,),
        "head": (1000,),
    }


def test_costs_in_one_tower():
    found = summarize(alexnet(1000, one_tower=True), SPEC)
    assert found.parameters == 61_100_840  # torchvision's num_params
    assert round(found.multiply_adds / 1e9, 3) == 0.714  # torchvision's GFLOPS


def test_towers():
    net = models.create("alexnet")
    # Krizhevsky et al. 2012, section 3.5: the second, fourth and fifth see the maps on the same GPU alone.
    assert [net["stem"]["conv"].groups, net["stage1"]["conv"].groups] == [1, 2]
    assert [net["stage2"][f"conv{i}"].groups for i in (1, 2, 3)] == [1, 2, 2]
    assert net["stage1"]["norm"] == net["stem"]["norm"] == LocalResponseNorm(size=5, k=2, alpha=1e-4, beta=0.75)
    assert list(net["stem"].layers) == ["conv", "act", "norm", "pool"]
    one = models.create("alexnet", one_tower=True)
    assert {one[name]["conv"].groups for name in ("stem", "stage1")} == {1}
    assert list(one["stem"].layers) == ["conv", "act", "pool"]


def test_small_images():
    net = models.create("alexnet", small_images=True, hidden=16)
    assert net["stem"]["conv"] == Conv(96)
    for size, after in ((28, 6), (7, 1)):
        found = summarize(net, jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)).rows
        sizes = {row.path: row.output[1:] for row in found if row.path in ("stem", "stage2", "flatten", "head")}
        assert sizes == {
            "stem": (size, size, 96),
            "stage2": (after, after, 256),
            "flatten": (9216,),
            "head": (10,),
        }


def test_the_smallest_images():
    net = alexnet(one_tower=True, hidden=8)
    assert summarize(net, jax.ShapeDtypeStruct((1, 63, 63, 3), jnp.float32)).rows[-1].output == (1, 10)
    with pytest.raises(ValueError, match=r"^max_pool: expected an image of at least 3x3 pixels"):
        summarize(net, jax.ShapeDtypeStruct((1, 62, 62, 3), jnp.float32))


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(alexnet(hidden=16), size=64, batch=4)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"^alexnet: expected num_classes as a positive int, got 0\."),
        ({"hidden": 0.5}, r"^alexnet: expected hidden as a positive int, got 0\.5\."),
        ({"dropout": 2}, r"^Dropout: expected a rate in \[0, 1\], got 2\."),
        ({"one_tower": 1}, r"^alexnet: expected one_tower as a Python bool, got 1\."),
        ({"small_images": "yes"}, r"^alexnet: expected small_images as a Python bool, got 'yes'\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.create("alexnet", **options)


def small(theirs):
    """Return torchvision's net with a small classifier, for what it is flattened from has the same place in both."""
    torch = pytest.importorskip("torch")
    for i, shape in ((1, (9216, 24)), (4, (24, 24)), (6, (24, 7))):
        theirs.classifier[i] = torch.nn.Linear(*shape)
    return theirs


def test_the_same_logits_with_few_hidden_units():
    # 159 pixels become 4x4 and, by their means, 6x6: at 63 it would not be seen in which order they are flattened.
    check_same_net(alexnet(7, one_tower=True, hidden=24), small(torchvision().models.alexnet()), size=159)


@pytest.mark.slow
def test_the_same_logits():
    check_same_net(alexnet(1000, one_tower=True), torchvision().models.alexnet(), size=224)

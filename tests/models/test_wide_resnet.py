"""Wide residual nets against the paper's tables."""

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models, summarize
from jaxcnn.layers import Conv, Dropout
from tests.models.measures import deviations

pytestmark = pytest.mark.usefixtures("quick_compilation")
CIFAR = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)


@pytest.mark.parametrize(
    ("depth", "widening", "millions"),  # Zagoruyko and Komodakis 2016, section 3
    [(40, 4, 8.9), (28, 10, 36.5), (22, 8, 17.2), (16, 8, 11.0), (16, 10, 17.1)],
)
def test_parameters(depth, widening, millions):
    params, _ = jax.eval_shape(models.wide_resnet(depth, widening).init, jax.random.key(0), CIFAR)
    assert round(sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6, 1) == millions


def test_costs_and_stages():
    found = summarize(models.create("wide_resnet16_4"), CIFAR)
    blocks = (
        9 * 16 * 64 + 16 * 64 + 3 * 9 * 64**2,  # convolutions and shortcut of stage 1
        9 * 64 * 128 + 64 * 128 + 3 * 9 * 128**2,
        9 * 128 * 256 + 128 * 256 + 3 * 9 * 256**2,
    )
    norms = 2 * (16 + 3 * 64 + 64 + 3 * 128 + 128 + 3 * 256 + 256)
    assert found.parameters == 27 * 16 + sum(blocks) + norms + 257 * 10  # by hand
    pixels = (32**2, 16**2, 8**2)  # of what stages give, to which all their convolutions belong
    multiply_adds = 27 * 16 * 32**2 + sum(n * p for n, p in zip(blocks, pixels, strict=True)) + 256 * 10
    assert found.multiply_adds == multiply_adds
    # The paper's table 1, with N = 2 and k = 4.
    assert {row.path: row.output[1:] for row in found.rows if "/" not in row.path} == {
        "stem": (32, 32, 16),
        "stage1": (32, 32, 64),
        "stage2": (16, 16, 128),
        "stage3": (8, 8, 256),
        "norm": (8, 8, 256),
        "act": (8, 8, 256),
        "pool": (256,),
        "head": (10,),
    }


def test_dropout_is_between_the_convolutions():
    net = models.create("wide_resnet28_10", dropout=0.3)
    for block, first in (("block1", []), ("block2", ["norm1", "act1"])):
        branch = net["stage1"][block]["residual"].branch
        assert list(branch.layers) == [*first, "conv1", "norm2", "act2", "dropout2", "conv2"]
        assert branch["dropout2"] == Dropout(0.3)
        assert branch["conv1"] == branch["conv2"] == Conv(160, padding=1, use_bias=False)
    assert net != models.create("wide_resnet28_10") == models.wide_resnet(28, 10)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [10, pytest.param(28, marks=pytest.mark.slow)])
def test_signals_neither_vanish_nor_explode_at_the_start(depth):
    found = deviations(models.wide_resnet(depth, 2, width=4, dropout=0.3))
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 20}, r"^wide_resnet: expected a depth of 6 n \+ 4, got 20\. Try 10, 22,"),
        ({"widening": 0}, r"^wide_resnet: expected widening as a positive int, got 0\."),
        ({"width": 0}, r"^wide_resnet: expected width as a positive int, got 0\."),
        ({"dropout": 1.5}, r"^wide_resnet: expected dropout in \[0, 1\], got 1\.5\."),
        ({"num_classes": 0}, r"^wide_resnet: expected num_classes as a positive int, got 0\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        models.wide_resnet(**{"depth": 16, "widening": 2, **options})

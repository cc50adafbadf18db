"""Network in network against the counts of its authors' net for CIFAR-10."""

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models, summarize
from jaxcnn.layers import AvgPool, MaxPool
from tests.models.measures import deviations

pytestmark = pytest.mark.usefixtures("quick_compilation")


def spec(size):
    return jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)


def test_costs_and_shapes():
    found = summarize(models.create("network_in_network"), spec(32))
    assert found.parameters == 966_986  # by hand; 0.97 M as commonly given, 1 M in Springenberg et al. 2015, table 4
    by_hand = 1024 * (75 * 192 + 192 * 160 + 160 * 96) + 256 * (25 * 96 * 192 + 2 * 192**2)
    assert found.multiply_adds == by_hand + 64 * (9 * 192**2 + 192**2 + 192 * 10)
    assert {row.path: row.output[1:] for row in found.rows if "/" not in row.path} == {
        "stage1": (16, 16, 96),
        "stage2": (8, 8, 192),
        "stage3": (8, 8, 192),
        "head": (8, 8, 10),
        "act": (8, 8, 10),
        "pool": (10,),
    }


def test_a_small_net_at_every_pixel():
    net = models.create("network_in_network", dropout=0.25)
    sizes = {path: [net[path][f"conv{i}"].kernel_size for i in (1, 2, 3)] for path in ("stage1", "stage2")}
    assert sizes == {"stage1": [(5, 5), (1, 1), (1, 1)], "stage2": [(5, 5), (1, 1), (1, 1)]}
    assert net["stage1"]["dropout"].rate == net["stage2"]["dropout"].rate == 0.25
    assert list(net["stage3"].layers) == ["conv1", "act1", "conv2", "act2"]
    assert net["stage1"]["pool"] == MaxPool(3, stride=2, ceil_mode=True)
    assert net["stage2"]["pool"] == AvgPool(3, stride=2, ceil_mode=True)


@pytest.mark.parametrize(("size", "after"), [(28, 7), (33, 8), (6, 1)])
def test_other_sizes(size, after):
    found = summarize(models.create("network_in_network"), spec(size)).rows
    assert next(row for row in found if row.path == "head").output == (1, after, after, 10)


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(models.create("network_in_network"), size=16)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"^network_in_network: expected num_classes as a positive int, got 0\."),
        ({"dropout": 2}, r"^Dropout: expected a rate in \[0, 1\], got 2\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("network_in_network", **options)

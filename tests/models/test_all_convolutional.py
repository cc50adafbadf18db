"""The all-convolutional net against the tables of its paper."""

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models, summarize, surgery
from jaxcnn.layers import Conv, Dense
from tests.models.measures import deviations

pytestmark = pytest.mark.usefixtures("quick_compilation")


def spec(size):
    return jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)


def test_costs_and_shapes():
    found = summarize(models.create("all_convolutional"), spec(32))
    assert found.parameters == 1_369_738  # by hand; 1.4 M in the paper's table 3
    by_hand = 1024 * 27 * 96 + 9 * 96 * (1024 * 96 + 256 * 96 + 256 * 192) + 9 * 192**2 * (256 + 64 + 36)
    assert found.multiply_adds == by_hand + 36 * (192**2 + 1920)
    # Table 1: 3x3 96, 3x3 96; table 2: stride 2 for pooling; "global averaging over 6x6 spatial dimensions".
    assert {row.path: row.output[1:] for row in found.rows if "/conv" in row.path or row.path in ("head", "pool")} == {
        "stage1/conv1": (32, 32, 96),
        "stage1/conv2": (32, 32, 96),
        "stage1/conv3": (16, 16, 96),
        "stage2/conv1": (16, 16, 192),
        "stage2/conv2": (16, 16, 192),
        "stage2/conv3": (8, 8, 192),
        "stage3/conv1": (6, 6, 192),
        "stage3/conv2": (6, 6, 192),
        "head": (6, 6, 10),
        "pool": (10,),
    }


def test_all_is_convolutional():
    net = models.create("all_convolutional", width=4)
    assert net["stage2"]["conv3"] == Conv(8, stride=2, padding=1)
    assert list(net.layers) == ["dropout", "stage1", "stage2", "stage3", "head", "act", "pool"]
    parts = [path.rpartition("/")[2] for path in surgery.paths(net)]
    assert parts.count("pool") == 1  # the last
    assert not any(isinstance(layer, Dense) for layer in net)


def test_dropout_is_the_papers():
    net = models.create("all_convolutional")  # section 3.1: 20 % of the input, 50 % after each layer in pooling's place
    assert [net["dropout"].rate, net["stage1"]["dropout"].rate, net["stage2"]["dropout"].rate] == [0.2, 0.5, 0.5]
    net = models.create("all_convolutional", input_dropout=0, dropout=0.1)
    assert [net["dropout"].rate, net["stage1"]["dropout"].rate, net["stage2"]["dropout"].rate] == [0, 0.1, 0.1]


@pytest.mark.parametrize(("size", "after"), [(28, 5), (9, 1)])
def test_other_sizes(size, after):
    found = summarize(models.create("all_convolutional", width=4), spec(size)).rows
    assert next(row for row in found if row.path == "head").output == (1, after, after, 10)


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(models.create("all_convolutional", width=16), size=32)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"^all_convolutional: expected num_classes as a positive int, got 0\."),
        ({"width": 0}, r"^all_convolutional: expected width as a positive int, got 0\."),
        ({"dropout": 2}, r"^Dropout: expected a rate in \[0, 1\], got 2\."),
        ({"input_dropout": -1}, r"^Dropout: expected a rate in \[0, 1\], got -1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("all_convolutional", **options)

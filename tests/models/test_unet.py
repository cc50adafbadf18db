"""U-Net against the paper's figure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import models, summarize, surgery
from jaxcnn.layers import Concat, Conv, ConvTranspose, Dropout, MaxPool, Sequential
from tests.models.measures import deviations, output

pytestmark = pytest.mark.usefixtures("quick_compilation")


def spec(size, channels=3):
    return jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)


@pytest.mark.slow
def test_costs():
    net = models.unet()
    found = summarize(net, spec(512, channels=1))
    pairs = [(1, 64), (64, 128), (128, 256), (256, 512), (512, 1024)]
    down = sum(9 * a * b + b + 9 * b * b + b for a, b in pairs)
    up = sum(4 * b * a + a + 9 * b * a + a + 9 * a * a + a for a, b in pairs[1:])
    assert found.parameters == down + up + 2 * 64 + 2 == 31_030_658  # by hand from figure 1
    # "In total the network has 23 convolutional layers."
    kinds = [row.kind for row in found.rows]
    assert kinds.count("Conv") + kinds.count("ConvTranspose") == 23
    # 7.76 M with half of the maps: Zhou et al. 2018 (UNet++), table 2.
    params, _ = jax.eval_shape(models.unet(width=32).init, jax.random.key(0), spec(16, channels=1))
    assert round(sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6, 2) == 7.76


@pytest.mark.slow
def test_maps_are_those_of_figure_1():
    rows = {row.path: row.output[1:] for row in summarize(models.unet(), spec(512, channels=1)).rows}
    path, expected = "", {}
    for size, features in ((512, 64), (256, 128), (128, 256), (64, 512)):
        expected |= {
            f"{path}encode": (size, size, features),
            f"{path}join/deep/up": (size, size, features),
            f"{path}join": (size, size, 2 * features),
            f"{path}decode": (size, size, features),
        }
        path = f"{path}join/deep/"
    assert {name: rows[name] for name in expected} == expected
    assert rows[f"{path}encode"] == (32, 32, 1024)
    assert rows["head"] == (512, 512, 2)


def test_it_is_composed_of_what_there_is():
    def convolutions(features):
        return Sequential(conv1=Conv(features), act1=F.relu, conv2=Conv(features), act2=F.relu)

    deep = Sequential(pool=MaxPool(2), encode=convolutions(8), dropout=Dropout(0.5), up=ConvTranspose(4, 2, stride=2))
    net = models.unet(3, width=4, depth=1)
    assert net[:-1] == Sequential(
        encode=convolutions(4), join=Concat(skip=Sequential(), deep=deep), decode=convolutions(4)
    )
    assert (net["head"].features, net["head"].kernel_size) == (3, (1, 1))
    normed = models.unet(width=4, depth=1, batch_norm=True)["encode"]
    assert list(normed.layers) == ["conv1", "norm1", "act1", "conv2", "norm2", "act2"]
    assert not normed["conv1"].use_bias


@pytest.mark.slow
def test_each_size_is_given_what_was_there_on_the_way_down():
    net = models.unet(3, width=4, depth=2)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 3)), jnp.float32)

    @jax.jit
    def run(key):
        return surgery.activations(net, *net.init(key, x), x, ["encode", "join", "join/deep"])

    y, found = run(jax.random.key(0))
    assert y.shape == (1, 8, 8, 3)
    np.testing.assert_array_equal(found["join"], jnp.concatenate([found["encode"], found["join/deep"]], -1))


@pytest.mark.parametrize("options", [{}, {"depth": 1}, {"depth": 3, "batch_norm": True}])
def test_classes_for_every_pixel(options):
    assert output(models.unet(3, width=4, **options), 16) == (1, 16, 16, 3)


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(models.unet(width=8), size=16)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


def test_images_that_cannot_be_halved_so_often():
    with pytest.raises(ValueError, match=r"^Concat: expected branches whose outputs differ in channels alone, got"):
        output(models.unet(width=4), 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"num_classes as a positive int, got 0\."),
        ({"width": 0}, r"width as a positive int, got 0\."),
        ({"depth": 0}, r"depth as a positive int, got 0\."),
        ({"depth": 17}, r"depth of at most 16, got 17\."),
        ({"batch_norm": 1}, r"batch_norm as a Python bool, got 1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=rf"^unet: expected {message}"):
        models.unet(**options)


def test_bad_rates():
    with pytest.raises(ValueError, match=r"^Dropout: expected a rate in \[0, 1\], got 2\."):
        models.unet(dropout=2)

"""The fully convolutional net against the paper's table 1, and what it makes of its backbone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import models, summarize, surgery
from jaxcnn.initializers import bilinear
from jaxcnn.layers import Conv, ConvTranspose, Dropout, Residual, Sequential
from jaxcnn.models.vgg import vgg
from tests.models.measures import deviations, output

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = functools.partial(models.fcn, 5, backbone=vgg(11, width=8), hidden=16)


def spec(size, batch=1):
    return jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)


def test_costs():
    # Table 1: "134M" parameters, a receptive field of 404 pixels and a stride of 32 for the last layer of FCN-VGG16.
    net = models.fcn(skips=0)
    found = summarize(net, spec(224))
    rows = {row.path: row for row in found.rows}
    by_hand = 14_714_688 + (49 * 512 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 21 + 21)
    assert found.parameters - rows["up"].parameters == by_hand
    assert by_hand // 10**6 == 134
    assert rows["head"].receptive_field == (404, 404)
    assert rows["head"].output == (1, 7, 7, 21)
    assert rows["up"].output == (1, 224, 224, 21)


def test_skips_are_those_of_figure_3():
    net = models.fcn()
    assert list(net.layers) == ["stage1", "stage2", "stage3", "fuse", "up"]  # the first skip is of pool3
    outer = net["fuse"]
    assert isinstance(outer, Residual)
    assert list(outer.branch.layers) == ["stage4", "fuse", "up"]
    assert list(outer.branch["fuse"].branch.layers) == ["stage5", "hidden1", "hidden2", "head", "up"]
    assert outer.shortcut.features == 21
    assert outer.shortcut.kernel_size == (1, 1)
    assert (net["up"].stride, outer.branch["up"].stride) == ((8, 8), (2, 2))
    hidden = outer.branch["fuse"].branch["hidden1"]
    assert (hidden["conv"], hidden["dropout"]) == (Conv(4096, 7), Dropout(0.5))
    assert list(models.fcn(skips=1).layers) == ["stage1", "stage2", "stage3", "stage4", "fuse", "up"]
    assert models.fcn(skips=1)["up"] == ConvTranspose(21, 32, stride=16, use_bias=False, kernel_init=bilinear)


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_classes_for_every_pixel(skips):
    assert output(SMALL(skips=skips), 64) == (1, 64, 64, 5)


@pytest.mark.slow
def test_other_backbones():
    residual = models.fcn(5, backbone=models.resnet(18, width=4), hidden=0)
    assert list(residual.layers) == ["stem", "stage1", "stage2", "fuse", "up"]
    assert output(residual, 64) == (1, 64, 64, 5)
    small = models.fcn(5, backbone=models.resnet(10, width=4, small_images=True), hidden=8)
    assert output(small, 16) == (1, 16, 16, 5)
    dense = models.fcn(5, backbone=models.cifar_densenet(10, growth=4), hidden=0)
    assert list(dense.layers) == ["stem", "stage1", "fuse", "up"]
    assert list(dense["fuse"].branch.layers) == ["transition1", "stage2", "fuse", "up"]
    assert output(dense, 16) == (1, 16, 16, 5)


@pytest.mark.slow
def test_logits_of_coarse_and_fine_maps_are_added():
    net = SMALL(skips=1)
    params, state = jax.jit(lambda key: net.init(key, spec(32)))(jax.random.key(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 32, 32, 3)), jnp.float32)
    at = ["fuse", "fuse/branch", "fuse/branch/head", "stage4"]
    y, found = jax.jit(lambda p, s, x: surgery.activations(net, p, s, x, at))(params, state, x)
    shortcut, _ = net["fuse"].shortcut.apply(params["fuse"]["shortcut"], {}, found["stage4"], train=False)
    np.testing.assert_allclose(found["fuse"], found["fuse/branch"] + shortcut, rtol=1e-5, atol=1e-6)
    # Bilinear interpolation of one pixel is that pixel, and half of it, a quarter at the edge.
    one = found["fuse/branch/head"]
    assert (one.shape, found["fuse/branch"].shape) == ((1, 1, 1, 5), (1, 2, 2, 5))
    np.testing.assert_allclose(found["fuse/branch"], jnp.broadcast_to(one * 0.75**2, (1, 2, 2, 5)), rtol=1e-5)
    assert y.shape == (1, 32, 32, 5)


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(SMALL(), size=32)
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


def test_images_that_the_stride_does_not_divide():
    with pytest.raises(ValueError, match=r"^Residual: expected a branch and a shortcut of one shape"):
        output(SMALL(), 48)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, r"num_classes as a positive int, got 0\."),
        ({"backbone": "vgg16"}, r"backbone as a Sequential, got 'vgg16'\. Pass"),
        ({"skips": 5}, r"skips, fewer than the 5 stages \['stage1', .*\], got 5\. 2 are usual\."),
        ({"skips": -1}, r"skips, fewer than .*, got -1\."),
        ({"backbone": Sequential(Conv(3))}, r'a backbone with parts called "stage1", "stage2", got '),
        (
            {"backbone": Sequential(stage1=Conv(3), stage2=Conv(3, stride=2), stage3=Conv(3))},
            r"a backbone of a stride that 4 divides, got 2\. Take",
        ),
        ({"hidden": -1}, r"hidden as an int >= 0, got -1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=rf"^fcn: expected {message}"):
        models.fcn(**options)

"""Effective receptive fields: of nets whose gradients are known, and of random ones as the theory has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn.explain import probes
from jaxcnn.explain.probes.effective_receptive_field import _field
from jaxcnn.layers import Conv, Dense, Flatten, MaxPool, Residual, Sequential
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(0)


def ones(net, images):
    params, state = net.init(KEY, images)
    return jax.tree.map(jnp.ones_like, params), state


def test_a_layer_that_sees_nothing_has_no_field():
    net = Sequential(conv=Conv(2), nothing=jnp.zeros_like)
    found = probes.effective_receptive_field(
        KEY, net, *net.init(KEY, jnp.ones((1, 6, 6, 1))), "nothing", jnp.ones((3, 6, 6, 1))
    )
    assert found.map.sum() == found.size == found.share == 0


def test_a_convolution_sees_its_window():
    net = Sequential(conv=Conv(1, 3, padding=1, use_bias=False), flatten=Flatten(), head=Dense(2))
    images = jnp.ones((2, 9, 9, 2))
    params, state = net.init(KEY, images)
    kernel = np.arange(18.0).reshape(3, 3, 2, 1)
    params = {**params, "conv": {"kernel": jnp.asarray(kernel, jnp.float32)}}
    for of, power in (("squared", 2), ("absolute", 1)):
        found = probes.effective_receptive_field(KEY, net, params, state, "conv", images, of=of)
        expected = np.zeros((9, 9))
        expected[3:6, 3:6] = (np.abs(kernel[..., 0]) ** power).sum(-1)
        close(found.map, expected / expected.sum(), rtol=1e-4, atol=1e-7)
    assert found.theoretical == (3, 3)
    assert 0 < found.share <= 1


@pytest.mark.slow
def test_even_kernels_have_the_moments_and_the_sizes_of_boxes():
    net = Sequential(one=Conv(1, 5, padding=2, use_bias=False), two=Conv(1, 5, padding=2, use_bias=False))
    images = jnp.ones((1, 15, 15, 1))
    params, state = ones(net, images)
    field = lambda at, of: probes.effective_receptive_field(KEY, net, params, state, at, images, of=of)  # noqa: E731
    box = field("one", "absolute")
    close(box.centre, [7, 7], rtol=1e-5)
    close(box.sigma, np.sqrt([2, 2]), rtol=1e-5)  # (5^2 - 1) / 12
    assert (box.size, box.theoretical, box.share) == (pytest.approx(5), (5, 5), pytest.approx(1))
    triangle = field("two", "absolute")
    close(triangle.sigma, np.sqrt([4, 4]), rtol=1e-5)  # variances of convolved boxes add
    line = np.convolve(np.ones(5), np.ones(5))
    close(triangle.map[3:12, 3:12], np.outer(line, line) / 625, atol=1e-6)
    above = 81 - 4  # 1/25 of the largest value, at the corners, is less than 4.55 %
    assert triangle.size == pytest.approx(np.sqrt(above))
    assert triangle.theoretical == (9, 9)
    assert triangle.share == pytest.approx(above / 81)
    # Squares of a triangle: narrower.
    variance = (line**2 * np.arange(-4, 5) ** 2).sum() / (line**2).sum()
    close(field("two", "squared").sigma, np.sqrt([variance] * 2), rtol=1e-5)


@pytest.mark.slow
def test_random_kernels_have_a_field_that_grows_with_the_root_of_the_depth():
    depth = 6
    net = Sequential(**{f"conv{i}": Conv(24, 3, padding=1, use_bias=False) for i in range(depth)})
    images = jnp.ones((16, 17, 17, 1))
    params, state = net.init(KEY, images)
    for layers in (2, depth):
        found = probes.effective_receptive_field(KEY, net, params, state, f"conv{layers - 1}", images)
        close(found.sigma, np.sqrt(layers * 8 / 12), rtol=0.12)
        assert found.theoretical == (2 * layers + 1,) * 2
    assert found.share < 0.7


@pytest.mark.slow
def test_rectified_pixels_and_strides_are_followed():
    net = Sequential(conv=Conv(4, 3, padding=1), act=F.relu, pool=MaxPool(2), block=Residual(Conv(4, 3, padding=1)))
    images = jax.random.uniform(KEY, (8, 12, 12, 3))
    params, state = net.init(KEY, images)
    found = probes.effective_receptive_field(KEY, net, params, state, "block", images)
    assert found.theoretical == (8, 8)
    outside = np.ones((12, 12), bool)
    outside[3:11, 3:11] = False  # unit 3 of 6: pooled 2..4, before pooling 4..9, pixels 3..10
    close(found.map[outside], 0)
    assert found.map[~outside].min() >= 0
    close(found.map.sum(), 1, rtol=1e-5)


def test_a_unit_that_never_answers_has_no_field():
    net = Sequential(conv=Conv(2, 3, padding=1), act=F.relu)
    params, state = net.init(KEY, jnp.ones((1, 6, 6, 1)))
    params = {"conv": {"kernel": params["conv"]["kernel"], "bias": jnp.full(2, -100.0)}}
    found = probes.effective_receptive_field(KEY, net, params, state, "act", jnp.ones((3, 6, 6, 1)))
    assert found.map.sum() == found.size == found.share == 0
    assert np.isnan(found.sigma).all()
    assert np.isnan(found.centre).all()


@pytest.mark.slow
def test_same_key_same_bits_and_one_program():
    case = CASES["plain"]
    spec = jax.ShapeDtypeStruct((5, 12, 12, 3), jnp.float32)
    traces = _field._cache_size()
    one, again = (probes.effective_receptive_field(KEY, case.net, case.params, case.state, "act2", spec) for _ in "ab")
    np.testing.assert_array_equal(one.map, again.map)
    other = probes.effective_receptive_field(jax.random.key(1), case.net, case.params, case.state, "act2", spec)
    assert np.abs(one.map - other.map).max() > 1e-4
    assert _field._cache_size() == traces + 1
    lost = jax.tree.map(lambda p: p * jnp.nan, case.params)
    with pytest.raises(ValueError, match=r"^effective_receptive_field: expected finite values in the gradients, got "):
        probes.effective_receptive_field(KEY, case.net, lost, case.state, "act2", spec)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"at": "head"},
            ValueError,
            r"expected the path of a layer with a map \(\.\.\., h, w, c\), got 'head' of shape",
        ),
        ({"at": "actt"}, ValueError, r"^effective_receptive_field: expected the path of a layer with a map"),
        ({"images": jnp.ones((12, 12, 3))}, ValueError, r"^effective_receptive_field: expected images \(n, H, W, C\)"),
        ({"images": np.ones((2, 12, 12, 3), int)}, TypeError, r"expected images of a floating dtype, got int"),
        (
            {"images": jax.ShapeDtypeStruct((2, 12, 12, 3), jnp.uint8)},
            TypeError,
            "images of a floating dtype, got uint8",
        ),
        ({"of": "cubed"}, ValueError, 'expected of as "squared" or "absolute", got \'cubed\''),
        ({"key": 3}, TypeError, "^effective_receptive_field: expected one PRNG key, got 3"),
    ],
)
def test_refuses(change, error, message):
    case = CASES["residual"]
    given = {"key": KEY, "at": "act1", "images": jnp.ones((2, 12, 12, 3))} | change
    key, at = given.pop("key"), given.pop("at")
    with pytest.raises(error, match=message):
        probes.effective_receptive_field(key, case.net, case.params, case.state, at, **given)

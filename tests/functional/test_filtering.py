"""The weighted moving sum against its definition, SciPy, Flax and PyTorch."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from jaxcnn import functional as F
from tests.functional.samples import draw

pytestmark = pytest.mark.usefixtures("quick_compilation")
OPTIONS = [{}, {"stride": (2, 1), "padding": ((1, 0), (2, 1))}, {"stride": 2, "padding": "VALID"}]


@st.composite
def cases(draw_from):
    """Return shapes of images and kernels, and options, under which every window fits."""
    window = draw_from(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size = tuple(w + draw_from(st.integers(0, 3)) for w in window)
    lead = draw_from(st.sampled_from([(), (2,), (1, 2), (0,)]))
    sides = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2)
    options = {
        "stride": draw_from(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": draw_from(st.sampled_from(["SAME", "VALID"]) | sides),
    }
    return (*lead, *size, draw_from(st.integers(1, 3))), (*window, draw_from(st.integers(1, 3))), options


def definition(x, kernels, stride, padding):
    """Return the sum as the docstring writes it, in float64."""
    kh, kw, n = kernels.shape
    size, channels = x.shape[-3:-1], x.shape[-1]
    pads = lax.padtype_to_pads(size, (kh, kw), stride, padding) if isinstance(padding, str) else padding
    x = np.pad(np.asarray(x, np.float64), [(0, 0)] * (x.ndim - 3) + [*pads, (0, 0)])
    rows, columns = ((x.shape[i - 3] - k) // s + 1 for i, k, s in zip((0, 1), (kh, kw), stride, strict=True))
    y = np.zeros((*x.shape[:-3], rows, columns, channels * n))
    for i, j, c, k in np.ndindex(rows, columns, channels, n):
        seen = x[..., i * stride[0] : i * stride[0] + kh, j * stride[1] : j * stride[1] + kw, c]
        y[..., i, j, c * n + k] = np.sum(seen * np.asarray(kernels[..., k], np.float64), axis=(-2, -1))
    return y


@given(cases())
def test_follows_the_definition(case):
    shape, window, options = case
    x, kernels = draw(0, *shape), draw(1, *window)
    expected = definition(x, kernels, **options)
    y, pullback = jax.vjp(lambda x, kernels: F.moving_sum(x, kernels, **options), x, kernels)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=1e-5)
    # The sum is linear in both: a gradient times a direction is the cotangent times the sum in that direction.
    cotangent, other = draw(2, *y.shape), (draw(3, *shape), draw(4, *window))
    along = [definition(other[0], kernels, **options), definition(x, other[1], **options)]
    for gradient, direction, change in zip(pullback(cotangent), other, along, strict=True):
        left = float(np.vdot(np.asarray(gradient), np.asarray(direction)))
        np.testing.assert_allclose(left, float(np.vdot(np.asarray(cotangent), change)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_agrees_with_flax(agree, options):
    def theirs(x, kernels):
        kernel = jnp.tile(kernels[:, :, None], (1, 1, 1, 3))
        options_of_flax = {"strides": options.get("stride", 1), "padding": options.get("padding", "SAME")}
        layer = nn.Conv(6, (3, 2), feature_group_count=3, use_bias=False, **options_of_flax)
        return layer.apply({"params": {"kernel": kernel}}, x)

    agree(lambda x, kernels: F.moving_sum(x, kernels, **options), theirs, draw(0, 2, 6, 5, 3), draw(1, 3, 2, 2))


def test_agrees_with_torch(agree_with_torch):
    def theirs(x, kernels):
        import torch

        weight = kernels.permute(2, 0, 1)[:, None].repeat(3, 1, 1, 1)
        return torch.nn.functional.conv2d(x, weight, stride=2, padding=1, groups=3)

    agree_with_torch(
        lambda x, kernels: F.moving_sum(x, kernels, stride=2, padding=1),
        theirs,
        draw(0, 2, 6, 5, 3),
        draw(1, 3, 3, 2),
        axes=("images", "as is"),
        output="images",
    )


def test_agrees_with_scipy_channel_by_channel():
    x, kernels = draw(0, 2, 7, 6, 3), draw(1, 3, 5, 2)
    y = F.moving_sum(x, kernels)
    for n, c, k in np.ndindex(2, 3, 2):
        expected = scipy.ndimage.correlate(np.asarray(x[n, ..., c]), np.asarray(kernels[..., k]), mode="constant")
        np.testing.assert_allclose(y[n, ..., 2 * c + k], expected, atol=1e-5)


def test_by_hand():
    x = jnp.arange(8.0).reshape(2, 2, 2)  # channel 0: 0 2 / 4 6, channel 1: 1 3 / 5 7
    kernels = jnp.array([[[1.0, 0.0], [10.0, -1.0]]])  # 1x2: left + 10 right, and minus the right
    y = F.moving_sum(x, kernels, padding="VALID")
    np.testing.assert_array_equal(y, [[[20, -2, 31, -3]], [[64, -6, 75, -7]]])


def test_the_images_decide_the_dtype():
    kernels = draw(1, 3, 3, 2)
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        assert F.moving_sum(draw(0, 4, 4, 1).astype(dtype), kernels).dtype == dtype
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, wide = rng.normal(size=(5, 5, 2)), rng.normal(size=(3, 3, 2))
        y = F.moving_sum(x, wide)
        assert y.dtype == jnp.float64
        np.testing.assert_allclose(y, definition(x, wide, (1, 1), "SAME"), atol=1e-13)


@pytest.mark.parametrize(
    ("x", "kernels", "options", "error", "message"),
    [
        (draw(0, 4, 4), draw(1, 3, 3, 1), {}, ValueError, r"expected images of shape \(\.\.\., H, W, C\), got \(4, 4"),
        (np.zeros((4, 4, 1), np.uint8), draw(1, 3, 3, 1), {}, TypeError, r"expected x of a floating dtype, got uint8"),
        (draw(0, 4, 4, 1), draw(1, 3, 3), {}, ValueError, r"expected kernels of shape \(kh, kw, n\), got \(3, 3\)\. "),
        (draw(0, 4, 4, 1), draw(1, 3, 3, 0), {}, ValueError, r"expected kernels of shape \(kh, kw, n\), got \(3, 3, 0"),
        (draw(0, 4, 4, 1), np.ones((3, 3, 1), bool), {}, TypeError, r"expected kernels of a floating dtype, got bool"),
        (draw(0, 4, 4, 0), draw(1, 3, 3, 1), {}, ValueError, r"expected images of at least one channel, got \(4, 4, 0"),
        (draw(0, 4, 4, 1), draw(1, 3, 3, 1), {"stride": 0}, ValueError, r"expected stride as a positive int .*, got 0"),
        (draw(0, 4, 4, 1), draw(1, 3, 3, 1), {"padding": -1}, ValueError, r'expected padding as "SAME".*, got -1\. '),
        (draw(0, 2, 4, 1), draw(1, 3, 3, 1), {"padding": "VALID"}, ValueError, r"at least 3x3 pixels .*, got 2x4\. "),
    ],
    ids=["rank", "dtype", "kernel rank", "no kernel", "kernel dtype", "no channel", "stride", "padding", "window"],
)  # fmt: skip
def test_bad_arguments(x, kernels, options, error, message):
    with pytest.raises(error, match=rf"^moving_sum: .*{message}"):
        F.moving_sum(x, kernels, **options)

"""Local response and local contrast normalization against their equations and PyTorch; their layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from jaxcnn import functional as F
from jaxcnn.layers import LocalContrastNorm, LocalResponseNorm
from tests.functional.samples import draw

pytestmark = pytest.mark.usefixtures("quick_compilation")


def close(a, b, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


# Local response normalization


def test_response_by_hand():
    x = jnp.array([1.0, 2.0, 3.0, 4.0])
    y = F.local_response_norm(x, size=3, k=2.0, alpha=1.0, beta=1.0)
    close(y, [1 / (2 + 1 + 4), 2 / (2 + 1 + 4 + 9), 3 / (2 + 4 + 9 + 16), 4 / (2 + 9 + 16)])
    y = F.local_response_norm(x, size=2, k=1.0, alpha=0.5, beta=2.0)  # an even window reaches one further back
    close(y, [1 / 1.5**2, 2 / (1 + 2.5) ** 2, 3 / (1 + 6.5) ** 2, 4 / (1 + 12.5) ** 2])
    close(F.local_response_norm(jnp.ones(16), alpha=1.0)[7], (2 + 5) ** -0.75)  # the paper's k, size and beta
    close(F.local_response_norm(jnp.array([100.0])), 100 * 3**-0.75)  # its alpha
    close(F.local_response_norm(x, alpha=0.0, k=1.0), x)


def response(x, size, k, alpha, beta):
    y = np.zeros(x.shape)
    channels = x.shape[-1]
    for c in range(channels):
        window = x[..., max(0, c - size // 2) : min(channels, c + (size - 1) // 2 + 1)]
        y[..., c] = x[..., c] / (k + alpha * np.square(window).sum(axis=-1)) ** beta
    return y


@given(
    st.sampled_from([(5,), (3, 7), (2, 3, 2, 4), (2, 1, 3, 2, 1)]),
    st.integers(1, 9),
    st.floats(0.5, 3),
    st.floats(0, 2),
    st.sampled_from([0.0, 0.5, 0.75, 1.3]),
)
def test_response_follows_its_equation(shape, size, k, alpha, beta):
    x = draw(0, *shape)
    y = F.local_response_norm(x, size=size, k=k, alpha=alpha, beta=beta)
    close(y, response(np.asarray(x, np.float64), size, k, alpha, beta))


@pytest.mark.parametrize(
    ("size", "k", "alpha", "beta"), [(5, 2.0, 1e-4, 0.75), (3, 1.0, 0.5, 0.75), (4, 1.5, 0.3, 1.2)], ids=str
)
def test_response_agrees_with_torch(agree_with_torch, size, k, alpha, beta):
    import torch

    agree_with_torch(
        lambda x: F.local_response_norm(x, size=size, k=k, alpha=alpha, beta=beta),
        lambda x: torch.nn.functional.local_response_norm(x, size, alpha * size, beta, k),
        3 * draw(0, 2, 4, 3, 7),
        axes=("images",),
        output="images",
    )


def test_response_gradient_is_that_of_shifted_sums(agree):
    def reference(x):
        padded = jnp.pad(x, ((0, 0), (2, 2))) ** 2
        return x / jnp.power(2 + 0.3 * sum(padded[:, i : i + 7] for i in range(5)), 0.75)

    agree(lambda x: F.local_response_norm(x, alpha=0.3), reference, draw(0, 4, 7))


def test_response_in_half_and_double_precision():
    x = 300 * draw(0, 4, 8)  # squares exceed float16
    for dtype in (jnp.bfloat16, jnp.float16):
        half = x.astype(dtype)
        y = F.local_response_norm(half)
        assert y.dtype == dtype
        close(y.astype(jnp.float32), F.local_response_norm(half.astype(jnp.float32)), rtol=0.01, atol=0.01)
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(4, 8))
        y = F.local_response_norm(x, alpha=0.1)
        assert y.dtype == jnp.float64
        close(y, response(x, 5, 2.0, 0.1, 0.75), rtol=1e-12, atol=0)


def test_response_stays_finite_far_out():
    far = jnp.array([-1e4, 0.0, 1e4])
    assert np.isfinite(F.local_response_norm(far)).all()
    assert np.isfinite(jax.grad(lambda x: F.local_response_norm(x).sum())(far)).all()
    assert F.local_response_norm(jnp.zeros((0, 2, 2, 3))).shape == (0, 2, 2, 3)


# Local contrast normalization


def contrast(x, size, sigma, divisive, eps=1e-4):
    """Return the definition in float64, one pixel after the other."""
    height, width, _ = x.shape
    reach = size // 2

    def local_mean(v):
        out = np.zeros((height, width, 1))
        for i, j in np.ndindex(height, width):
            weights = 0
            for p in range(max(0, i - reach), min(height, i + reach + 1)):
                for q in range(max(0, j - reach), min(width, j + reach + 1)):
                    weight = np.exp(-((p - i) ** 2 + (q - j) ** 2) / (2 * sigma**2))
                    out[i, j] += weight * v[p, q].mean()
                    weights += weight
            out[i, j] /= weights
        return out

    v = x - local_mean(x)
    if not divisive:
        return v
    deviation = np.sqrt(np.maximum(local_mean(v**2), eps**2))
    return v / np.maximum(deviation, deviation.mean())


def test_contrast_by_hand():
    pixel = jnp.array([[[1.0, 3.0]]])  # one pixel: the channels alone
    close(F.local_contrast_norm(pixel, divisive=False), [[[-1, 1]]])
    close(F.local_contrast_norm(pixel), [[[-1, 1]]])
    close(F.local_contrast_norm(5 * pixel), [[[-1, 1]]])
    close(F.local_contrast_norm(5 * pixel, eps=10.0), [[[-0.5, 0.5]]])  # deviation 5 counts as 10
    row = jnp.array([[[0.0], [0.0], [1.0]]])
    g = np.exp(-0.5)
    v = np.array([0, -g / (1 + 2 * g), 1 - 1 / (1 + g)])  # at the border two weights, 1 and g
    close(F.local_contrast_norm(row, size=3, sigma=1.0, divisive=False)[0, :, 0], v)
    energy = np.array(
        [g * v[1] ** 2 / (1 + g), (v[1] ** 2 + g * v[2] ** 2) / (1 + 2 * g), (v[2] ** 2 + g * v[1] ** 2) / (1 + g)]
    )
    deviation = np.sqrt(energy)
    close(F.local_contrast_norm(row, size=3, sigma=1.0)[0, :, 0], v / np.maximum(deviation, deviation.mean()))


@given(
    st.sampled_from([(4, 3, 2), (1, 6, 1), (5, 5, 3)]),
    st.sampled_from([1, 3, 5, 9]),
    st.sampled_from([None, 0.7, 3.0]),
    st.booleans(),
    st.floats(-3, 3),
)
def test_contrast_follows_its_definition(shape, size, sigma, divisive, shift):
    x = shift + draw(0, *shape)
    y = F.local_contrast_norm(x, size=size, sigma=sigma, divisive=divisive)
    expected = contrast(np.asarray(x, np.float64), size, size / 4 if sigma is None else sigma, divisive)
    close(y, expected, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("divisive", [True, False], ids=["divisive", "subtractive"])
def test_contrast_agrees_with_convolutions(agree, divisive):
    """Value and gradient, by another way: convolve, and divide by the convolved ones."""
    offsets = jnp.arange(-2, 3.0)
    window = jnp.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.25**2))[:, :, None, None]

    def blur(v):
        return lax.conv_general_dilated(v, window, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def reference(x):
        def local_mean(v):
            return blur(v.mean(axis=-1, keepdims=True)) / blur(jnp.ones((1, *x.shape[1:3], 1)))

        v = x - local_mean(x)
        s = jnp.sqrt(local_mean(v**2))
        return v / jnp.maximum(s, s.mean(axis=(1, 2), keepdims=True)) if divisive else v

    agree(lambda x: F.local_contrast_norm(x, size=5, divisive=divisive), reference, draw(0, 2, 7, 6, 3), atol=3e-5)


def test_contrast_agrees_with_torch(agree_with_torch):
    import torch

    offsets = torch.arange(-4.0, 5.0)
    window = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 2.25**2))[None, None]

    def local_mean(v):
        blur = torch.nn.functional.conv2d
        ones = torch.ones_like(v[:1, :1])
        return blur(v.mean(dim=1, keepdim=True), window, padding=4) / blur(ones, window, padding=4)

    def theirs(x):
        v = x - local_mean(x)
        s = local_mean(v**2).sqrt()
        return v / torch.maximum(s, s.mean(dim=(2, 3), keepdim=True))

    agree_with_torch(
        F.local_contrast_norm, theirs, draw(0, 2, 11, 12, 3), axes=("images",), output="images", rtol=1e-4, atol=3e-5
    )


def test_contrast_ignores_brightness_and_contrast():
    x = draw(0, 6, 5, 3)
    close(F.local_contrast_norm(0.5 + 0.2 * x), F.local_contrast_norm(x), atol=1e-4)
    close(F.local_contrast_norm(3 + x, divisive=False), F.local_contrast_norm(x, divisive=False))
    bright = jnp.round(1e6 + 8 * x)  # whole numbers, so that adding loses nothing
    close(F.local_contrast_norm(bright), F.local_contrast_norm(bright - 1e6), atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, 255.0])
@pytest.mark.parametrize("divisive", [True, False], ids=["divisive", "subtractive"])
def test_constant_images_become_zero_with_finite_gradients(value, divisive):
    """At the borders too: the weights there are those of the pixels that there are."""
    x = jnp.full((6, 5, 3), value)
    y, pullback = jax.vjp(lambda x: F.local_contrast_norm(x, divisive=divisive), x)
    assert (y == 0).all()
    assert np.isfinite(pullback(draw(0, 6, 5, 3))[0]).all()
    gradient = jax.grad(lambda x: F.local_contrast_norm(x).sum())(x)
    assert np.isfinite(gradient).all()


def test_a_flat_part_of_an_image_has_finite_gradients():
    x = jnp.zeros((12, 12, 1)).at[:3, :3].set(draw(0, 3, 3, 1))
    y, pullback = jax.vjp(lambda x: F.local_contrast_norm(x, size=3), x)
    assert (y[6:, 6:] == 0).all()
    assert np.isfinite(pullback(draw(1, 12, 12, 1))[0]).all()


def test_contrast_of_each_image_by_itself():
    x = jnp.array([1.0, 50.0])[:, None, None, None, None] * draw(0, 2, 3, 5, 4, 2)
    y = F.local_contrast_norm(x)
    for index in np.ndindex(2, 3):
        close(y[index], F.local_contrast_norm(x[index]), atol=1e-4)
    assert F.local_contrast_norm(x[:0]).shape == (0, 3, 5, 4, 2)


def test_contrast_in_half_and_double_precision():
    x = 300 + 100 * draw(0, 6, 5, 3)
    for dtype in (jnp.bfloat16, jnp.float16):
        half = x.astype(dtype)
        y = F.local_contrast_norm(half)
        assert y.dtype == dtype
        close(y.astype(jnp.float32), F.local_contrast_norm(half.astype(jnp.float32)), rtol=0.01, atol=0.01)
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(4, 3, 2))
        y = F.local_contrast_norm(x)
        assert y.dtype == jnp.float64
        close(y, contrast(x, 9, 2.25, divisive=True), rtol=1e-10, atol=1e-12)


# Options and layers

X = np.zeros((2, 5, 4, 3), np.float32)
OPTIONS = [
    ("response", {"size": 0}, r"size as a positive int, got 0\. "),
    ("response", {"size": 5.0}, r"size as a positive int, got 5\.0\. "),
    ("response", {"size": True}, r"size as a positive int, got True\. "),
    ("response", {"k": 0.0}, r"a finite k > 0, got 0\.0\. The paper has k=2, alpha=1e-4"),
    ("response", {"alpha": -1.0}, r"a finite alpha >= 0, got -1\.0\. "),
    ("response", {"beta": -1.0}, r"a finite beta >= 0, got -1\.0\. "),
    ("contrast", {"size": 0}, r"size as a positive int, got 0\. "),
    ("contrast", {"size": 4}, r"an odd size, got 4\. The window needs a centre"),
    ("contrast", {"sigma": 0}, r"sigma > 0, got 0(\.0)?\. It is the window's standard deviation in pixels\."),
    ("contrast", {"eps": 0.0}, r"eps >= 1e-18, got 0\.0\. It is the least deviation: "),
    ("contrast", {"eps": 1e-30}, r"eps >= 1e-18, got 1e-30\. "),  # whose square is 0 in float32
]


@pytest.mark.parametrize(("name", "options", "message"), OPTIONS)
def test_bad_options(name, options, message):
    with pytest.raises(ValueError, match=f"^local_{name}_norm: expected {message}"):
        getattr(F, f"local_{name}_norm")(X, **options)
    kind = {"response": LocalResponseNorm, "contrast": LocalContrastNorm}[name]
    with pytest.raises(ValueError, match=f"^{kind.__name__}: expected {message}"):
        kind(**options)


def test_bad_inputs():
    with pytest.raises(
        ValueError, match=r"^local_response_norm: expected x of shape \(\.\.\., C\), got \(\)\. Add a ch"
    ):
        F.local_response_norm(jnp.float32(1))
    with pytest.raises(
        ValueError, match=r"^local_contrast_norm: expected images of shape \(\.\.\., H, W, C\), got \(4, 3"
    ):
        F.local_contrast_norm(X[0, 0])
    for norm in (F.local_response_norm, F.local_contrast_norm):
        with pytest.raises(
            TypeError, match=rf"^{norm.__name__}: expected x of a floating dtype, got uint8\. .*to_float"
        ):
            norm(X.astype(np.uint8))


def test_the_layers_pass_every_option_on():
    x = draw(0, 2, 5, 4, 7)
    options = {"size": 3, "k": 1.0, "alpha": 0.5, "beta": 0.6}
    for some in [options, *({name: value} for name, value in options.items())]:
        y, _ = LocalResponseNorm(**some).apply({}, {}, x, train=False)
        np.testing.assert_array_equal(y, F.local_response_norm(x, **some))
    options = {"size": 3, "sigma": 2.0, "divisive": False, "eps": 2.0}
    for some in [options, *({name: value} for name, value in options.items())]:
        y, _ = LocalContrastNorm(**some).apply({}, {}, x, train=False)
        np.testing.assert_array_equal(y, F.local_contrast_norm(x, **some))


def test_the_layers_are_values():
    assert LocalResponseNorm() == LocalResponseNorm(size=5, k=2, alpha=np.float64(1e-4), beta=0.75)
    assert LocalContrastNorm() == LocalContrastNorm(sigma=2.25) == LocalContrastNorm(size=9, eps=np.float64(1e-4))
    layers = {
        LocalResponseNorm(), LocalResponseNorm(size=3), LocalResponseNorm(k=1), LocalResponseNorm(alpha=1),
        LocalResponseNorm(beta=1), LocalContrastNorm(), LocalContrastNorm(size=7), LocalContrastNorm(sigma=1),
        LocalContrastNorm(divisive=False), LocalContrastNorm(eps=1),
    }  # fmt: skip
    assert len(layers) == 10
    assert repr(LocalResponseNorm(k=1)) == "LocalResponseNorm(k=1.0)"
    assert repr(LocalContrastNorm(sigma=2.25, divisive=False)) == "LocalContrastNorm(divisive=False)"

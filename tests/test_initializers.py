"""Initializers against `jax.nn.initializers` and PyTorch, their equations and their measured moments."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.filters import Gabor, Sobel
from jaxcnn.initializers import Constant, Dirac, FilterBank, Normal, Scaled, VarianceScaling, gain
from jaxcnn.layers import Conv, Sequential, from_json, to_json

pytestmark = pytest.mark.usefixtures("quick_compilation")
key = jax.random.key(0)
KERNEL = (3, 2, 8, 10)  # fan_in 48, fan_out 60
# The functions (key, shape, dtype) -> array; `gain` is none of them.
FUNCTIONS = [n for n in initializers.__all__ if n[0].islower() and n != "gain"]
SHAPES = {"bilinear": (3, 2, 10, 10)}  # where KERNEL does not fit
REEXPORTED = (
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
)
VARIANCES = {
    "he_normal": 2 / 48, "he_uniform": 2 / 48,
    "lecun_normal": 1 / 48, "lecun_uniform": 1 / 48,
    "glorot_normal": 2 / (48 + 60), "glorot_uniform": 2 / (48 + 60),
}  # fmt: skip
DATACLASSES = [
    Constant(0.5), Normal(0.02), VarianceScaling(), VarianceScaling(3.0, "fan_avg", "uniform"),
    VarianceScaling(0.5, "fan_out", "normal"), Scaled(initializers.orthogonal, 2.0), Dirac(), Dirac(2, Normal(0.1)),
    FilterBank(Sobel()), FilterBank(Gabor(5, 2), initializers.he_normal),
]  # fmt: skip


def same_bits(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(np.asarray(a).view(np.uint8), np.asarray(b).view(np.uint8))


@pytest.mark.parametrize("name", REEXPORTED)
@pytest.mark.parametrize("shape", [KERNEL, (4, 3, 5, 5), (3, 5, 7), (5, 7)], ids=str)
def test_equals_jax_bit_for_bit(name, shape):
    if name == "delta_orthogonal" and len(shape) == 2:
        return  # JAX wants at least one axis of taps
    same_bits(getattr(initializers, name)(key, shape), getattr(jax.nn.initializers, name)()(key, shape))


def test_zeros_ones_and_the_dataclasses_equal_jax_bit_for_bit():
    theirs = jax.nn.initializers
    same_bits(initializers.zeros(key, (2, 3)), theirs.zeros(key, (2, 3)))
    same_bits(initializers.ones(key, (4,)), theirs.ones(key, (4,)))
    same_bits(Constant(0.5)(key, (4,)), theirs.constant(0.5)(key, (4,)))
    same_bits(Normal(0.02)(key, (4,)), theirs.normal(0.02)(key, (4,)))
    np.testing.assert_allclose(Normal(0.02)(key, KERNEL), theirs.normal(0.02)(key, KERNEL), rtol=1e-6)
    same_bits(Scaled(initializers.orthogonal, 1.5)(key, KERNEL), theirs.orthogonal(1.5)(key, KERNEL))
    for scale, mode, law in [
        (3.0, "fan_avg", "uniform"),
        (0.5, "fan_out", "normal"),
        (1.0, "fan_in", "truncated_normal"),
    ]:
        same_bits(
            VarianceScaling(scale, mode, law)(key, KERNEL), theirs.variance_scaling(scale, mode, law)(key, KERNEL)
        )


@pytest.mark.parametrize("name", VARIANCES)
def test_measured_variance(name):
    draw = np.asarray(getattr(initializers, name)(key, (3, 2, 8 * 16, 10 * 16)))
    expected = VARIANCES[name] / 16  # both fans are 16 times as large
    # Five standard deviations of the mean and (for a normal: the widest of the laws) of the variance of n draws.
    assert abs(draw.mean()) < 5 * math.sqrt(expected / draw.size)
    assert abs(draw.var() / expected - 1) < 5 * math.sqrt(2 / draw.size)


@pytest.mark.parametrize("scheme", [VarianceScaling(3.0, "fan_out", "uniform"), Normal(0.3)], ids=repr)
def test_measured_variance_of_the_dataclasses(scheme):
    draw = np.asarray(scheme(key, (3, 2, 128, 160)))
    expected = 3 / (160 * 6) if isinstance(scheme, VarianceScaling) else 0.09
    assert abs(draw.var() / expected - 1) < 5 * math.sqrt(2 / draw.size)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (3, 2, 2, 5)], ids=str)
def test_orthogonal_maps_keep_lengths_or_are_projections(shape):
    matrix = np.asarray(initializers.orthogonal(key, shape)).reshape(-1, shape[-1])
    smaller = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(smaller, np.eye(len(smaller)), atol=1e-5)


@pytest.mark.parametrize("name", ["orthogonal", "delta_orthogonal"])
def test_orthogonal_to_the_digits_of_the_dtype(name):
    with jax.enable_x64(True):
        matrix = np.asarray(getattr(initializers, name)(key, (6, 6), jnp.float64))
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(6), atol=1e-13)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dtype_shape_and_key(name):
    init, shape = getattr(initializers, name), SHAPES.get(name, KERNEL)
    draw = init(key, shape)
    assert (draw.shape, draw.dtype) == (shape, jnp.float32)
    assert (init(key, shape) == draw).all()
    constant = name in ("zeros", "ones", "dirac", "bilinear")
    assert bool((init(jax.random.key(1), shape) == draw).all()) == constant
    assert jax.eval_shape(lambda: init(key, shape, jnp.bfloat16)).dtype == jnp.bfloat16
    with jax.enable_x64(True):
        assert jax.eval_shape(lambda: init(key, shape, jnp.float64)).dtype == jnp.float64


@pytest.mark.parametrize("scheme", DATACLASSES, ids=repr)
def test_the_dataclasses_keep_the_dtype(scheme):
    shape = (*(scheme.bank().shape[:2] if isinstance(scheme, FilterBank) else (3, 3)), 2, 8)
    for dtype in (jnp.float32, jnp.bfloat16):
        assert jax.eval_shape(lambda dtype=dtype: scheme(key, shape, dtype)).dtype == dtype
    assert scheme(key, shape).shape == shape


def test_constants():
    np.testing.assert_array_equal(initializers.zeros(key, (2,)), [0, 0])
    np.testing.assert_array_equal(initializers.ones(key, (2,)), [1, 1])
    np.testing.assert_array_equal(Constant(-0.25)(key, (2,)), [-0.25, -0.25])
    np.testing.assert_array_equal(Normal(0.0)(key, (2,)), [0, 0])


@pytest.mark.parametrize("scheme", DATACLASSES, ids=repr)
def test_dataclasses_are_values(scheme):
    net = Sequential(conv=Conv(4, kernel_init=scheme))
    rebuilt = from_json(to_json(net))
    assert rebuilt == net
    assert hash(rebuilt) == hash(net)
    assert rebuilt["conv"].kernel_init == scheme
    assert json.loads(to_json(net))["net"]["children"][0][1]["kernel_init"]["type"] == type(scheme).__name__
    assert eval(repr(scheme), {"Gabor": Gabor, "Sobel": Sobel} | vars(initializers)) == scheme
    assert len({scheme, *DATACLASSES}) == len(DATACLASSES)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_saved_by_name(name):
    net = Sequential(conv=Conv(4, kernel_init=getattr(initializers, name)))
    assert from_json(to_json(net)) == net
    assert name in repr(net) or name == "he_normal"  # the default is not shown


@pytest.mark.parametrize("shape", [(5,), (), (3, 0, 2)], ids=str)
@pytest.mark.parametrize("name", [*REEXPORTED, "bilinear", "VarianceScaling", "Dirac", "FilterBank"])
def test_kernels_need_two_axes(name, shape):
    schemes = {"VarianceScaling": VarianceScaling(), "Dirac": Dirac(), "FilterBank": FilterBank(Sobel())}
    init = schemes.get(name) or getattr(initializers, name)
    with pytest.raises(
        ValueError, match=rf"^{name}: expected a kernel's shape \(\.\.\., C_in, C_out\) .*, got .*\. Use zeros"
    ):
        init(key, shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normal(-1), r"^Normal: expected a finite stddev >= 0, got -1\. Pass a standard deviation\."),
        (lambda: VarianceScaling(0.0), r"^VarianceScaling: expected a finite scale > 0, got 0\.0\. "),
        (lambda: VarianceScaling(float("nan")), r"^VarianceScaling: expected a finite scale > 0, got nan\. "),
        (
            lambda: VarianceScaling(1.0, "fan"),
            r"^VarianceScaling: expected mode in \('fan_in', .*\), got 'fan'\. Choose",
        ),
        (
            lambda: VarianceScaling(distribution="he"),
            r"^VarianceScaling: expected distribution in .*, got 'he'\. Choose",
        ),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Maps that keep lengths


def lengths(y):
    return np.linalg.norm(np.asarray(y), axis=-1)


@pytest.mark.parametrize(
    ("shape", "padding"), [((3, 3, 5, 8), "SAME"), ((2, 4, 4, 4), "SAME"), ((1, 1, 3, 7), "VALID")]
)
def test_a_delta_orthogonal_convolution_keeps_the_length_of_every_pixel(shape, padding):
    kernel = initializers.delta_orthogonal(key, shape)
    x = jax.random.normal(key, (2, 5, 6, shape[2]))
    y, pullback = jax.vjp(lambda x: F.conv(x, kernel, padding=padding), x)
    np.testing.assert_allclose(lengths(y), lengths(x), rtol=1e-5)
    if shape[2] == shape[3]:
        np.testing.assert_allclose(lengths(pullback(y)[0]), lengths(y), rtol=1e-5)


def test_delta_orthogonal_cannot_narrow():
    with pytest.raises(
        ValueError,
        match=r"^delta_orthogonal: expected at least as many outputs as inputs, got shape \(3, 3, 5, 4\)\. Use",
    ):
        initializers.delta_orthogonal(key, (3, 3, 5, 4))
    np.testing.assert_array_equal(initializers.delta_orthogonal(key, (4, 6)), initializers.orthogonal(key, (4, 6)))


# The identity


@pytest.mark.slow
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)
)  # taps, inputs of a group, outputs of a group, groups
def test_dirac_copies_its_inputs(taps, ins, outs, groups):
    kernel = Dirac(groups)(key, (*taps, ins, groups * outs))
    x = jax.random.normal(key, (4, 5, ins * groups))
    y = np.asarray(F.conv(x, kernel, groups=groups)).reshape(4, 5, groups, outs)
    same = min(ins, outs)
    np.testing.assert_array_equal(y[..., :same], np.asarray(x).reshape(4, 5, groups, ins)[..., :same])
    np.testing.assert_array_equal(y[..., same:], 0)


@pytest.mark.parametrize(("ins", "outs", "groups"), [(3, 5, 1), (5, 3, 1), (2, 6, 3), (4, 4, 2), (1, 4, 4)])
@pytest.mark.parametrize("taps", [(3, 5), (1, 1)], ids=str)
def test_dirac_agrees_with_torch(taps, ins, outs, groups):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.dirac_(torch.empty(outs, ins, *taps), groups).numpy().transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(Dirac(groups)(key, (*taps, ins, outs)), theirs)
    if groups == 1:
        np.testing.assert_array_equal(initializers.dirac(key, (*taps, ins, outs)), theirs)


def test_dirac_of_matrices_and_in_front_of_other_values():
    np.testing.assert_array_equal(initializers.dirac(key, (2, 3)), [[1, 0, 0], [0, 1, 0]])
    rest = VarianceScaling(1 / 3, "fan_in", "uniform")
    kernel = np.asarray(Dirac(rest=rest)(key, (3, 3, 24, 64)))
    np.testing.assert_array_equal(kernel[..., :24], initializers.dirac(key, (3, 3, 24, 24)))
    np.testing.assert_array_equal(kernel[..., 24:], rest(key, (3, 3, 24, 64))[..., 24:])
    bound = 1 / math.sqrt(9 * 24)  # of PyTorch's default draw
    assert 0.99 * bound < np.abs(kernel[..., 24:]).max() <= bound


def test_dirac_rejects_bad_options():
    with pytest.raises(ValueError, match=r"^Dirac: expected groups that divide 4 outputs, got 3\. Choose"):
        Dirac(3)(key, (3, 3, 2, 4))
    for groups in (0, 1.5, True):
        with pytest.raises(ValueError, match=r"^Dirac: expected groups as a positive int, got "):
            Dirac(groups)
    with pytest.raises(TypeError, match=r"^Dirac: expected rest as an initializer, got 0\.5\. "):
        Dirac(rest=0.5)


# Interpolation


def upsample_filt(size):
    """Return the filter as the reference code of Long et al. computes it."""
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 == 1 else factor - 0.5
    og = np.ogrid[:size, :size]
    return (1 - abs(og[0] - center) / factor) * (1 - abs(og[1] - center) / factor)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_bilinear_is_the_papers_filter_between_equal_channels(size):
    kernel = np.asarray(initializers.bilinear(key, (size, size, 3, 3)))
    for i, o in np.ndindex(3, 3):
        expected = upsample_filt(size) if i == o else np.zeros((size, size))
        np.testing.assert_allclose(kernel[:, :, i, o], expected, rtol=1e-6)
    depthwise = np.asarray(initializers.bilinear(key, (size, size, 1, 4)))
    np.testing.assert_allclose(depthwise, np.repeat(upsample_filt(size)[..., None, None], 4, -1), rtol=1e-6)


def test_bilinear_by_hand():
    np.testing.assert_array_equal(initializers.bilinear(key, (4, 1, 1, 1)).ravel(), [0.25, 0.75, 0.75, 0.25])
    np.testing.assert_array_equal(initializers.bilinear(key, (3, 1, 1, 1)).ravel(), [0.5, 1.0, 0.5])
    np.testing.assert_array_equal(initializers.bilinear(key, (2, 2)), np.eye(2))


@pytest.mark.parametrize(("factor", "size"), [(2, 4), (3, 5), (4, 8)])
def test_a_transposed_convolution_enlarges(factor, size):
    kernel = initializers.bilinear(key, (size, size, 2, 2))
    x = jax.random.normal(key, (1, 6, 7, 2))
    y = lax.conv_transpose(x, kernel, (factor, factor), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    # Away from the edge, where there are zeros outside.
    inner = (slice(None), slice(factor, -factor), slice(factor, -factor))
    expected = jax.image.resize(x, (1, 6 * factor, 7 * factor, 2), "linear", precision=lax.Precision.HIGHEST)
    np.testing.assert_allclose(y[inner], expected[inner], atol=1e-5)


def test_bilinear_rejects_channels_that_mix():
    with pytest.raises(
        ValueError, match=r"^bilinear: expected as many inputs as outputs, or one, got shape .*3, 4\)\. "
    ):
        initializers.bilinear(key, (4, 4, 3, 4))


# Gains

GAINS = {
    "identity": (lambda x: x, 1.0), "relu": (F.relu, math.sqrt(2)), "abs": (jnp.abs, 1.0),
    "leaky_relu": (F.leaky_relu, math.sqrt(2 / 1.01)), "square": (jnp.square, 1 / math.sqrt(3)),
    "half": (lambda x: x / 2, 2.0), "cos": (jnp.cos, math.sqrt(2 / (1 + math.exp(-2)))), "one": (jnp.ones_like, 1.0),
    "selu": (jax.nn.selu, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", GAINS)
def test_gain_in_closed_form(name):
    fn, expected = GAINS[name]
    assert isinstance(gain(fn), float)
    assert gain(fn) == pytest.approx(expected, rel=1e-4 if name == "selu" else 1e-6)


@pytest.mark.parametrize("fn", [F.tanh, F.sigmoid, F.elu, F.gelu, F.silu], ids=lambda fn: fn.__name__)
def test_gain_agrees_with_an_integral(fn):
    z = np.linspace(-12, 12, 200_001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    power = np.trapezoid(density * np.asarray(fn(jnp.asarray(z, jnp.float32)), np.float64) ** 2, z)
    assert gain(fn) == pytest.approx(1 / math.sqrt(power), rel=1e-4)


def test_gain_agrees_with_torch_where_its_values_are_exact():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.calculate_gain
    assert gain(F.relu) == pytest.approx(theirs("relu"), rel=1e-6)
    assert gain(F.leaky_relu) == pytest.approx(theirs("leaky_relu", 0.1), rel=1e-6)
    assert gain(lambda x: x) == pytest.approx(theirs("linear"), rel=1e-6)
    assert gain(F.tanh) == pytest.approx(theirs("tanh"), rel=0.05)  # 5/3, rounded up by hand


def test_gain_keeps_the_scale_of_a_layer_and_works_inside_jit():
    x = F.silu(jax.random.normal(key, (2000, 256)))

    @jax.jit
    def layer(x):
        return x @ VarianceScaling(gain(F.silu) ** 2)(key, (256, 512))

    assert jnp.mean(layer(x) ** 2) == pytest.approx(1, rel=0.05)


def test_gain_rejects_functions_without_one():
    for fn, message in (
        (jnp.zeros_like, r"^gain: expected a function with a finite mean square above 0, got 0\.0\. No factor"),
        (lambda x: x / 0.0, r"^gain: expected a function with a finite mean square above 0, got inf\. "),
        (jnp.sum, r"^gain: expected an elementwise function, got values of shape \(\)\. Pass"),
    ):
        with pytest.raises(ValueError, match=message):
            gain(fn)


def test_scaled():
    draw = np.asarray(Scaled(initializers.orthogonal, gain(F.relu))(key, (3, 3, 8, 6))).reshape(-1, 6)
    np.testing.assert_allclose(draw.T @ draw, 2 * np.eye(6), atol=1e-5)
    with pytest.raises(TypeError, match=r"^Scaled: expected an initializer \(key, shape, dtype\), got 2\.0\. "):
        Scaled(2.0, 1.0)
    with pytest.raises(ValueError, match=r"^Scaled: expected a finite factor, got inf\. "):
        Scaled(initializers.ones, math.inf)


# First kernels for images


@pytest.mark.parametrize(("bank", "channels"), [(Gabor(5, 3), 3), (Sobel(), 1)], ids=repr)
def test_a_bank_comes_first(bank, channels):
    filters = np.asarray(bank())
    count = filters.shape[-1]
    shape = (*filters.shape[:2], channels, count + 4)
    kernel = np.asarray(FilterBank(bank)(key, shape))
    np.testing.assert_array_equal(kernel[..., count:], initializers.lecun_normal(key, shape)[..., count:])
    for c in range(channels):
        expected = filters / np.sqrt(channels * (filters**2).sum((0, 1)))
        np.testing.assert_allclose(kernel[:, :, c, :count], expected, rtol=1e-5, atol=1e-7)
    # White noise keeps its variance in each output of the bank.
    noise = jax.random.normal(key, (64, 16, 16, channels))
    y = F.conv(noise, kernel[..., :count], padding="VALID")
    np.testing.assert_allclose(np.var(y, axis=(0, 1, 2)), 1, atol=0.15)


def test_a_bank_has_to_fit():
    for shape in ((3, 3, 1, 8), (5, 5, 1, 3)):
        with pytest.raises(
            ValueError, match=r"^FilterBank: expected a kernel of shape \(5, 5, C_in, at least 4\), got"
        ):
            FilterBank(Gabor(5, 2))(key, shape)
    with pytest.raises(TypeError, match=r"^FilterBank: expected a bank of jaxcnn\.filters, got Sobel\. Pass an inst"):
        FilterBank(Sobel)
    with pytest.raises(TypeError, match=r"^FilterBank: expected rest as an initializer, got None\. "):
        FilterBank(Sobel(), None)


@pytest.mark.parametrize(
    ("make", "plain"),
    [
        (lambda n: initializers.Normal(n), initializers.Normal(0.5)),
        (lambda n: initializers.VarianceScaling(n), initializers.VarianceScaling(0.5)),
        (lambda n: initializers.Constant(n), initializers.Constant(0.5)),
    ],
)
@pytest.mark.parametrize("number", [np.float32(0.5), jnp.float32(0.5)])
def test_numbers_become_floats(make, plain, number):
    made = make(number)
    assert made == plain and hash(made) == hash(plain) and repr(made) == repr(plain)


@pytest.mark.parametrize("make", [initializers.Normal, initializers.VarianceScaling])
@pytest.mark.parametrize("number", [np.inf, np.nan, -1.0])
def test_numbers_are_finite_and_not_negative(make, number):
    with pytest.raises(ValueError, match=r"expected a finite"):
        make(number)

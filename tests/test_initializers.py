"""Initializers against `jax.nn.initializers`, and their measured moments."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import initializers
from jaxcnn.initializers import Constant, Normal, VarianceScaling
from jaxcnn.layers import Conv, Sequential, from_json, to_json

pytestmark = pytest.mark.usefixtures("quick_compilation")
key = jax.random.key(0)
KERNEL = (3, 2, 8, 10)  # fan_in 48, fan_out 60
REEXPORTED = (
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
    VarianceScaling(0.5, "fan_out", "normal"),
]  # fmt: skip


def same_bits(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(np.asarray(a).view(np.uint8), np.asarray(b).view(np.uint8))


@pytest.mark.parametrize("name", REEXPORTED)
@pytest.mark.parametrize("shape", [KERNEL, (7, 5)], ids=str)
def test_equals_jax_bit_for_bit(name, shape):
    same_bits(getattr(initializers, name)(key, shape), getattr(jax.nn.initializers, name)()(key, shape))


def test_zeros_ones_and_the_dataclasses_equal_jax_bit_for_bit():
    theirs = jax.nn.initializers
    same_bits(initializers.zeros(key, (2, 3)), theirs.zeros(key, (2, 3)))
    same_bits(initializers.ones(key, (4,)), theirs.ones(key, (4,)))
    same_bits(Constant(0.5)(key, (4,)), theirs.constant(0.5)(key, (4,)))
    same_bits(Normal(0.02)(key, (4,)), theirs.normal(0.02)(key, (4,)))
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


@pytest.mark.parametrize("name", [n for n in initializers.__all__ if n[0].islower()])
def test_dtype_shape_and_key(name):
    init = getattr(initializers, name)
    draw = init(key, KERNEL)
    assert (draw.shape, draw.dtype) == (KERNEL, jnp.float32)
    assert (init(key, KERNEL) == draw).all()
    constant = name in ("zeros", "ones")
    assert bool((init(jax.random.key(1), KERNEL) == draw).all()) == constant
    if name != "orthogonal":  # XLA has no QR decomposition in bfloat16
        assert jax.eval_shape(lambda: init(key, KERNEL, jnp.bfloat16)).dtype == jnp.bfloat16


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
    assert eval(repr(scheme), vars(initializers)) == scheme
    assert len({scheme, *DATACLASSES}) == len(DATACLASSES)


@pytest.mark.parametrize("name", [n for n in initializers.__all__ if n[0].islower()])
def test_functions_are_saved_by_name(name):
    net = Sequential(conv=Conv(4, kernel_init=getattr(initializers, name)))
    assert from_json(to_json(net)) == net
    assert name in repr(net) or name == "he_normal"  # the default is not shown


@pytest.mark.parametrize("shape", [(5,), (), (3, 0, 2)], ids=str)
@pytest.mark.parametrize("name", [*REEXPORTED, "VarianceScaling"])
def test_fans_need_a_kernel(name, shape):
    init = VarianceScaling() if name == "VarianceScaling" else getattr(initializers, name)
    with pytest.raises(
        ValueError, match=rf"^{name}: expected a kernel's shape \(\.\.\., C_in, C_out\) .*, got .*\. Use zeros"
    ):
        init(key, shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normal(-1), r"^Normal: expected stddev >= 0, got -1\. Pass a standard deviation\."),
        (lambda: VarianceScaling(0.0), r"^VarianceScaling: expected scale > 0, got 0\.0\. "),
        (lambda: VarianceScaling(float("nan")), r"^VarianceScaling: expected scale > 0, got nan\. "),
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

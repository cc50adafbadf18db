"""Parameters of few numbers, whose gradient is a sum over many: in bfloat16 too it must be the exact one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F

pytestmark = pytest.mark.usefixtures("quick_compilation")
C = 4
IMAGES = jnp.ones((64, 16, 16, C), jnp.bfloat16)
PIXELS = 64 * 16 * 16
SLOPED = -IMAGES

CASES = {
    "conv": lambda bias: F.conv(IMAGES, jnp.zeros((3, 3, C, C)), bias),
    "depthwise_conv": lambda bias: F.depthwise_conv(IMAGES, jnp.zeros((3, 3, 1, C)), bias),
    "conv_transpose": lambda bias: F.conv_transpose(IMAGES, jnp.zeros((3, 3, C, C)), bias),
    "dense": lambda bias: F.dense(IMAGES, jnp.zeros((C, C)), bias),
    "maxout": lambda bias: F.maxout(IMAGES, jnp.zeros((1, C, C)), bias[None]),
    "prelu": lambda slope: F.prelu(SLOPED, slope),
}


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_summed_in_float32(name):
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(CASES[name](p).astype(jnp.float32))))(jnp.zeros(C))
    np.testing.assert_array_equal(np.abs(gradient), np.full(C, PIXELS, np.float32))


def test_local_conv_sums_over_images_in_float32():
    x = jnp.ones((1024, 2, 2, C), jnp.bfloat16)
    kernel = jnp.zeros((2, 2, 1, 1, C, C))
    gradient = jax.jit(jax.grad(lambda b: jnp.sum(F.local_conv(x, kernel, b).astype(jnp.float32))))(
        jnp.zeros((2, 2, C))
    )
    np.testing.assert_array_equal(gradient, np.full((2, 2, C), 1024, np.float32))


@pytest.mark.parametrize("fn", [F.leaky_relu, F.elu])
@pytest.mark.parametrize("slope", [0.2, np.float32(0.2), jnp.float32(0.2)])
def test_slopes_of_any_dtype_leave_that_of_the_images(fn, slope):
    assert fn(IMAGES[0, 0], slope).dtype == jnp.bfloat16

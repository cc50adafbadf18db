"""Random arrays and pooling windows, and the value of a function with its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st


def draw(seed: int, *shape: int, dtype=np.float32) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


@st.composite
def windows(draw_from):
    """Return an image size, a window that fits into it, and options under which no window sees padding alone."""
    window = draw_from(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size = tuple(w + draw_from(st.integers(0, 4)) for w in window)
    stride = draw_from(st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)))
    sides = st.tuples(*[st.tuples(st.integers(0, w - 1), st.integers(0, w - 1)) for w in window])
    padding = draw_from(st.sampled_from(["SAME", "VALID"]) | sides)
    return size, window, {"stride": stride, "padding": padding, "ceil_mode": draw_from(st.booleans())}


def value_and_gradient(fn, x, cotangent):
    y, pullback = jax.vjp(fn, x)
    return y, pullback(cotangent)[0]

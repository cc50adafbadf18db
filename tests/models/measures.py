"""What is measured of nets that start."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import surgery


def deviations(net, size=32, batch=8):
    """Return the standard deviation of what each part of the net gives at first, for images of mean 0, deviation 1."""
    x = np.random.default_rng(0).random((batch, size, size, 3), np.float32)
    x = (x - x.mean()) / x.std()

    @jax.jit
    def spread(key, x):
        params, state = net.init(key, x)  # in the same program: drawing shape by shape takes longer
        at = list(net.layers)
        _, found = surgery.activations(net, params, state, x, at, train=True, key=jax.random.key(1))
        return {path: jnp.std(value) for path, value in found.items()}

    return {path: float(sd) for path, sd in spread(jax.random.key(0), x).items()}


def output(net, size):
    """Return the shape of what the net gives for an image of that many pixels."""
    spec = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.eval_shape(lambda key, x: net.apply(*net.init(key, x), x, train=False)[0], jax.random.key(0), spec).shape

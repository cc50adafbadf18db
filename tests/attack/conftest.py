"""What attacks are tested on: a net that knows the digits, and a linear one with known answers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import data, training
from jaxcnn import functional as F
from jaxcnn.attack.judgement import Judgement, judge
from jaxcnn.layers import Conv, Dense, Flatten, MaxPool, Sequential

DIGITS_NET = Sequential(
    conv1=Conv(8, padding=1), act1=F.relu, pool1=MaxPool(2), conv2=Conv(16, padding=1), act2=F.relu, pool2=MaxPool(2),
    flatten=Flatten(), head=Dense(10),
)  # fmt: skip


class Known(NamedTuple):
    """A classifier with images and their true classes."""

    logits_fn: Any
    x: jax.Array
    y: jax.Array


def judged(known: Known, adversarial: Any, **options: Any) -> Judgement:
    """Return what the classifier makes of attacked versions of its images."""
    return judge(known.logits_fn, known.x, adversarial, known.y, **options)


@pytest.fixture(scope="session")
def images() -> jax.Array:
    """Four images in [0, 1] for the small nets."""
    return jax.random.uniform(jax.random.key(11), (4, 12, 12, 3))


@pytest.fixture(scope="session")
def digits() -> Known:
    """A small net trained on the digits (8x8, about 97 % of the test set), and 32 test images, most of them known."""
    train, test = data.load("digits")
    result = training.fit(
        DIGITS_NET,
        train,
        optimizer=optax.sgd(0.1, momentum=0.9),
        epochs=6,
        batch_size=64,
        key=jax.random.key(0),
    )
    logits_fn = training.predictor(DIGITS_NET, result.state.params, result.state.model_state)
    return Known(logits_fn, data.to_float(test["image"][:32]), jnp.asarray(test["label"][:32]))


@pytest.fixture(scope="session")
def linear() -> Known:
    """Logits w^T x + b of 6 images (3, 3, 1) around 0.5 in 4 classes; y is what it takes them for.

    The least change that makes class j as likely as y is (z_y - z_j) / ||w_y - w_j||_q, q dual to the norm, where no
    pixel meets its bounds.
    """
    draw = np.random.default_rng(5)
    kernel = jnp.asarray(draw.normal(0, 1, (9, 4)), jnp.float32)
    bias = jnp.asarray(draw.normal(0, 0.1, 4), jnp.float32)
    x = jnp.asarray(draw.uniform(0.45, 0.55, (6, 3, 3, 1)), jnp.float32)
    logits_fn = jax.tree_util.Partial(_linear, kernel, bias)
    return Known(logits_fn, x, logits_fn(x).argmax(-1).astype(jnp.int32))


def _linear(kernel: jax.Array, bias: jax.Array, x: jax.Array) -> jax.Array:
    return x.reshape(*x.shape[:-3], 9) @ kernel + bias

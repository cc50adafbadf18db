"""compose and batched: which key goes where, and what they say about batches that are none."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment

KEY = jax.random.key(0)


def add(key, x):
    return x + jax.random.uniform(key)


def double(key, x):
    return 2 * x


def test_compose_applies_in_order_with_a_key_for_each_position():
    out = augment.compose(add, double, add, double, double)(KEY, 1.0)
    first, second = (jax.random.uniform(jax.random.fold_in(KEY, n)) for n in (0, 2))
    assert out == 4 * (2 * (1.0 + first) + second)


def test_compose_nests_and_takes_examples():
    inner = augment.compose(augment.flip, partial(augment.brightness, delta=0.2))
    outer = augment.compose(inner, partial(augment.shift, max_shift=1))
    example = {"image": jax.random.uniform(KEY, (4, 4, 1)), "label": 5}
    out = outer(KEY, example)
    assert out["label"] == 5
    assert (out["image"] == outer(KEY, example["image"])).all()


def test_batched_draws_for_each_image():
    out = augment.batched(add)(KEY, jnp.zeros(6))
    np.testing.assert_array_equal(out, [jax.random.uniform(key) for key in jax.random.split(KEY, 6)])


def test_batched_takes_batches_of_examples():
    images = jax.random.uniform(KEY, (5, 6, 6, 1))
    batch = {"image": images, "label": np.arange(5, dtype=np.int32), "weights": np.ones((5, 2), np.float16)}
    fn = jax.jit(augment.batched(augment.compose(augment.flip, partial(augment.crop, size=4))))
    out = fn(KEY, batch)
    assert out["image"].shape == (5, 4, 4, 1)
    for name in ("label", "weights"):
        np.testing.assert_array_equal(out[name], batch[name], strict=True)
    assert (out["image"] == fn(KEY, images)).all()


@pytest.mark.parametrize(
    "batch",
    [
        {},
        {"image": np.zeros((4, 2, 2, 1)), "label": np.zeros(3)},
        {"image": np.zeros((4, 2, 2, 1)), "label": 1},
    ],
    ids=["empty", "ragged", "scalar"],
)
def test_batched_rejects_what_is_no_batch(batch):
    with pytest.raises(
        ValueError, match=r"^batched: expected arrays of one leading axis N, got shapes .*\. Stack.*\.$"
    ):
        augment.batched(augment.flip)(KEY, batch)

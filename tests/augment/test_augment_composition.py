"""compose, choose_one, apply_with and batched: which key goes where, and what they say about what they cannot take."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment
from jaxcnn.augment.switching import switch

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


@pytest.mark.slow
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


def halved(key, x):
    return x / 2


@pytest.mark.slow
def test_choose_one_chooses_by_weight_for_each_image():
    fns = (add, double, halved)
    for weights, shares in ((None, [1 / 3] * 3), ((1, 0, 3), [0.25, 0, 0.75]), ((0, 2, 0), [0, 1, 0])):
        out = np.asarray(augment.batched(augment.choose_one(*fns, weights=weights))(KEY, jnp.ones(500)))
        found = [((out > 1) & (out < 2)).mean(), (out == 2).mean(), (out == 0.5).mean()]
        assert abs(sum(found) - 1) < 0.01
        assert np.abs(np.array(found) - shares).max() < 0.06
    out = np.asarray(augment.batched(augment.choose_one(add, double))(KEY, jnp.zeros(500)))
    draws = out[out != 0]
    assert len(set(draws)) == len(draws)
    assert abs(draws.mean() - 0.5) < 0.06


@pytest.mark.slow
def test_choose_one_alone_and_in_a_batch():
    one = augment.choose_one(augment.flip, partial(augment.rotate, degrees=40), partial(augment.brightness, delta=0.3))
    images = jax.random.uniform(KEY, (6, 5, 5, 1))
    batch = {"image": images, "label": jnp.arange(6), "keypoints": jnp.ones((6, 2, 2))}
    batch["mask"] = jnp.ones((6, 5, 5), int)
    out = jax.jit(augment.batched(one))(KEY, batch)

    @jax.jit
    def alone(key, example):
        moved = one(key, example | {"name": "untouched"})
        assert moved.pop("name") == "untouched"
        return moved

    for n, key in enumerate(jax.random.split(KEY, 6)):
        for name, array in alone(key, {name: array[n] for name, array in batch.items()}).items():
            np.testing.assert_allclose(out[name][n], array, atol=1e-5)
            assert out[name].dtype == batch[name].dtype
    assert (out["keypoints"] != 1).any()


@pytest.mark.slow
def test_choose_one_takes_functions_that_change_the_shape_alike():
    smaller = augment.choose_one(partial(augment.crop, size=3), partial(augment.random_resized_crop, size=3))
    assert augment.batched(smaller)(KEY, jnp.ones((2, 5, 5, 1))).shape == (2, 3, 3, 1)


@pytest.mark.slow
def test_choose_one_has_the_gradient_of_what_was_chosen():
    one = augment.choose_one(double, halved)
    images = jax.random.uniform(KEY, (50, 2))

    def total(x):
        return jnp.sum(augment.batched(one)(KEY, x) ** 2)

    factor = augment.batched(one)(KEY, images) / images
    assert set(np.asarray(factor).ravel()) == {0.5, 2.0}
    np.testing.assert_allclose(jax.grad(total)(images), 2 * factor**2 * images, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(images), 2 * factor**2 * images, rtol=1e-6)
    each = jax.vmap(jax.grad(lambda x, key: jnp.sum(one(key, x) ** 2)))(images, jax.random.split(KEY, 50))
    np.testing.assert_allclose(each, 2 * factor**2 * images, rtol=1e-6)


@pytest.mark.slow
def test_choose_one_nests_and_lifts_twice():
    one = augment.choose_one(double, augment.choose_one(halved, add))
    keys, x = jax.random.split(KEY, (3, 40)), jnp.ones((3, 40))
    out = jax.jit(jax.vmap(jax.vmap(one)))(keys, x)
    assert (out == jnp.stack([jax.vmap(one)(keys[n], x[n]) for n in range(3)])).all()
    assert {0.5, 2.0} < set(np.asarray(out).ravel())


def test_a_batch_on_cpu_goes_through_a_loop_and_elsewhere_not():
    lowered = jax.jit(jax.vmap(lambda x: switch(x[0].astype(int), (jnp.add, jnp.subtract), x, x)))
    for platform, loops in (("cpu", True), ("cuda", False), ("tpu", False)):
        text = jax.export.export(lowered, platforms=[platform])(jnp.ones((7, 2))).mlir_module()
        assert ("stablehlo.while" in text) == loops


@pytest.mark.slow
def test_apply_with_applies_with_its_probability():
    for p in (0, 0.3, 1):
        out = augment.batched(augment.apply_with(double, p))(KEY, jnp.ones(500))
        assert abs((out == 2).mean() - p) < 0.05
        assert set(np.asarray(out)) <= {1.0, 2.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (augment.choose_one, r"^choose_one: expected at least one function, got 0\. Pass"),
        (partial(augment.choose_one, add, weights=(1, 2)), r"^choose_one: expected 1 weights, got 2\. Pass the odds"),
        (
            partial(augment.choose_one, add, double, weights=(1, -1)),
            r"^choose_one: expected weights of at least 0, not all 0, got \(1, -1\)\.",
        ),
        (
            partial(augment.choose_one, add, double, weights=(0, 0)),
            r"^choose_one: expected weights of at least 0, not all 0, got \(0, 0\)\.",
        ),
        (
            partial(augment.choose_one, add, weights=(float("inf"),)),
            r"^choose_one: expected weights of at least 0, not all 0, got \(inf,\)\.",
        ),
        (partial(augment.apply_with, add, 1.1), r"^apply_with: expected p in \[0, 1\], got 1\.1\. Pass"),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call()

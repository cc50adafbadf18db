"""The loss of two views of each image: by hand, against optax, and as the trainer sees it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import augment, data, layers, training
from jaxcnn.matching import nt_xent, two_views, unit_length, view_loss

pytestmark = pytest.mark.usefixtures("quick_compilation")
VIEWS = jax.random.normal(jax.random.key(0), (5, 2, 4))


def test_by_hand():
    z = np.asarray(VIEWS, np.float64).reshape(10, 4)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    s = np.exp(z @ z.T / 0.3)
    each = [-np.log(s[i, i ^ 1] / (s[i].sum() - s[i, i])) for i in range(10)]
    np.testing.assert_allclose(nt_xent(VIEWS, temperature=0.3), np.reshape(each, (5, 2)).mean(1), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_agrees_with_optax(temperature):
    ours = jax.value_and_grad(lambda v: nt_xent(v, temperature=temperature).mean())
    theirs = jax.value_and_grad(lambda v: optax.losses.ntxent(v.reshape(10, 4), jnp.arange(10) // 2, temperature))
    for found, expected in zip(ours(VIEWS), theirs(VIEWS), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_where_all_are_alike_and_where_views_alone_are():
    np.testing.assert_allclose(nt_xent(jnp.ones((4, 2, 3))), np.log(7), rtol=1e-6)
    found = nt_xent(jnp.repeat(jnp.eye(3), 2, axis=0).reshape(3, 2, 3), temperature=0.5)
    np.testing.assert_allclose(found, np.log(1 + 4 * np.exp(-2)), rtol=1e-6)
    assert nt_xent(VIEWS[:1]).tolist() == [0]  # there is no other image
    assert jnp.isfinite(jax.grad(lambda v: nt_xent(v).sum())(jnp.zeros((3, 2, 4)))).all()


def test_of_a_part_of_a_batch_it_is_another_and_says_so():
    loss = view_loss()
    assert loss.whole_batch
    assert (loss(VIEWS[:3], {}) < loss(VIEWS, {})[:3]).all()  # fewer others


def test_every_view_has_a_draw_of_its_own():
    one = two_views(lambda key, image: image + jax.random.uniform(key))
    batch = {"image": jnp.zeros((3, 2, 2, 1)), "label": jnp.arange(3)}
    found = jax.jit(one)(jax.random.key(0), batch)
    assert found["image"].shape == (3, 2, 2, 2, 1)
    assert len(np.unique(found["image"])) == 6
    np.testing.assert_array_equal(found["label"], batch["label"])
    keys = jax.random.split(jax.random.key(0), 6)
    np.testing.assert_allclose(found["image"][1, 1, 0, 0, 0], jax.random.uniform(keys[3]))
    smaller = two_views(lambda key, image: image[:1])(jax.random.key(0), batch)
    assert smaller["image"].shape == (3, 2, 1, 2, 1)


@pytest.mark.slow
def test_the_trainer_takes_it():
    """Views of one image, with noise, are found among those of others after some steps."""
    train = data.from_arrays(np.asarray(jax.random.uniform(jax.random.key(1), (32, 4, 4, 1))))
    net = layers.Sequential(norm=layers.BatchNorm(), flatten=layers.Flatten(), embed=layers.Dense(8), unit=unit_length)
    result = training.fit(
        net, train, loss=view_loss(0.2), augment=two_views(partial(augment.noise, std=0.2)), optimizer=optax.adam(0.02),
        epochs=15, batch_size=16, key=jax.random.key(0),
    )  # fmt: skip
    losses = [epoch["train_loss"] for epoch in result.history]
    assert losses[-1] < min(0.8 * losses[0], 0.6 * np.log(31))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nt_xent(VIEWS[:, 0]), ValueError, r"^nt_xent: expected views \(N, 2, D\), got \(5, 4\)\. Augment by"),
        (lambda: nt_xent(jnp.ones((5, 3, 4))), ValueError, r"^nt_xent: expected views \(N, 2, D\), got \(5, 3, 4\)"),
        (lambda: nt_xent(VIEWS.astype(int)), TypeError, r"^nt_xent: expected views of a floating dtype"),
        (lambda: view_loss(0), ValueError, r"^view_loss: expected a finite temperature > 0, got 0\. "),
        (
            lambda: view_loss().validate(jax.ShapeDtypeStruct((1, 2, 2, 3), jnp.float32), {}),
            ValueError,
            r"^view_loss: expected outputs \(N, D\), got \(1, 2, 2, 3\)\. End the net",
        ),
        (lambda: two_views(3), TypeError, r"^batched: expected a function, got 3\. "),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()

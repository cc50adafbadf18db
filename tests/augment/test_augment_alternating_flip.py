"""alternating_flip: every image both ways within two epochs, the first way at random."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import augment, layers, training

COUNT = 200
IMAGES = jax.random.uniform(jax.random.key(0), (COUNT, 2, 3, 1))
KEY = jax.random.key(1)


def batch(epoch: int, **entries):
    return {"image": IMAGES, "index": jnp.arange(COUNT), "epoch": jnp.full(COUNT, epoch)} | entries


@jax.jit
def flipped(key, batch):
    return augment.batched(augment.alternating_flip)(key, batch)


def mirrored(epoch: int, key=KEY) -> np.ndarray:
    """Return which images are mirrored, having seen that the others are not."""
    out = flipped(key, batch(epoch))["image"]
    same, mirror = ((out == images).all((1, 2, 3)) for images in (IMAGES, IMAGES[:, :, ::-1]))
    assert (same ^ mirror).all()
    return np.asarray(mirror)


def test_half_the_images_are_mirrored_and_the_other_half_in_the_next_epoch():
    first = mirrored(0)
    assert abs(first.mean() - 0.5) < 0.1
    for epoch in range(1, 5):
        assert (mirrored(epoch) == (first if epoch % 2 == 0 else ~first)).all()


@pytest.mark.slow
def test_the_index_and_the_seed_decide_not_the_key():
    assert (mirrored(0, jax.random.key(5)) == mirrored(0)).all()
    order = np.random.default_rng(0).permutation(COUNT)
    shuffled = {name: array[order] for name, array in batch(0).items()}
    assert (flipped(KEY, shuffled)["image"] == flipped(KEY, batch(0))["image"][order]).all()
    other = augment.batched(partial(augment.alternating_flip, seed=1))(KEY, batch(0))["image"]
    agree = (other == flipped(KEY, batch(0))["image"]).all((1, 2, 3))
    assert 0.35 < agree.mean() < 0.65


def test_keypoints_move_along():
    out = flipped(KEY, batch(0, keypoints=jnp.full((COUNT, 1, 2), 0.5)))
    np.testing.assert_allclose(out["keypoints"][:, 0, 0], np.where(mirrored(0), 2.5, 0.5))


@pytest.mark.slow
def test_in_a_training_step():
    net = layers.Sequential(layers.Flatten(), layers.Dense(3))
    optimizer = optax.sgd(0.1)
    state = training.TrainState.create(net, optimizer, KEY, jax.ShapeDtypeStruct((1, 2, 3, 1), jnp.float32))
    lifted = augment.batched(augment.alternating_flip)
    step = jax.jit(training.make_train_step(net, optimizer, augment=lifted))
    _, metrics = step(state, batch(0, label=jnp.zeros(COUNT, jnp.int32)))
    assert jnp.isfinite(metrics["loss"])


@pytest.mark.parametrize(
    ("example", "error", "message"),
    [
        (IMAGES[0], ValueError, r'an example with an "index" entry, got \[\'image\'\]\. Put it into the batch'),
        ({"image": IMAGES[0], "index": 3}, ValueError, r'an example with an "epoch" entry, got .*\. Put it'),
        (batch(0, image=IMAGES[0]), ValueError, r'one "index" for an image, got shape \(200,\)\. Put it'),
        ({"image": IMAGES[0], "index": 3, "epoch": 1.5}, TypeError, r'an integer "epoch", got float32\. Count'),
        ({"index": 3, "epoch": 1}, ValueError, r'an example with an "image" entry, got .*\. Name'),
    ],
)
def test_missing_entries(example, error, message):
    with pytest.raises(error, match=rf"^alternating_flip: expected {message}.*\.$"):
        augment.alternating_flip(KEY, example)

"""The range test on problems whose largest stable rate is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data, initializers
from jaxcnn.layers import Dense, Flatten, Sequential
from jaxcnn.training import find_learning_rate, learning_rate

NET = Sequential(flatten=Flatten(), head=Dense(1, use_bias=False, kernel_init=initializers.zeros))
KEY = jax.random.key(0)


def unit_images(scale=1.0, count=16, **others):
    """Each image is `scale` at one of four pixels: the Hessian of the half squared error is scale^2 / 4 times 1."""
    image = np.zeros((count, 2, 2, 1), np.float32)
    image.reshape(count, 4)[np.arange(count), np.arange(count) % 4] = scale
    return data.from_arrays(image, **others)


def to_one(outputs, batch):
    return 0.5 * (outputs[:, 0] - 1) ** 2


def to_target(outputs, batch):
    return 0.5 * (outputs[:, 0] - batch["target"]) ** 2


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_suggests_a_rate_near_the_largest_stable_one(scale):
    # Gradient descent on a quadratic of curvature h is stable below 2 / h. Targets that differ keep it moving.
    stable = 2 / (scale**2 / 4)
    target = 3 + np.random.default_rng(0).standard_normal(64).astype(np.float32)
    low, high = stable / 1000, stable * 100
    options = {"low": low, "high": high, "batch_size": 16, "momentum": 0.0, "weight_decay": 0.0}
    found = find_learning_rate(NET, unit_images(scale, 64, target=target), key=KEY, loss=to_target, **options)
    assert stable / 10 < found.suggestion < stable
    assert len(found.rates) == len(found.losses) < 100  # it ended where the loss exploded
    np.testing.assert_allclose(found.rates[[0, -1]], np.geomspace(low, high, 100)[[0, len(found.rates) - 1]])
    np.testing.assert_allclose(found.rates[1:] / found.rates[:-1], (high / low) ** (1 / 99))
    assert found.suggestion == pytest.approx(found.rates[found.losses.argmin()] / 3)
    assert type(found.suggestion) is float


def test_a_constant_in_the_loss_changes_nothing():
    """A loss below 0 is no reason to stop."""
    options = {"key": KEY, "low": 1e-4, "high": 0.1, "steps": 20, "batch_size": 8, "momentum": 0.0}
    plain, *moved = (
        find_learning_rate(NET, unit_images(), loss=lambda y, batch, c=c: to_one(y, batch) + c, **options)
        for c in (0.0, -0.5, -10.0)
    )
    assert {len(found.rates) for found in (plain, *moved)} == {20}
    assert {found.suggestion for found in moved} == {plain.suggestion}


def test_a_loss_that_has_fallen_to_0_may_rise_a_little(monkeypatch):
    losses = np.concatenate([np.full(5, 1.0), np.full(11, -0.2), np.full(30, 0.05)])
    monkeypatch.setattr(learning_rate, "_losses", lambda fed, state: ((loss, 0.0) for loss in losses))
    found = find_learning_rate(NET, unit_images(), key=KEY, batch_size=8, steps=len(losses))
    assert -0.02 < found.losses.min() < 0
    assert len(found.rates) == len(losses)


def with_gaps(outputs, batch):
    """`to_one`, whose gradient is NaN, though the value is not, where "gap" is 1."""
    return to_one(outputs, batch) + 0 * jnp.sqrt((1 - batch["gap"]) * (1 + outputs[:, 0] ** 2))


def test_skipped_steps_move_no_loss_to_another_rate():
    image, gap = np.ones((16, 2, 2, 1), np.float32), np.arange(16) == 0
    some, none, all_of_them = (data.from_arrays(image, gap=np.float32(gaps)) for gaps in (gap, 0 * gap, gap | True))
    options = {"key": KEY, "loss": with_gaps, "batch_size": 8, "low": 1e-3, "high": 0.3, "steps": 20}
    found, plain = (find_learning_rate(NET, train, **options) for train in (some, none))
    np.testing.assert_array_equal(found.rates, plain.rates)
    np.testing.assert_allclose(found.losses, plain.losses, rtol=1e-5)
    assert found.suggestion == plain.suggestion
    with pytest.raises(ValueError, match=r"^find_learning_rate: expected a finite loss at the first rate, got none\."):
        find_learning_rate(NET, all_of_them, **options)


def test_tries_every_rate_where_none_is_too_large():
    found = find_learning_rate(NET, unit_images(), key=KEY, loss=to_one, batch_size=8, low=1e-3, high=0.1, steps=12)
    assert len(found.losses) == 12
    assert found.rates[-1] == pytest.approx(0.1)
    assert found.losses[0] == pytest.approx(0.5)
    assert found.losses[-1] < found.losses[0]


@pytest.mark.slow
def test_under_attack_the_loss_is_that_of_what_the_attack_made():
    options = {"key": KEY, "loss": to_one, "batch_size": 8, "low": 1e-3, "high": 0.1, "steps": 12}

    def halved(key, logits_fn, batch):
        return dict(batch, image=batch["image"] / 2)

    found = find_learning_rate(NET, unit_images(), attack=halved, **options)
    np.testing.assert_allclose(found.losses, find_learning_rate(NET, unit_images(0.5), **options).losses, rtol=1e-6)


@pytest.mark.slow
def test_the_key_decides_the_order_of_the_batches():
    target = unit_images(target=np.arange(16, dtype=np.float32))

    options = {"loss": to_target, "batch_size": 4, "steps": 10, "high": 0.01}
    runs = [find_learning_rate(NET, target, key=jax.random.key(seed), **options).losses for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_the_usual_loss_and_augmentation(easy):
    net = Sequential(flatten=Flatten(), head=Dense(3, kernel_init=initializers.zeros))
    seen = []

    def record(key, batch):
        seen.append(batch["image"].shape)
        return dict(batch, image=jnp.zeros_like(batch["image"]))

    found = find_learning_rate(net, easy, key=KEY, augment=record, batch_size=20, steps=10, high=1e-3)
    assert seen == [(20, 4, 4, 1)]  # one trace
    assert np.isfinite(found.losses).all()


@pytest.mark.slow
def test_streams_and_augmentations_that_ask_for_the_epoch():
    images = pytest.importorskip("tests.data.test_stream")  # skips without Grain
    seen = []

    def record(key, batch):
        seen.append(sorted(batch))
        return batch

    options = {"batch_size": 20, "steps": 10, "high": 1e-3}
    found = find_learning_rate(images.NET, images.stream(60), key=KEY, augment=record, **options)
    assert seen == [["epoch", "image", "index", "label"]]
    assert len(found.losses) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0.0}, r"expected 0 < low < high, got \(0\.0, 10\.0\)"),
        ({"low": 1.0, "high": 0.5}, r"expected 0 < low < high, got \(1\.0, 0\.5\)"),
        ({"steps": 9}, r"expected at least 10 steps, got 9"),
        ({"batch_size": 17}, r"expected a batch_size in 1\.\.16, got 17\. Lower"),
        ({"batch_size": 0}, r"expected a batch_size in 1\.\.16, got 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"^find_learning_rate: {message}"):
        find_learning_rate(NET, unit_images(), key=KEY, loss=to_one, **{"batch_size": 16, **options})


def test_a_loss_that_never_is_finite():
    with pytest.raises(ValueError, match=r"^find_learning_rate: expected a finite loss at the first rate, got none\."):
        find_learning_rate(NET, unit_images(), key=KEY, loss=lambda y, batch: to_one(y, batch) * jnp.nan, batch_size=16)

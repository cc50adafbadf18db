"""Invariance: transforms that are known, nets whose answer to them is known, and the four measures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment, surgery
from jaxcnn.explain import probes
from jaxcnn.layers import Conv, GlobalAvgPool, MaxPool, Sequential
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose


def ringed(images):
    """Return images whose border is 0, wide enough for small moves."""
    return jnp.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))


@pytest.mark.slow
def test_transforms_by_known_amounts(images):
    close(probes.shift_by(images, 0.25), augment.shifted(images, right=3, padding_mode="constant"), atol=1e-6)
    close(probes.shift_by(images, -1 / 12), augment.shifted(images, right=-1, padding_mode="constant"), atol=1e-6)
    close(probes.rotate_by(images, 90), np.rot90(images, axes=(1, 2)), atol=1e-5)
    close(probes.rotate_by(images, 180), images[:, ::-1, ::-1], atol=1e-5)
    turned = augment.rotate(jax.random.key(0), images[0], degrees=(20, 20))
    close(probes.rotate_by(images, 20)[0], turned, atol=1e-5)
    zoomed = augment.scale(jax.random.key(0), images[0], factor=(1.5, 1.5))
    close(probes.scale_by(images, 1.5)[0], zoomed, atol=1e-5)
    close(probes.flip_by(images, 1), images[:, :, ::-1], atol=1e-6)
    with pytest.raises(ValueError, match=r"^scale_by: expected an amount above 0, got 0\.0\."):
        probes.scale_by(images, 0.0)
    for fn, nothing in ((probes.shift_by, 0), (probes.rotate_by, 0), (probes.scale_by, 1), (probes.flip_by, 0)):
        close(fn(images, nothing), images, atol=1e-6)
        close(fn(images[0, :6], nothing), images[0, :6], atol=1e-6)


def test_transforms_share_a_program_and_have_gradients(images):
    from jaxcnn.explain.probes.transforms import _resampled

    traces = _resampled._cache_size()
    for amount in (0, 10, 33.3):
        probes.rotate_by(images, amount)
    assert _resampled._cache_size() <= traces + 1
    slope = jax.grad(lambda amount: jnp.sum(jnp.square(probes.shift_by(images, amount))))(0.01)
    assert np.isfinite(slope)


def measured(case, images, at, fn, amount, **options):
    return probes.invariance(case.net, case.params, case.state, images, at, fn, [amount], **options)


def test_measures_are_those_of_the_activations(images):
    case = CASES["residual"]
    at = ["act1", list(case.net.layers)[-1]]
    found = measured(case, images, at, probes.shift_by, 1 / 12)
    moved = augment.shifted(images, right=1, padding_mode="constant")
    for path in at:
        before, after = (
            np.asarray(surgery.activations(case.net, case.params, case.state, x, [path])[1][path]).reshape(4, -1)
            for x in (images, moved)
        )
        gaps, norms = np.linalg.norm(after - before, axis=1), np.linalg.norm(before, axis=1)
        close(found.change[path], [np.mean(gaps / norms)], rtol=1e-4)
        cosine = np.sum(before * after, axis=1) / norms / np.linalg.norm(after, axis=1)
        close(found.cosine[path], [cosine.mean()], rtol=1e-4)
        pairs = [np.sum((before[i] - before[j]) ** 2) for i in range(4) for j in range(4) if i != j]
        close(found.distance[path], [np.sqrt(np.mean(gaps**2) / np.mean(pairs))], rtol=1e-4)
    assert list(found.distance) == at
    assert found.equivariance == {}


def test_nothing_changes_without_a_move(images):
    case = CASES["plain"]
    found = measured(case, images, ["act1"], probes.rotate_by, 0, equivariance=True)
    close(found.change["act1"], 0, atol=1e-5)
    close(found.cosine["act1"], 1, rtol=1e-5)
    close(found.distance["act1"], 0, atol=1e-5)
    close(found.equivariance["act1"], 0, atol=1e-5)


def test_another_image_is_at_distance_one():
    # Each image becomes its neighbour: over a full turn of the four, all pairs but oneself are met.
    images = jax.random.uniform(jax.random.key(3), (4, 12, 12, 3))
    case = CASES["plain"]
    shifts = [1, 2, 3]
    turn = lambda x, by: jnp.roll(x, by, axis=0)  # noqa: E731
    found = probes.invariance(case.net, case.params, case.state, images, ["fc1"], turn, shifts)
    close(np.sqrt(np.mean(found.distance["fc1"] ** 2)), 1, rtol=1e-4)


@pytest.mark.slow
def test_pooled_convolutions_are_invariant_to_shifts_and_maps_move_along(images):
    net = Sequential(conv=Conv(5, padding=1), down=MaxPool(2), pool=GlobalAvgPool())
    params, state = net.init(jax.random.key(0), ringed(images))
    at, amounts = ["conv", "down", "pool"], [0, 0.1]  # of 20 pixels: 0 and 2
    found = probes.invariance(
        net, params, state, ringed(images), at, probes.shift_by, amounts, equivariance=True
    )  # fmt: skip
    assert found.amounts.tolist() == amounts
    assert found.distance["conv"][1] > found.distance["conv"][0] + 0.5
    close(found.distance["pool"], 0, atol=1e-3)
    for path in ("conv", "down"):
        close(found.equivariance[path], 0, atol=1e-3)
    assert list(found.equivariance) == ["conv", "down"]


def test_one_program_for_all_amounts_and_weights(images):
    from jaxcnn.explain.probes.invariance import _compared

    case = CASES["batchnorm"]
    traces = _compared._cache_size()
    probes.invariance(case.net, case.params, case.state, images, ["act2"], probes.shift_by, [0, 0.1, 0.2])
    twice = jax.tree.map(lambda p: 2 * p, case.params)
    probes.invariance(case.net, twice, case.state, images, ["act2"], probes.flip_by, [1])
    assert _compared._cache_size() == traces + 1
    lost = jax.tree.map(lambda p: p * jnp.nan, case.params)
    with pytest.raises(ValueError, match=r"^invariance: expected finite activations, got others\. Look at the weights"):
        probes.invariance(case.net, lost, case.state, images, ["act2"], probes.flip_by, [1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": np.ones((1, 12, 12, 3))}, ValueError, r"^invariance: expected images \(n, H, W, C\), two or more"),
        ({"images": np.ones((2, 12, 12, 3), np.uint8)}, TypeError, "^invariance: expected images of a floating dtype"),
        ({"at": []}, ValueError, "^invariance: expected at least one layer, got none"),
        ({"at": ["act"]}, ValueError, "^activations: expected the path of a layer, got 'act'"),
        ({"transform": 3}, TypeError, "^invariance: expected a transform, got 3"),
        ({"amounts": []}, ValueError, r"^invariance: expected amounts as a list of numbers, got \[\]"),
        ({"transform": lambda x, by: x[:, 1:]}, ValueError, r"^invariance: expected a transform that gives shape"),
    ],
)
def test_refuses(images, change, error, message):
    case = CASES["plain"]
    given = {"images": images, "at": ["act1"], "transform": probes.shift_by, "amounts": [0.1]} | change
    with pytest.raises(error, match=message):
        probes.invariance(case.net, case.params, case.state, **given)
    with pytest.raises(ValueError, match=r"^rotate_by: expected images \(\.\.\., H, W, C\) with a pixel, got \(4,\)"):
        probes.rotate_by(jnp.ones(4), 3)

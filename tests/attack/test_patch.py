"""Adversarial patches: where they are pasted, what they become on a net with a known answer, and that they fool."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.attack.judgement import judge
from jaxcnn.attack.patch import Patch, adversarial_patch, paste

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(10)
STIFF = {"degrees": 0.0, "factor": (1.0, 1.0)}
X = jax.random.uniform(jax.random.key(1), (6, 9, 9, 2))


def white(size: int, channels: int = 1) -> Patch:
    return Patch(jnp.ones((size, size, channels)), jnp.ones((size, size, 1)))


def brightest(x):
    """Class 1 is what has a bright first channel and a dark second one."""
    return jnp.stack([jnp.zeros(x.shape[:-3]), (x[..., 0] - x[..., 1]).sum((-1, -2))], -1)


def test_a_patch_of_the_images_size_hides_them():
    values = jax.random.uniform(KEY, (9, 9, 2))
    patch = Patch(values, jnp.ones((9, 9, 1)))
    close(paste(KEY, X, patch, **STIFF), jnp.broadcast_to(values, X.shape), atol=1e-6)
    close(paste(KEY, X[0], patch, degrees=(90.0, 90.0), factor=(1.0, 1.0)), jnp.rot90(values), atol=1e-5)
    half = Patch(values, patch.mask.at[:4].set(0))
    found = paste(KEY, X, half, **STIFF)
    np.testing.assert_array_equal(found[:, :4], X[:, :4])
    close(found[:, 4:], jnp.broadcast_to(values[4:], X[:, 4:].shape), atol=1e-6)


@pytest.mark.slow
def test_the_whole_patch_is_in_the_image_wherever_it_lies():
    black = jnp.zeros((200, 9, 9, 1))
    found = np.asarray(paste(KEY, black, white(3), **STIFF))[..., 0]
    close(found.sum((1, 2)), 9, rtol=1e-5)
    rows, columns = ((found * np.arange(9)[s]).sum((1, 2)) / 9 for s in ((slice(None), None), (None, slice(None))))
    for centre in (rows, columns):  # uniform from 1 to 7
        close([centre.min(), centre.mean(), centre.max()], [1, 4, 7], atol=0.3)
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.2
    large = np.asarray(paste(KEY, black, white(3), degrees=0.0, factor=(2.0, 2.0)))
    close(large.sum((1, 2, 3)), 36, rtol=0.1)  # interpolated beyond its edge
    close(paste(KEY, black, white(5), degrees=0.0, factor=(3.0, 3.0)), 1, atol=1e-6)  # cut off


@pytest.mark.slow
def test_angles_and_zooms_are_drawn_from_their_intervals():
    black = jnp.zeros((300, 9, 9, 1))
    areas = np.asarray(paste(KEY, black, white(3), degrees=0.0, factor=(1.0, 2.0)).sum((1, 2, 3)))
    assert areas.min() < 10
    assert areas.max() > 34
    arrow = Patch(jnp.zeros((5, 5, 1)).at[2, 2:].set(1), jnp.ones((5, 5, 1)))
    turned = np.asarray(paste(KEY, black, arrow, degrees=(0.0, 90.0), factor=(1.0, 1.0)))[..., 0]
    rows, columns = np.indices((9, 9))
    total = turned.sum((1, 2))
    spread = [np.sqrt((turned * (a - (turned * a).sum((1, 2))[:, None, None] / total[:, None, None]) ** 2).sum((1, 2)))
              for a in (rows, columns)]  # fmt: skip
    angle = np.degrees(np.arctan2(*spread))
    assert angle.min() < 25
    assert angle.max() > 65


@pytest.mark.parametrize("bounds", [pytest.param((0.0, 1.0), marks=pytest.mark.slow), (-1.0, 3.0)])
def test_becomes_what_the_class_is(bounds):
    low, high = bounds
    scaled = lambda x: brightest((x - low) / (high - low))  # noqa: E731
    x = low + (high - low) * X
    options = {"size": 4, "steps": 60, "batch_size": 3, "bounds": bounds}
    patch = adversarial_patch(KEY, scaled, x, 0, target=1, **options)
    inside = np.asarray(patch.mask[..., 0]) > 0
    assert inside.sum() == 12  # a circle of 4 pixels: a square without its corners
    close(patch.values[inside], np.broadcast_to([high, low], (12, 2)), atol=1e-5)
    close(patch.values[~inside], (low + high) / 2)
    untargeted = adversarial_patch(KEY, scaled, x, 0, shape="square", **options)
    assert (untargeted.mask == 1).all()
    close(untargeted.values, np.broadcast_to([high, low], (4, 4, 2)), atol=1e-5)


@pytest.mark.slow
def test_fools_images_it_has_not_seen(digits):
    train, _ = data.load("digits")
    images, labels = data.to_float(train["image"][:512]), jnp.asarray(train["label"][:512])
    logits_fn, x, y = digits
    patch = adversarial_patch(KEY, logits_fn, images, labels, target=3, size=6, steps=80)
    noise = Patch(jax.random.uniform(KEY, patch.values.shape), patch.mask)
    fooled, by_noise = (
        judge(logits_fn, x, paste(jax.random.key(1), x, each), y, target=3).success.mean() for each in (patch, noise)
    )
    assert fooled > 0.7
    assert by_noise < 0.4


@pytest.mark.slow
def test_same_key_same_bits_and_inside_jit():
    attack = lambda key, x: adversarial_patch(key, brightest, x, 0, size=3, steps=5, batch_size=4)  # noqa: E731
    found = attack(KEY, X)
    for a, b, c in zip(found, attack(KEY, X), jax.jit(attack)(KEY, X), strict=True):
        np.testing.assert_array_equal(a, b)
        close(a, c, atol=1e-6)
    pasted = paste(KEY, X, found)
    np.testing.assert_array_equal(pasted, paste(KEY, X, found))
    assert (pasted != paste(jax.random.key(3), X, found)).any()
    close(jax.jit(paste)(KEY, X, found), pasted, atol=1e-6)


@pytest.mark.slow
def test_is_traced_once():
    calls = []

    def logits_fn(x):
        calls.append(1)
        return brightest(x)

    adversarial_patch(KEY, logits_fn, X, 0, size=3, steps=5, batch_size=4)
    before = len(calls)
    options = {"degrees": (0.0, 90.0), "factor": (0.5, 2.0), "learning_rate": 0.1}
    adversarial_patch(jax.random.key(1), logits_fn, X[::-1], 1, size=3, steps=5, batch_size=4, **options)
    assert len(calls) == before


@pytest.mark.slow
def test_slopes_that_are_not_finite_are_no_way():
    steep = lambda x: brightest(x) + jnp.sqrt(x.sum((-1, -2, -3)) * 0)[..., None]  # noqa: E731
    np.testing.assert_array_equal(adversarial_patch(KEY, steep, X, 0, size=3, steps=3).values, 0.5)


def test_refuses():
    for option, match in (
        ({"size": 10}, r"size of at most 9, got 10\."),
        ({"size": 0}, r"size as a positive int, got 0\."),
        ({"shape": "star"}, r"shape as one of \('circle', 'square'\), got 'star'\."),
        ({"factor": (0.0, 1.0)}, r"factor above 0, got \(0\.0, 1\.0\)\."),
        ({"degrees": (5.0, 1.0)}, r"degrees \(low, high\) with low <= high"),
        ({"learning_rate": 0.0}, r"learning_rate above 0, got 0\.0\."),
        ({"steps": 0}, r"steps as a positive int, got 0\."),
    ):
        with pytest.raises(ValueError, match=f"^adversarial_patch: expected {match}"):
            adversarial_patch(KEY, brightest, X, 0, **{"size": 3, **option})
    with pytest.raises(ValueError, match=r"^paste: expected bounds as \(least, largest\) value of a pixel, got"):
        paste(KEY, X, white(3, 2), bounds=(1, 0))
    for patch in (white(3, 1), white(10, 2), X, X[0], (X[0, :3], X[0, :3])):
        with pytest.raises(
            ValueError, match=r"^paste: expected a Patch of at most 9 pixels a side and 2 channels, got"
        ):
            paste(KEY, X, patch)

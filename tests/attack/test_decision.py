"""Where attacks that see classes alone start, how they come to the boundary, and where they end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.decision import beyond, given_start, start, to_boundary

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(1)
AXES = (1, 2, 3)
X = jnp.full((4, 3, 3, 1), 0.2)
close = np.testing.assert_allclose


def bright(level):
    """Whether the mean of images is above a level, one an image."""
    return lambda images: images.mean(AXES) > jnp.asarray(level)


def test_starts_at_the_first_blend_that_is_adversarial():
    levels = [0.1, 0.21, 0.4, 2.0]  # adversarial as it is, nearly, by noise of mean 0.5, never
    ask = bright(levels)
    found = start(KEY, ask, X, None, (0.0, 1.0))
    np.testing.assert_array_equal(found.active, [False, True, True, False])
    np.testing.assert_array_equal(found.image[jnp.asarray([0, 3])], X[:2])
    assert ask(found.image)[:3].all()
    # By one of the 50 parts of the way to noise of mean 0.5, or so: the blend before is not adversarial.
    assert (found.image.mean(AXES)[1:3] - jnp.asarray(levels[1:3]) < 0.012).all()
    np.testing.assert_array_equal(found.queries[jnp.asarray([0, 3])], [1, 101])
    assert 2 < found.queries[1] < found.queries[2] <= 150


def test_starts_from_given_images_where_they_are_adversarial():
    given = jnp.full_like(X, 0.7).at[2].set(0.3)
    found = start(KEY, bright([0.1, 0.455, 0.4, 2.0]), X, given, (0.0, 1.0))
    np.testing.assert_array_equal(found.active, [False, True, True, False])
    close(found.image[1], 0.2 + 0.5 * 26 / 50, rtol=1e-5)  # the 26th blend is the first above 0.455
    assert np.ptp(found.image[1]) == 0
    assert np.ptp(found.image[2]) > 0  # noise
    np.testing.assert_array_equal(found.queries[1], 2 + 26)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_bisection_ends_just_beyond_the_boundary(norm):
    far = jnp.asarray(np.random.default_rng(0).uniform(0.6, 1.0, X.shape), jnp.float32)
    ask = bright([0.3, 0.4, 0.5, 0.6])
    found = to_boundary(ask, X, far, norm, (0.0, 1.0), AXES, 16)
    assert ask(found).all()
    close(found.mean(AXES), [0.3, 0.4, 0.5, 0.6], rtol=1e-4)
    if norm == "l2":
        ratio = (found - X) / (far - X)
        close(ratio, jnp.broadcast_to(ratio[:, :1, :1], ratio.shape), rtol=1e-3)
    else:
        close(found, jnp.minimum(far, found.max(AXES, keepdims=True)), rtol=1e-5)
    # Of what is no farther than the bisection tells apart, the image itself is left.
    np.testing.assert_array_equal(to_boundary(bright([0.6, 0.7, 0.75, 0.9]), X, far, norm, (0.0, 1.0), AXES, 0), far)


def test_ends_a_little_beyond():
    near = X + 0.1
    pushed = beyond(bright(0.2), X, near, (0.0, 1.0))
    close(pushed - X, 0.1 * 1.001, rtol=1e-4)
    np.testing.assert_array_equal(beyond(lambda x: x.mean(AXES) < 0.30005, X, near, (0.0, 1.0)), near)
    assert beyond(bright(0.2), X, jnp.ones_like(X), (0.0, 1.0)).max() == 1


def test_refuses():
    assert given_start("boundary", None, X, (0.0, 1.0)) is None
    with pytest.raises(ValueError, match=r"^boundary: expected start of shape \(4, 3, 3, 1\), got \(3, 3, 1\)\."):
        given_start("boundary", X[0], X, (0.0, 1.0))
    with pytest.raises(ValueError, match=r"^boundary: expected start within bounds=\(0\.0, 1\.0\), got an array"):
        given_start("boundary", X + 1, X, (0.0, 1.0))

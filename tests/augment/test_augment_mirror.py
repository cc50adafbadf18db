"""Mirror images against NumPy, exactly, with all that lies in them."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxcnn import augment

KEYS = jax.random.split(jax.random.key(1), 2000)
EXAMPLE = {
    "image": np.asarray(jax.random.uniform(jax.random.key(0), (6, 5, 2))),
    "mask": np.arange(30, dtype=np.uint8).reshape(6, 5),
    "boxes": np.float32([[0.5, 1, 2, 4.25], [4, 5, 5, 6]]),
    "keypoints": np.float32([[0.5, 0.5], [-1.25, 7]]),
}
BOTH = pytest.mark.parametrize(
    ("fn", "mirror", "axis"),
    [(augment.flip, np.fliplr, 0), (augment.vertical_flip, np.flipud, 1)],
    ids=["flip", "vertical_flip"],
)


def mirrored(points: np.ndarray, axis: int) -> np.ndarray:
    """Return points (..., 2) mirrored in the frame of EXAMPLE."""
    return np.where(np.arange(2) == axis, np.array([5, 6]) - points, points)


@BOTH
def test_mirrors_everything(fn, mirror, axis):
    out = fn(KEYS[0], EXAMPLE, p=1.0)
    np.testing.assert_array_equal(out["image"], mirror(EXAMPLE["image"]))
    np.testing.assert_array_equal(out["mask"], mirror(EXAMPLE["mask"]), strict=True)
    np.testing.assert_array_equal(out["keypoints"], mirrored(EXAMPLE["keypoints"], axis))
    corners = mirrored(EXAMPLE["boxes"].reshape(-1, 2, 2), axis)
    np.testing.assert_array_equal(out["boxes"], np.concatenate([corners.min(1), corners.max(1)], 1))


@BOTH
def test_keeps_everything(fn, mirror, axis):
    out = fn(KEYS[0], EXAMPLE, p=0.0)
    for name, value in EXAMPLE.items():
        np.testing.assert_array_equal(out[name], value, strict=True)


@BOTH
def test_has_the_probability_asked_for(fn, mirror, axis):
    out = jax.jit(jax.vmap(partial(fn, p=0.2), (0, None)))(KEYS, EXAMPLE)
    turned = (np.asarray(out["image"]) == mirror(EXAMPLE["image"])).all((1, 2, 3))
    assert 0.16 < turned.mean() < 0.24
    # One draw for everything.
    np.testing.assert_array_equal((np.asarray(out["mask"]) == mirror(EXAMPLE["mask"])).all((1, 2)), turned)
    points = mirrored(EXAMPLE["keypoints"], axis)
    np.testing.assert_array_equal((np.asarray(out["keypoints"]) == points).all((1, 2)), turned)


@BOTH
@pytest.mark.parametrize("p", [1.5, -0.1, float("nan")])
def test_bad_probability(fn, mirror, axis, p):
    with pytest.raises(ValueError, match=rf"^{fn.__name__}: expected p in \[0, 1\], got {p}\. Pass the probability"):
        fn(KEYS[0], EXAMPLE, p=p)

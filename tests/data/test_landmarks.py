"""Points of shapes: on their outlines, and where the scenes show them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.data.scenes import CLASSES, LANDMARKS, landmarks
from jaxcnn.data.scenes.shapes import outline

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(4)


@pytest.mark.parametrize("name", LANDMARKS)
def test_landmarks_lie_on_the_outline(name):
    x, y = jnp.array(list(LANDMARKS[name].values())).T
    distance, _ = outline(jnp.int32(CLASSES.index(name)), x, y)
    np.testing.assert_allclose(distance, 0, atol=2e-4)
    assert len(LANDMARKS[name]) == 4


@pytest.mark.slow
def test_scenes_show_them():
    """Each object's pixels reach to its landmarks, and its sides lie on both sides of its axis."""
    scenes = data.Scenes(size=64, objects=(1, 1), classes=("heart", "arrow", "crescent"), noise=0.0)
    batch = scenes.batch(KEY, range(24))
    points = np.asarray(landmarks(scenes, KEY, range(24)))
    assert points.shape == (24, 1, 4, 2)
    seen = 0
    for mask, box, own in zip(np.asarray(batch["instance_mask"]), batch["boxes"][:, 0], points[:, 0], strict=True):
        rows, columns = np.nonzero(mask)
        pixels = np.stack([columns, rows], 1) + 0.5
        inside = np.all((own > 1) & (own < 63), 1)
        gap = np.linalg.norm(own[:, None] - pixels, axis=-1).min(1)
        assert (gap[inside] < 3).all()  # horns end thinner than a pixel
        outer = own[inside]
        assert np.all(outer > np.asarray(box)[:2] - 3) and np.all(outer < np.asarray(box)[2:] + 3)
        (a, b), (c, d) = own[:2], own[2:]
        side = [(b - a)[0] * (p - a)[1] - (b - a)[1] * (p - a)[0] for p in (c, d)]
        assert side[0] * side[1] < 0
        seen += inside.sum()
    assert seen > 80


def test_they_are_those_of_every_object_of_the_batch():
    scenes = data.Scenes(size=32, objects=(2, 3), classes=("arrow",))
    some, all_of_them = landmarks(scenes, KEY, [3, 1]), landmarks(scenes, KEY, range(4))
    assert some.shape == (2, 3, 4, 2)
    np.testing.assert_allclose(some, all_of_them[jnp.array([3, 1])], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: landmarks(data.Scenes(classes=("arrow", "disc")), KEY, [0]),
            ValueError,
            r"^landmarks: expected classes out of \['arrow', 'heart', 'crescent'\], got \['disc'\]",
        ),
        (lambda: landmarks(64, KEY, [0]), TypeError, "^landmarks: expected a jaxcnn.data.Scenes, got 64"),
        (lambda: landmarks(data.Scenes(classes=("arrow",)), KEY, []), ValueError, "expected indices"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()

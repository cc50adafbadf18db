"""A classifier slid over images: windows by hand, and against the classifier on every crop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.detection import sliding_windows

pytestmark = pytest.mark.usefixtures("quick_compilation")
WINDOW, STRIDE = 4, 2


def brightness(images):
    """Return logits of two classes, dark (background) and bright, of each 4x4 window at every second pixel."""
    total = jax.lax.reduce_window(images[..., 0], 0.0, jax.lax.add, (1, 4, 4), (1, 2, 2), "VALID")
    return jnp.stack([jnp.zeros_like(total), total - 8], -1)


def image(*places, shape=(12, 16), side=4):
    """Return an image with bright squares whose corners are at those rows and columns."""
    canvas = np.zeros((1, *shape, 1), np.float32)
    for row, column in places:
        canvas[0, row : row + side, column : column + side] = 1
    return jnp.asarray(canvas)


def slide(images, logits_fn=brightness, **options):
    options = {"window": WINDOW, "stride": STRIDE, "limit": 4, **options}
    return jax.jit(lambda x: sliding_windows(logits_fn, x, **options))(images)


def test_windows_that_are_found_and_their_scores():
    found = slide(image((2, 4), (8, 12)), background=0)
    assert sorted(found.boxes[0, :2].tolist()) == [[4, 2, 8, 6], [12, 8, 16, 12]]
    assert found.box_class[0, :2].tolist() == [1, 1]
    np.testing.assert_allclose(found.score[0, :2], jax.nn.sigmoid(8.0), rtol=1e-6)
    assert found.score[0, 2] < 0.51  # half of a bright square


@pytest.mark.slow
def test_windows_suppress_each_other_whatever_their_class():
    def classes(images):
        logits = brightness(images)
        odd = (jnp.arange(logits.shape[2]) % 2 == 1)[:, None]
        return jnp.where(odd, logits[..., ::-1], logits)  # of every second column the classes are exchanged

    one = slide(image((2, 4), shape=(8, 8)), classes, overlap=0.3, limit=9)
    kept = np.asarray(one.boxes[0])[np.asarray(one.box_class[0]) >= 0]
    assert [4, 2, 8, 6] in kept.tolist() and [2, 2, 6, 6] not in kept.tolist()
    all_of_them = slide(image((2, 4), shape=(8, 8)), classes, overlap=1.0, limit=12)
    assert (all_of_them.box_class[0] >= 0).sum() == 9
    assert all_of_them.box_class[0].tolist()[9:] == [-1] * 3
    assert not all_of_them.boxes[0, 9:].any() and not all_of_them.score[0, 9:].any()
    assert (slide(image((2, 4), shape=(8, 8)), overlap=1.0, candidates=2).box_class[0] >= 0).sum() == 2


def test_a_net_that_drops_the_edge_of_a_window_has_one_more_beyond_the_image():
    """Its last windows, which reach over the edge, are left out."""
    canvas = image((2, 4), shape=(13, 17))
    beyond = lambda images: brightness(jnp.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=9))  # noqa: E731
    assert beyond(canvas).shape[1:3] == (6, 8)
    np.testing.assert_array_equal(slide(canvas, beyond, background=0).boxes, slide(canvas, background=0).boxes)


def test_half_the_scale_finds_what_is_twice_as_large():
    found = slide(image((4, 8), shape=(24, 32), side=8), scales=(0.5,), background=0, limit=1)
    np.testing.assert_allclose(found.boxes[0], [[8, 4, 16, 12]], atol=1e-5)
    both = slide(image((4, 8), shape=(24, 32)), scales=(0.5, 1.0), background=0, limit=1)
    np.testing.assert_allclose(both.boxes[0], [[8, 4, 12, 8]])  # what is not larger is found at the whole scale


def test_sides_that_a_scale_rounds_have_their_own_ratio():
    found = slide(image(shape=(11, 16)), scales=(0.5,), limit=2, overlap=1.0)  # 6 by 8
    assert found.boxes[0].max(0).tolist()[3] <= 11 + 1e-5
    np.testing.assert_allclose(found.boxes[0, 1] - found.boxes[0, 0], [4, 0, 4, 0], atol=1e-5)


@pytest.mark.slow
def test_batches_under_jit():
    images = jnp.concatenate([image((2, 4)), image((8, 12)), image()])
    together = jax.jit(lambda x: slide(x, scales=(1.0, 0.75), background=0))(images)
    for at in range(3):
        alone = slide(images[at : at + 1], scales=(1.0, 0.75), background=0)
        jax.tree.map(lambda a, b, at=at: np.testing.assert_allclose(a[at], b[0], atol=1e-5), together, alone)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"window": 0}, ValueError, "expected window as a positive int, got 0"),
        ({"stride": 1}, ValueError, r"expected logits of windows, \(1, 9, 13\) and classes, got \(1, 5, 7, 2\)"),
        ({"scales": ()}, ValueError, r"expected finite scales > 0, at least one, got \(\)"),
        ({"scales": (1.0, np.inf)}, ValueError, r"expected finite scales > 0, at least one, got \(1\.0, inf\)"),
        ({"scales": (0.2,)}, ValueError, "images of 4x4 pixels or more, got 2x3 at scale 0.2. Leave"),
        ({"background": 2}, ValueError, "expected background as one of 2 classes, got 2"),
        ({"overlap": 2}, ValueError, r"expected overlap in \[0, 1\], got 2"),
        ({"images": jnp.zeros((8, 8, 1))}, ValueError, r"expected images \(N, H, W, C\), got \(8, 8, 1\)"),
        ({"images": jnp.zeros((1, 8, 8, 1), jnp.uint8)}, TypeError, "expected images of a floating dtype"),
    ],
)
def test_bad_options(options, error, message):
    options = {"images": image(), **options}
    with pytest.raises(error, match=f"sliding_windows: .*{message}"):
        slide(options.pop("images"), **options)

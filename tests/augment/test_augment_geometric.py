"""What lies in an image moves with it: one table of all geometric augmentations."""

import functools
import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import augment

HEIGHT, WIDTH = 36, 40
# How far, in pixels, the box may be from the outermost pixels of what it holds. Nothing, where nothing is
# interpolated; half a pixel, where edges stay level and upright; else the tips of corners, of which no pixel's
# centre is a part, and the bulge of sides that do not stay straight.
TABLE = {
    "flip": (augment.flip, 0),
    "vertical_flip": (augment.vertical_flip, 0),
    "shift": (partial(augment.shift, max_shift=(4, 9)), 0),
    "crop": (partial(augment.crop, size=(30, 26), padding=(6, 9)), 0),
    "random_resized_crop": (partial(augment.random_resized_crop, size=(28, 44), area=(0.3, 1.0)), 0.51),
    "scale": (partial(augment.scale, factor=(0.7, 1.6)), 0.51),
    "rotate": (partial(augment.rotate, degrees=180), 1.5),
    "shear": (partial(augment.shear, degrees=(-30, 30, -10, 10)), 1.5),
    "affine": (partial(augment.affine, degrees=40, factor=(0.8, 1.3), shear_degrees=15, max_shift=(3, 5)), 1.5),
    "perspective": (partial(augment.perspective, distortion_scale=0.4), 1.5),
    "elastic": (partial(augment.elastic, alpha=40, sigma=4), 2),
}
every = pytest.mark.parametrize("name", TABLE)
filled = pytest.mark.parametrize(
    "name", [name for name in TABLE if "mask_fill" in inspect.signature(getattr(augment, name)).parameters]
)
pytestmark = pytest.mark.usefixtures("quick_compilation")


@functools.cache
def draws(name: str):
    """Return the function of eight keys and one example, compiled once."""
    return jax.jit(jax.vmap(TABLE[name][0], (0, None)))


def square(top: int, left: int, side: int) -> dict[str, np.ndarray]:
    """Return a bright square, its quarters labelled, its box, and its centre, corners and quarters' centres."""
    inside = np.s_[top : top + side, left : left + side]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[inside] = 1 + np.add.outer(2 * (2 * np.arange(side) // side), 2 * np.arange(side) // side)
    unit = [(0.5, 0.5), (0, 0), (1, 0), (1, 1), (0, 1), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)]
    return {
        "image": (mask > 0)[..., None].astype(np.float32),
        "mask": mask,
        "boxes": np.array([[left, top, left + side, top + side]], np.float32),
        "keypoints": (np.array(unit) * side + (left, top)).astype(np.float32),
    }


def bounds(pixels: np.ndarray) -> np.ndarray:
    """Return the box around the pixels that are True."""
    rows, columns = np.nonzero(pixels)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def test_table_names_every_geometric_function():
    drawn = {
        name
        for name in augment.__all__
        if [*inspect.signature(inspect.unwrap(getattr(augment, name))).parameters][:2] == ["key", "frame"]
    }
    assert TABLE.keys() == drawn


@every
@given(seed=st.integers(0, 2**31), top=st.integers(9, 17), left=st.integers(9, 21), half=st.integers(4, 5))
def test_mask_box_and_keypoints_stay_on_the_image(name, seed, top, left, half):
    tolerance = TABLE[name][1]
    keys = jax.random.split(jax.random.key(seed), 8)
    out = jax.device_get(draws(name)(keys, square(top, left, 2 * half)))
    height, width = out["mask"].shape[1:]
    whole = 0
    for image, mask, (box,), points in zip(out["image"], out["mask"], out["boxes"], out["keypoints"], strict=True):
        inside = ((points >= 0) & (points < (width, height))).all(1)
        # Each quarter's centre lies on its quarter, the centre on the square.
        for label, (x, y) in enumerate(points[5:], 1):
            if inside[4 + label]:
                assert mask[int(y), int(x)] == label
        if inside[0]:
            x, y = points[0]
            assert image[int(y), int(x), 0] > 0.9
        # The box is the one around the corners, within the frame.
        corners = np.clip(points[1:5], 0, (width, height))
        around = np.concatenate([corners.min(0), corners.max(0)])
        if (around[2:] - around[:2]).min() < 1:
            continue  # a sliver in which no pixel's centre need lie
        np.testing.assert_allclose(box, around, atol=1e-4)
        # Cut off by the frame, a slanted shape has another box than its corners; level ones have not.
        if inside[1:5].all() or tolerance < 1:
            whole += 1
            np.testing.assert_allclose(bounds(mask > 0), box, atol=tolerance)
            np.testing.assert_allclose(bounds(image[..., 0] > 0.5), box, atol=tolerance)
        # What is bright is what is labelled, but for a pixel at its edge.
        assert (np.abs(image[..., 0] - (mask > 0)) <= 0.75 + 1e-5).all()
    assert whole > 0


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_entries_keep_dtype_and_number(name, dtype):
    example = {
        "image": jax.ShapeDtypeStruct((9, 7, 2), dtype),
        "mask": jax.ShapeDtypeStruct((9, 7), jnp.int8),
        "part_mask": jax.ShapeDtypeStruct((9, 7), jnp.int32),
        "boxes": jax.ShapeDtypeStruct((3, 4), dtype),
        "keypoints": jax.ShapeDtypeStruct((0, 2), dtype),
        "label": jax.ShapeDtypeStruct((), jnp.int32),
    }
    options = {"size": (5, 6)} if name == "crop" else {}
    out = jax.eval_shape(partial(TABLE[name][0], **options), jax.random.key(0), example)
    assert {name: entry.dtype for name, entry in out.items()} == {name: entry.dtype for name, entry in example.items()}
    size = out["image"].shape[:2]
    assert out["mask"].shape == out["part_mask"].shape == size
    assert (out["boxes"].shape, out["keypoints"].shape, out["label"].shape) == ((3, 4), (0, 2), ())


@every
def test_a_batch_is_its_examples_one_by_one(name):
    examples = [square(9 + n, 12, 8) | {"label": np.int32(n)} for n in range(3)]
    batch = jax.tree.map(lambda *entries: np.stack(entries), *examples)
    out = jax.device_get(jax.jit(augment.batched(TABLE[name][0]))(jax.random.key(1), batch))
    one = jax.jit(TABLE[name][0])
    for n, key in enumerate(jax.random.split(jax.random.key(1), 3)):
        alone = one(key, examples[n])
        for entry, value in alone.items():
            if entry.endswith("mask"):  # rounding may decide about a pixel on the edge
                assert (out[entry][n] != value).mean() < 2e-3
            else:
                np.testing.assert_allclose(out[entry][n], value, atol=2e-4)


@every
def test_an_image_moves_as_that_of_an_example(name):
    example, key = square(9, 12, 8), jax.random.key(2)
    alone = jax.jit(TABLE[name][0])(key, example["image"])
    np.testing.assert_allclose(alone, jax.jit(TABLE[name][0])(key, example)["image"], atol=1e-5)


@filled
def test_what_comes_in_from_outside(name):
    example = {"image": np.ones((HEIGHT, WIDTH, 1), np.float32), "mask": np.ones((HEIGHT, WIDTH), np.uint8)}
    fn = TABLE[name][0]
    keys = jax.random.split(jax.random.key(3), 6)
    out = jax.device_get(jax.jit(jax.vmap(partial(fn, mask_fill=9), (0, None)))(keys, example))
    assert set(np.unique(out["mask"])) == {1, 9}
    # Nearest means: of two neighbours the one with more of the pixel, in both directions.
    assert out["image"][out["mask"] == 9].max() <= 0.5 + 1e-4
    assert out["image"][out["mask"] == 1].min() >= 0.25 - 1e-4
    for mode in ("edge", "reflect"):
        out = jax.jit(jax.vmap(partial(fn, mask_fill=9, padding_mode=mode), (0, None)))(keys, example)
        assert (out["mask"] == 1).all()
        np.testing.assert_allclose(out["image"], 1, atol=1e-6)


@every
def test_masks_by_any_name_move_and_everything_else_stays(name):
    example, key = square(9, 12, 8), jax.random.key(4)
    others = {"label": jnp.int32(3), "name": "untouched", "masked": np.zeros((2, 2)), "weights": None}
    out = TABLE[name][0](key, example | {"object_mask": example["mask"]} | others)
    assert [*out] == [*example, "object_mask", *others]
    np.testing.assert_array_equal(out["object_mask"], out["mask"])
    assert all(out[entry] is value for entry, value in others.items())


def test_boxes_out_of_sight_have_no_area():
    image = np.zeros((6, 8, 1), np.float32)
    # Beyond the right edge, above, at the lower left corner from outside, and one that the frame cuts off.
    boxes = np.float32([[9, 1, 12, 3], [2, -5, 4, -1], [-3, 6, 0, 9], [6, -2, 11, 2]])
    out = augment.flip(jax.random.key(0), {"image": image, "boxes": boxes}, p=0.0)["boxes"]
    np.testing.assert_array_equal(out, [[8, 1, 8, 1], [2, 0, 2, 0], [0, 6, 0, 6], [6, 0, 8, 2]])


IMAGE = np.zeros((6, 8, 1), np.float32)


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        (
            {"mask": np.zeros((6, 8), np.float32)},
            TypeError,
            r"mask of an integer dtype, got float32\. Convert it",
        ),
        (
            {"part_mask": np.zeros((6, 8), bool)},
            TypeError,
            r"part_mask of an integer dtype, got bool\. .*astype",
        ),
        (
            {"mask": np.zeros((6, 8, 1), np.int32)},
            ValueError,
            r"mask of the image's shape \(6, 8\), got \(6, 8, 1\)\. Labels are \(H, W\)",
        ),
        (
            {"mask": np.zeros((8, 6), np.int32)},
            ValueError,
            r"mask of the image's shape \(6, 8\), got \(8, 6\)\.",
        ),
        ({"boxes": np.zeros((3, 4), np.int32)}, TypeError, r"boxes of a floating dtype, got int32\."),
        (
            {"boxes": np.zeros(4, np.float32)},
            ValueError,
            r"boxes \(K, 4\), got shape \(4,\)\. .*zeros\(\(0, 4\)\)",
        ),
        ({"boxes": np.zeros((2, 5), np.float32)}, ValueError, r"boxes \(K, 4\), got shape \(2, 5\)\."),
        ({"keypoints": "none"}, TypeError, r"keypoints to be an array, got str\."),
        (
            {"keypoints": np.zeros((0,), np.float32)},
            ValueError,
            r"keypoints \(K, 2\), got shape \(0,\)\. .*zeros\(\(0, 2\)\)",
        ),
    ],
)
@every
def test_bad_entries(name, entries, error, message):
    with pytest.raises(error, match=rf"^{name}: expected {message}.*\.$"):
        TABLE[name][0](jax.random.key(0), {"image": IMAGE} | entries)


@filled
def test_bad_mask_fill(name):
    fn, key = TABLE[name][0], jax.random.key(0)
    with pytest.raises(ValueError, match=rf"^{name}: expected mask_fill to be an integer, got 0\.5\. Pass the label"):
        fn(key, IMAGE, mask_fill=0.5)
    message = rf"^{name}: expected mask_fill within mask's dtype uint8, got -1\. Choose a label that it can hold\.$"
    with pytest.raises(ValueError, match=message):
        fn(key, {"image": IMAGE, "mask": np.zeros((6, 8), np.uint8)}, mask_fill=-1)


@filled
def test_bad_outside(name):
    with pytest.raises(ValueError, match=rf"^{name}: expected padding_mode to be one of .*, got 'wrap'\. Choose"):
        TABLE[name][0](jax.random.key(0), IMAGE, padding_mode="wrap")
    with pytest.raises(ValueError, match=rf"^{name}: expected fill in \[0, 1\], got 255\. .*divide"):
        TABLE[name][0](jax.random.key(0), IMAGE, fill=255)

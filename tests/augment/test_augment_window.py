"""Shifts and crops against NumPy: nothing is interpolated, so all of it is exact."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment

IMAGE = np.asarray(jax.random.uniform(jax.random.key(0), (6, 5, 2)))
KEYS = jax.random.split(jax.random.key(1), 2000)


def drawn(fn) -> np.ndarray:
    """Return the outputs of `fn` for many keys."""
    return np.asarray(jax.jit(jax.vmap(fn, (0, None)))(KEYS, IMAGE))


def windows(padded: np.ndarray, height: int, width: int) -> dict[tuple[int, int], np.ndarray]:
    """Return every window of an image by its corner."""
    rows, columns = padded.shape[0] - height + 1, padded.shape[1] - width + 1
    return {(r, c): padded[r : r + height, c : c + width] for r in range(rows) for c in range(columns)}


def assert_all_of(outputs: np.ndarray, expected: dict) -> None:
    """Assert that each output is one of `expected`, and that each of those is met about equally often."""
    flat = np.stack(list(expected.values())).reshape(len(expected), -1)
    same = (outputs.reshape(len(outputs), 1, -1) == flat).all(-1)
    assert (same.sum(1) == 1).all()
    share = same.mean(0) * len(expected)
    assert share.min() > 0.6
    assert share.max() < 1.4


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_shift(mode):
    margin = ((1, 1), (2, 2), (0, 0))
    padded = np.pad(IMAGE, margin, mode, **({"constant_values": 0.25} if mode == "constant" else {}))
    fn = partial(augment.shift, max_shift=(1, 2), padding_mode=mode, fill=0.25)
    assert_all_of(drawn(fn), windows(padded, 6, 5))


def test_shift_moves_both_ways_along_both_axes():
    dot = jnp.zeros((7, 7, 1)).at[3, 3].set(1)
    out = jax.vmap(partial(augment.shift, max_shift=2), (0, None))(KEYS, dot)
    _, rows, columns, _ = np.nonzero(np.asarray(out))
    assert set(zip(rows - 3, columns - 3, strict=True)) == {(r, c) for r in range(-2, 3) for c in range(-2, 3)}


@pytest.mark.slow
def test_shift_and_a_padded_crop_are_the_same():
    assert (drawn(partial(augment.shift, max_shift=2)) == drawn(partial(augment.crop, padding=2))).all()


def test_crop_of_a_larger_image():
    assert_all_of(drawn(partial(augment.crop, size=(3, 4))), windows(IMAGE, 3, 4))


def test_crop_pads_first():
    padded = np.pad(IMAGE, ((1, 1), (0, 0), (0, 0)), "reflect")
    fn = partial(augment.crop, size=(7, 5), padding=(1, 0), padding_mode="reflect")
    assert_all_of(drawn(fn), windows(padded, 7, 5))


def test_masks_boxes_and_keypoints_move_by_whole_pixels():
    mask = np.arange(30, dtype=np.int16).reshape(6, 5)
    example = {
        "image": IMAGE,
        "mask": mask,
        "boxes": np.float32([[1, 2, 4, 5], [0, 0, 1, 1]]),
        "keypoints": np.float32([[1.25, 2.5]]),
    }
    fn = jax.jit(jax.vmap(partial(augment.crop, size=(4, 3), padding=(2, 1), mask_fill=-1), (0, None)))
    out = jax.device_get(fn(KEYS[:50], example))
    image, padded = np.pad(IMAGE, ((2, 2), (1, 1), (0, 0))), np.pad(mask, ((2, 2), (1, 1)), constant_values=-1)
    for n in range(50):
        move = out["keypoints"][n, 0] - (1.25, 2.5)
        column, row = 1 - round(float(move[0])), 2 - round(float(move[1]))
        np.testing.assert_array_equal(out["image"][n], image[row : row + 4, column : column + 3])
        np.testing.assert_array_equal(out["mask"][n], padded[row : row + 4, column : column + 3])
        np.testing.assert_array_equal(move, (1 - column, 2 - row))
        x0, y0, x1, y1 = np.clip(example["boxes"][0] + np.tile(move, 2), 0, (3, 4, 3, 4))
        expected = (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else (x0, y0, x0, y0)
        np.testing.assert_array_equal(out["boxes"][n, 0], expected)
    gone = (out["boxes"][:, 1, 2:] == out["boxes"][:, 1, :2]).all(1)
    assert 0 < gone.sum() < 50


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            partial(augment.shift, max_shift=-1),
            r"^shift: expected max_shift of at least 0 pixels, got -1\. Pass one",
        ),
        (
            partial(augment.shift, max_shift=(1, 2.5)),
            r"^shift: expected max_shift in whole pixels, got \(1, 2\.5\)\. .*affine",
        ),
        (
            partial(augment.shift, max_shift=1, padding_mode="wrap"),
            r"^shift: expected padding_mode to be one of .*, got 'wrap'\.",
        ),
        (
            partial(augment.shift, max_shift=1, fill=255),
            r"^shift: expected fill in \[0, 1\], got 255\. .*divide",
        ),
        (
            partial(augment.crop, size=11, padding=2),
            r"^crop: expected a size from \(1, 1\) to .* \(10, 9\), got \(11, 11\)\.",
        ),
        (
            partial(augment.crop, size=(6, 0)),
            r"^crop: expected a size from \(1, 1\) to .* \(6, 5\), got \(6, 0\)\. Change",
        ),
        (partial(augment.crop, padding=-1), r"^crop: expected padding of at least 0 pixels, got -1\."),
        (
            partial(augment.crop, padding_mode="zero"),
            r"^crop: expected padding_mode to be one of .*, got 'zero'\.",
        ),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(KEYS[0], IMAGE)

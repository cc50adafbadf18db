"""Shifts, crops and mirror images against NumPy: nothing is interpolated, so all of it is exact."""

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


def test_shift_and_a_padded_crop_are_the_same():
    assert (drawn(partial(augment.shift, max_shift=2)) == drawn(partial(augment.crop, padding=2))).all()


def test_crop_of_a_larger_image():
    assert_all_of(drawn(partial(augment.crop, size=(3, 4))), windows(IMAGE, 3, 4))


def test_crop_pads_first():
    padded = np.pad(IMAGE, ((1, 1), (0, 0), (0, 0)), "reflect")
    fn = partial(augment.crop, size=(7, 5), padding=(1, 0), padding_mode="reflect")
    assert_all_of(drawn(fn), windows(padded, 7, 5))


def test_flip_mirrors_left_to_right():
    assert (augment.flip(KEYS[0], IMAGE, p=1.0) == IMAGE[:, ::-1]).all()


def test_flip_has_the_probability_asked_for():
    mirrored = (drawn(partial(augment.flip, p=0.2)) == IMAGE[:, ::-1]).all((1, 2, 3))
    assert 0.16 < mirrored.mean() < 0.24


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
        (partial(augment.flip, p=1.5), r"^flip: expected p in \[0, 1\], got 1\.5\. Pass the probability"),
        (partial(augment.flip, p=float("nan")), r"^flip: expected p in \[0, 1\], got nan\."),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(KEYS[0], IMAGE)

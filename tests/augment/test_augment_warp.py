"""Warps: closed forms, scipy's interpolation, and the distribution of what is drawn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxcnn import augment

SCIPY_MODES = {"constant": "grid-constant", "reflect": "mirror", "edge": "nearest"}


def close(a, b):
    np.testing.assert_allclose(a, b, atol=5e-6, rtol=0)


def drawn(keys: jax.Array, **options) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the angles in degrees, zooms and moves (n, 2) that `affine` draws for `keys`.

    Bilinear interpolation reproduces linear functions: warping the coordinates themselves shows the map.
    """
    size, unit = 65, 128
    ramps = (jnp.stack(jnp.meshgrid(jnp.arange(size), jnp.arange(size), indexing="ij"), -1) - 32) / unit + 0.5
    out = jax.jit(jax.vmap(partial(augment.affine, **options), (0, None)))(keys, ramps)
    source = (np.asarray(out[:, 28:37, 28:37], np.float64) - 0.5) * unit
    by_row, by_column = (source[:, 8, 4] - source[:, 0, 4]) / 8, (source[:, 4, 8] - source[:, 4, 0]) / 8
    inverse = np.stack([by_row, by_column], -1)
    moves = -np.linalg.solve(inverse, source[:, 4, 4, :, None])[..., 0]
    angles = np.degrees(np.arctan2(inverse[:, 0, 1], inverse[:, 0, 0]))
    return angles, 1 / np.hypot(inverse[:, 0, 0], inverse[:, 0, 1]), moves


@pytest.mark.parametrize("size", [6, 7])
def test_a_quarter_turn_is_rot90(size):
    image = jax.random.uniform(jax.random.key(0), (size, size, 3))
    for turns in (-1, 1, 2):
        turn = jax.jit(partial(augment.rotate, degrees=(90 * turns, 90 * turns)))
        close(turn(jax.random.key(1), image), np.rot90(image, turns))


def test_doubling_keeps_the_centre_and_doubles_distances():
    image = np.asarray(jax.random.uniform(jax.random.key(0), (5, 9, 1)))
    out = augment.scale(jax.random.key(1), image, factor=(2, 2))
    close(out[::2, ::2], image[1:4, 2:7])
    close(out[1::2, ::2], (image[1:3, 2:7] + image[2:4, 2:7]) / 2)


def test_halving_shows_what_lies_outside():
    image = np.asarray(jax.random.uniform(jax.random.key(0), (5, 5, 1)))
    out = augment.scale(jax.random.key(1), image, factor=(0.5, 0.5), fill=0.3)
    close(out, np.pad(image[::2, ::2], ((1, 1), (1, 1), (0, 0)), constant_values=0.3))


OPTIONS = {"degrees": (25, 25), "factor": (0.6, 0.6), "max_shift": (3, 2)}


@pytest.fixture(scope="module")
def move() -> np.ndarray:
    """Return what `affine` draws for key 2 and OPTIONS, having seen that the angle and the zoom are right."""
    (angle,), (zoom,), (move,) = drawn(jax.random.key(2)[None], **OPTIONS)
    assert abs(angle - 25) < 1e-3
    assert abs(zoom - 0.6) < 1e-4
    assert np.abs(move).min() > 0.1
    return move


@pytest.mark.parametrize("mode", SCIPY_MODES)
@pytest.mark.parametrize("shape", [(7, 10, 3), (1, 6, 1)])
def test_agrees_with_scipy(mode, shape, move):
    image = np.asarray(jax.random.uniform(jax.random.key(0), shape))
    turn = np.radians(-25)
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / 0.6
    centre = (np.array(shape[:2]) - 1) / 2
    grid = np.stack(np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij"), -1)
    places = (grid - centre - move) @ back.T + centre
    expected = [
        ndimage.map_coordinates(channel, np.moveaxis(places, -1, 0), order=1, mode=SCIPY_MODES[mode], cval=0.4)
        for channel in np.moveaxis(image, -1, 0)
    ]
    warp = partial(augment.affine, **OPTIONS, padding_mode=mode, fill=0.4)
    out = jax.jit(warp)(jax.random.key(2), image)
    np.testing.assert_allclose(out, np.stack(expected, -1), atol=1e-4)


def test_draws_fill_their_intervals():
    keys = jax.random.split(jax.random.key(3), 400)
    angles, zooms, moves = drawn(keys, degrees=(-10, 30), factor=(0.8, 1.3), max_shift=(2, 4))
    for values, low, high in [
        (angles, -10, 30),
        (zooms, 0.8, 1.3),
        (moves[:, 0], -2, 2),
        (moves[:, 1], -4, 4),
    ]:
        unit = (values - low) / (high - low)
        assert -1e-3 < unit.min() < 0.03
        assert 0.97 < unit.max() < 1 + 1e-3
        assert abs(np.mean(unit) - 0.5) < 0.06
        assert abs(np.std(unit) - 12**-0.5) < 0.03
    draws = np.corrcoef([angles, zooms, *moves.T])
    assert np.abs(draws - np.eye(4)).max() < 0.2


def test_one_number_of_degrees_goes_both_ways():
    keys = jax.random.split(jax.random.key(4), 200)
    angles, zooms, moves = drawn(keys, degrees=15)
    assert -15.01 < angles.min() < -14
    assert 14 < angles.max() < 15.01
    close(zooms, 1)
    np.testing.assert_allclose(moves, 0, atol=1e-4)


def test_bfloat16_is_interpolated_in_float32():
    key, image = jax.random.key(5), jax.random.uniform(jax.random.key(0), (6, 9, 2), jnp.bfloat16)
    precise = augment.rotate(key, image.astype(jnp.float32), degrees=20)
    assert (augment.rotate(key, image, degrees=20) == precise.astype(jnp.bfloat16)).all()


def test_rotate_and_scale_are_the_affine_map():
    key, image = jax.random.key(5), jax.random.uniform(jax.random.key(0), (6, 9, 2))
    assert (augment.rotate(key, image, degrees=20) == augment.affine(key, image, degrees=20)).all()
    zoomed = augment.scale(key, image, factor=(0.5, 0.9), padding_mode="edge")
    assert (zoomed == augment.affine(key, image, factor=(0.5, 0.9), padding_mode="edge")).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            partial(augment.rotate, degrees=(5, -5)),
            r"^rotate: expected degrees \(low, high\) with .*, got \(5, -5\)\. Put",
        ),
        (
            partial(augment.rotate, degrees=-5),
            r"^rotate: expected degrees \(low, high\) with low <= high, got \(5, -5\)\.",
        ),
        (partial(augment.rotate, degrees=float("nan")), r"^rotate: expected degrees .*, got \(nan, nan\)\."),
        (partial(augment.rotate, degrees=5, fill=-1), r"^rotate: expected fill in \[0, 1\], got -1\."),
        (
            partial(augment.scale, factor=(2, 1)),
            r"^scale: expected factor \(low, high\) with low <= high, got \(2, 1\)\.",
        ),
        (
            partial(augment.scale, factor=(0, 1)),
            r"^scale: expected factor above 0, got \(0, 1\)\. Pass \(low, high\)",
        ),
        (
            partial(augment.scale, factor=(1, 2), padding_mode="wrap"),
            r"^scale: expected padding_mode .*, got 'wrap'\.",
        ),
        (
            partial(augment.affine, max_shift=(1, -0.5)),
            r"^affine: expected max_shift of at least 0 pixels, got \(1, -0\.5\)\.",
        ),
        (partial(augment.affine, factor=(-1, 1)), r"^affine: expected factor above 0, got \(-1, 1\)\."),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(jax.random.key(0), jnp.zeros((4, 4, 1)))

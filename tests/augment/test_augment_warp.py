"""Warps: closed forms, scipy's interpolation, and the distribution of what is drawn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxcnn import augment
from tests import torch_nets

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_bfloat16_is_interpolated_in_float32():
    key, image = jax.random.key(5), jax.random.uniform(jax.random.key(0), (6, 9, 2), jnp.bfloat16)
    precise = augment.rotate(key, image.astype(jnp.float32), degrees=20)
    assert (augment.rotate(key, image, degrees=20) == precise.astype(jnp.bfloat16)).all()


@pytest.mark.slow
def test_rotate_and_scale_are_the_affine_map():
    key, image = jax.random.key(5), jax.random.uniform(jax.random.key(0), (6, 9, 2))
    assert (augment.rotate(key, image, degrees=20) == augment.affine(key, image, degrees=20)).all()
    zoomed = augment.scale(key, image, factor=(0.5, 0.9), padding_mode="edge")
    assert (zoomed == augment.affine(key, image, factor=(0.5, 0.9), padding_mode="edge")).all()


@pytest.mark.slow
def test_shear_leans_to_the_right_and_rises_to_the_right():
    """At 45 degrees every row moves by a whole number of pixels, and every column."""
    image = np.asarray(jax.random.uniform(jax.random.key(0), (5, 7, 1)))
    right = augment.shear(jax.random.key(1), image, degrees=(45, 45))
    for row, by in enumerate([2, 1, 0, -1, -2]):
        close(right[row], ndimage.shift(image[row], (by, 0), order=0))
    up = augment.shear(jax.random.key(1), image, degrees=(0, 0, 45, 45))
    for column, by in enumerate([3, 2, 1, 0, -1, -2, -3]):
        close(up[:, column], ndimage.shift(image[:, column], (by, 0), order=0))


@pytest.mark.slow
def test_shear_draws_fill_their_intervals():
    keys = jax.random.split(jax.random.key(6), 300)
    points = np.float32([[32.5, 32.5], [33.5, 32.5], [32.5, 33.5]])
    example = {"image": jnp.zeros((65, 65, 1)), "keypoints": points}

    def slopes(degrees):
        out = jax.jit(jax.vmap(partial(augment.shear, degrees=degrees), (0, None)))(keys, example)["keypoints"]
        close(out[:, 0], np.tile(points[0], (300, 1)))
        across, down = np.moveaxis(np.asarray(out[:, 1:] - out[:, :1]), 1, 0)
        return np.degrees(np.arctan(-down[:, 0])), np.degrees(np.arctan(-across[:, 1]))

    for degrees, leans, rises in [
        (20, (-20, 20), (0, 0)),
        ((5, 30), (5, 30), (0, 0)),
        ((0, 10, -40, -5), (0, 10), (-40, -5)),
    ]:
        for values, (low, high) in zip(slopes(degrees), (leans, rises), strict=True):
            if low == high:
                np.testing.assert_allclose(values, low, atol=1e-4)
            else:
                unit = (values - low) / (high - low)
                assert -1e-3 < unit.min() < 0.03
                assert 0.97 < unit.max() < 1 + 1e-3
                assert abs(np.mean(unit) - 0.5) < 0.06


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (partial(augment.rotate, degrees=(25, 25)), partial(augment.rotate, degrees=(-25, -25))),
        (partial(augment.scale, factor=(1.3, 1.3)), partial(augment.scale, factor=(1 / 1.3, 1 / 1.3))),
        (partial(augment.shear, degrees=(20, 20)), partial(augment.shear, degrees=(-20, -20))),
        (partial(augment.shear, degrees=(0, 0, 15, 15)), partial(augment.shear, degrees=(0, 0, -15, -15))),
        (
            partial(augment.affine, degrees=(40, 40), factor=(0.9, 0.9)),
            partial(augment.affine, degrees=(-40, -40), factor=(1 / 0.9, 1 / 0.9)),
        ),
    ],
    ids=["rotate", "scale", "shear along x", "shear along y", "affine"],
)
def test_an_affine_map_and_its_inverse_restore_the_interior(there, back):
    """Linear interpolation of f errs by less than (|f_yy| + |f_xx|) / 8, twice: 0.01 each time for these waves."""
    key = jax.random.key(7)
    wave = np.sin(2 * np.pi * np.arange(48) / 16)
    image = np.float32(0.5 + 0.25 * wave[:, None, None] * wave[None, :, None])
    mask = np.arange(48 * 48, dtype=np.int32).reshape(48, 48) // 8
    points = np.float32([[3, 4], [60, -5], [24, 24]])
    out = there(key, {"image": image, "mask": mask, "keypoints": points})
    assert np.abs(out["image"] - image)[16:32, 16:32].max() > 0.1
    out = back(key, out)
    np.testing.assert_allclose(out["image"][16:32, 16:32], image[16:32, 16:32], atol=0.02)
    np.testing.assert_allclose(out["keypoints"], points, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"degrees": (25, 25)},
        {"factor": (1.4, 1.4)},
        {"shear_degrees": (20, 20)},
        {"shear_degrees": (0, 0, -15, -15)},
        {"degrees": (-50, -50), "factor": (0.8, 0.8), "shear_degrees": (20, 20, -15, -15)},
    ],
    ids=["rotate", "scale", "shear x", "shear y", "all"],
)
def test_agrees_with_torchvision(options):
    functional = torch_nets.transforms().functional
    import torch

    image = np.asarray(jax.random.uniform(jax.random.key(0), (12, 9, 2)))
    mask = np.arange(108, dtype=np.int32).reshape(12, 9) + 1
    values = {name: value[::2] for name, value in options.items()}
    (angle,), (zoom,) = values.get("degrees", (0,))[:1], values.get("factor", (1,))[:1]
    lean, rise = (*values.get("shear_degrees", (0,)), 0)[:2]
    out = augment.affine(jax.random.key(8), {"image": image, "mask": mask}, **options)

    def theirs(x, mode):
        return functional.affine(x, -angle, [0, 0], zoom, [lean, rise], interpolation=mode).numpy()

    modes = functional.InterpolationMode
    expected = theirs(torch.tensor(image.transpose(2, 0, 1)), modes.BILINEAR).transpose(1, 2, 0)
    within = expected != 0
    assert within.mean() > 0.4
    # Without a fill of its own theirs blends with nothing outside the frame: so does fill=0 here.
    np.testing.assert_allclose(out["image"], expected, atol=1e-4)
    labels = theirs(torch.tensor(mask[None]), modes.NEAREST)[0]
    assert (out["mask"] != labels).mean() < 0.02


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
        (
            partial(augment.affine, shear_degrees=(0, 90)),
            r"^affine: expected shear_degrees between -90 and 90, got \(0, 90\)\. At 90",
        ),
        (
            partial(augment.affine, shear_degrees=(0, 5, 5, 0)),
            r"^affine: expected shear_degrees \(low, high\) with .*, got \(5, 0\)\.",
        ),
        (
            partial(augment.shear, degrees=float("nan")),
            r"^shear: expected degrees between -90 and 90, got nan\.",
        ),
        (
            partial(augment.shear, degrees=(1, 2, 3)),
            r"^shear: expected degrees of one, two or four numbers, got \(1, 2, 3\)\. Pass d, \(low, high\)",
        ),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(jax.random.key(0), jnp.zeros((4, 4, 1)))

"""Perspective: torchvision's and PIL's values, the distribution of the corners, and the way there and back."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment
from tests import torch_nets

HEIGHT, WIDTH = 12, 17
IMAGE = np.asarray(jax.random.uniform(jax.random.key(0), (HEIGHT, WIDTH, 2)))
CORNERS = np.float32([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]])
pytestmark = pytest.mark.usefixtures("quick_compilation")


def drawn(keys: jax.Array, points=CORNERS, **options) -> dict[str, np.ndarray]:
    """Return the examples drawn for `keys`, with where `points` have come."""
    example = {"image": IMAGE, "keypoints": points}
    return jax.device_get(jax.jit(jax.vmap(partial(augment.perspective, **options), (0, None)))(keys, example))


def test_corners_move_inwards_uniformly():
    moved = drawn(jax.random.split(jax.random.key(1), 400), distortion_scale=0.6)["keypoints"]
    unit = np.abs(moved - CORNERS) / (0.6 * np.array([WIDTH, HEIGHT]) / 2)
    assert (np.sign(moved - CORNERS) == np.sign(CORNERS.mean(0) - CORNERS)).all()
    unit = unit.reshape(400, 8)
    assert unit.min() > -1e-4
    assert unit.min(0).max() < 0.03
    assert unit.max() < 1 + 1e-4
    assert unit.max(0).min() > 0.97
    assert np.abs(unit.mean(0) - 0.5).max() < 0.06
    assert np.abs(unit.std(0) - 12**-0.5).max() < 0.03
    assert np.abs(np.corrcoef(unit.T) - np.eye(8)).max() < 0.2


def test_lines_stay_lines_and_cross_ratios_stay():
    ends = np.array([[1, 2], [13, 9]])
    steps = np.array([0, 0.2, 0.5, 1])
    line = np.float32(ends[0] + steps[:, None] * (ends[1] - ends[0]))
    for points in drawn(jax.random.split(jax.random.key(2), 5), points=line)["keypoints"].astype(np.float64):
        along = points - points[0]
        across = along @ np.array([[0, -1], [1, 0]]) @ along[3] / np.linalg.norm(along[3])
        np.testing.assert_allclose(across, 0, atol=1e-4)
        a, b, c, d = along @ along[3] / np.linalg.norm(along[3])
        np.testing.assert_allclose((c - a) * (d - b) / ((c - b) * (d - a)), 0.5 * 0.8 / 0.3, rtol=1e-4)


def test_values_are_those_of_torchvision():
    functional = torch_nets.transforms().functional
    import torch

    out = drawn(jax.random.split(jax.random.key(3), 5))
    tensor = torch.tensor(IMAGE.transpose(2, 0, 1))
    for image, corners in zip(out["image"], out["keypoints"], strict=True):
        expected = functional.perspective(tensor, CORNERS.tolist(), corners.tolist(), fill=None).numpy()
        np.testing.assert_allclose(image, expected.transpose(1, 2, 0), atol=1e-4)


def test_values_are_those_of_pil():
    """Inside the frame: PIL blends with nothing outside it."""
    pil = pytest.importorskip("PIL.Image", reason="PIL is not installed")
    out = drawn(jax.random.split(jax.random.key(4), 5), padding_mode="edge")
    for image, corners in zip(out["image"], out["keypoints"].astype(np.float64), strict=True):
        # The eight numbers that lead from the moved corners back to the frame's.
        rows = [
            row
            for (x, y), (u, v) in zip(corners, CORNERS, strict=True)
            for row in ([x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y])
        ]
        numbers = np.linalg.solve(rows, CORNERS.ravel())
        options = {"size": (WIDTH, HEIGHT), "method": pil.Transform.PERSPECTIVE, "data": numbers}
        expected = [
            np.asarray(pil.fromarray(channel).transform(**options, resample=pil.Resampling.BILINEAR, fillcolor=-9))
            for channel in np.ascontiguousarray(np.moveaxis(IMAGE, -1, 0))
        ]
        expected = np.stack(expected, -1)
        seen = (expected >= 0).all(-1)
        assert seen.mean() > 0.3
        np.testing.assert_allclose(image[seen], expected[seen], atol=1e-4)


def test_everything_is_finite_at_any_strength():
    points = np.float32([[1e4, -1e4], [-50, 90], [3, 4]])
    out = drawn(jax.random.split(jax.random.key(5), 200), points=points, distortion_scale=0.66, padding_mode="reflect")
    assert np.isfinite(out["image"]).all()
    assert np.isfinite(out["keypoints"]).all()
    assert out["image"].min() >= 0
    assert out["image"].max() <= 1


def test_points_on_the_horizon_come_to_lie_far_away():
    keys = jax.random.split(jax.random.key(6), 40)
    start, right, across, down = np.moveaxis(drawn(keys)["keypoints"].astype(np.float64), 1, 0)
    excess, along, up = start - right + across - down, right - across, down - across
    g = np.linalg.det(np.stack([excess, up], 1)) / np.linalg.det(np.stack([along, up], 1)) / WIDTH
    # g x + h y + 1 is nothing at y = 0 and one of these x.
    x = (-1 / g[:, None]) * (1 + np.arange(-40, 41) * 2.0**-24)
    example = {"image": IMAGE, "keypoints": np.stack([x, np.zeros_like(x)], -1).astype(np.float32)}
    out = jax.jit(jax.vmap(augment.perspective, (0, {"image": None, "keypoints": 0})))(keys, example)["keypoints"]
    assert np.isfinite(out).all()
    assert np.abs(out).max(-1).min() > 1e4


def test_bfloat16_is_interpolated_in_float32():
    key, image = jax.random.key(5), jnp.asarray(IMAGE, jnp.bfloat16)
    warp = jax.jit(augment.perspective)
    assert (warp(key, image) == warp(key, image.astype(jnp.float32)).astype(jnp.bfloat16)).all()


@pytest.mark.parametrize("distortion_scale", [-0.1, 0.67, 1.0, float("nan")])
def test_bad_strength(distortion_scale):
    message = rf"^perspective: expected distortion_scale in \[0, 2/3\), got {distortion_scale}\. .*fold"
    with pytest.raises(ValueError, match=message):
        augment.perspective(jax.random.key(0), IMAGE, distortion_scale=distortion_scale)

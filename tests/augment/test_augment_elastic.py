"""Elastic deformation: smoothing and interpolation of scipy, values of torchvision, and keypoints on the way back."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxcnn import augment
from jaxcnn.augment.elastic import _waves, displacement
from tests import torch_nets

FRAME = 24, 31
IMAGE = np.asarray(jax.random.uniform(jax.random.key(0), (*FRAME, 2)))
pytestmark = pytest.mark.usefixtures("quick_compilation")


def field(key: jax.Array, alpha: float, sigma: float, frame: tuple[int, int] = FRAME) -> np.ndarray:
    return np.asarray(displacement(key, frame, alpha=alpha, sigma=sigma))


def test_fields_are_the_same_in_double_precision():
    fields = []
    for double in (False, True):
        with jax.enable_x64(double):
            fields.append(displacement(jax.random.key(0), (8, 6), alpha=3.0, sigma=1.0))
    np.testing.assert_allclose(fields[0], fields[1], atol=1e-5)


def test_noise_is_white_and_both_components_are_independent():
    right, down = field(jax.random.key(1), alpha=2, sigma=0, frame=(60, 50))
    for noise in (right, down):
        assert abs(noise.mean()) < 0.03
        assert abs(noise.std() - 3**-0.5) < 0.02
        for other in (noise[1:, :-1], noise[:-1, 1:]):  # neighbours, below and to the right
            assert abs(np.corrcoef(noise[:-1, :-1].ravel(), other.ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(right.ravel(), down.ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("sigma", [0, 0.1, 0.4, 1.3, 5.0])
@pytest.mark.parametrize("size", [1, 9, 24, 31])
def test_covariance_is_that_of_white_noise_smoothed_by_scipy(sigma, size):
    waves = _waves(size, sigma).astype(np.float64)
    smoothing = ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect") if sigma else np.eye(size)
    np.testing.assert_allclose(waves @ waves.T, smoothing @ smoothing.T, atol=1e-4)


def test_few_waves_are_drawn_of_a_smooth_field():
    assert _waves(32, 5.0).shape == (32, 7)
    assert _waves(32, 0).shape == (32, 32)


@pytest.mark.slow
@pytest.mark.parametrize("frame", [FRAME, (1, 9)])
def test_strength_is_that_of_smoothed_noise(frame):
    fields = np.stack([field(key, 3, 1.5, frame) for key in jax.random.split(jax.random.key(2), 400)])
    one = [ndimage.gaussian_filter1d(np.eye(size), 1.5, axis=0, mode="reflect") for size in frame]
    along = [np.sum(matrix**2, axis=1) for matrix in one]
    expected = 1.5 * np.sqrt(np.outer(*along) / 3)  # alpha / 2 times the deviation of each pixel
    np.testing.assert_allclose(fields.std(axis=(0, 1)), expected, rtol=0.15)


def test_alpha_multiplies():
    weak, strong = (field(jax.random.key(3), alpha=alpha, sigma=2) for alpha in (1, 7))
    np.testing.assert_allclose(strong, 7 * weak, rtol=1e-5)


def test_values_are_those_of_scipy():
    key = jax.random.key(4)
    right, down = field(key, alpha=40, sigma=3)
    rows, columns = np.mgrid[: FRAME[0], : FRAME[1]]
    places = np.stack([rows + down, columns + right])
    expected = [
        ndimage.map_coordinates(channel, places, order=1, mode="grid-constant", cval=0.4)
        for channel in np.moveaxis(IMAGE, -1, 0)
    ]
    out = jax.jit(partial(augment.elastic, alpha=40, sigma=3, fill=0.4))(key, IMAGE)
    np.testing.assert_allclose(out, np.stack(expected, -1), atol=1e-5)


def test_values_and_strength_are_those_of_torchvision():
    transforms = torch_nets.transforms()
    import torch

    key, (height, width) = jax.random.key(5), FRAME
    # Its displacement is in units of half the frame.
    move = torch.tensor(np.moveaxis(field(key, 50, 2) / np.array([width / 2, height / 2])[:, None, None], 0, -1)[None])
    tensor = torch.tensor(IMAGE.transpose(2, 0, 1))
    expected = transforms.functional.elastic(tensor, move.float(), fill=None).numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(augment.elastic(key, IMAGE, alpha=50, sigma=2), expected, atol=1e-4)

    torch.manual_seed(0)
    theirs = [
        transforms.ElasticTransform(50.0, 2.0).make_params([torch.zeros(1, *FRAME)])["displacement"][0].numpy()
        for _ in range(60)
    ]
    ours = [field(key, 50, 2) for key in jax.random.split(key, 60)]
    expected = np.std(theirs, (0, 1, 2)) * (width / 2, height / 2)
    np.testing.assert_allclose(np.std(ours, (0, 2, 3)), expected, rtol=0.03)


@pytest.mark.parametrize(("alpha", "sigma"), [(50, 5), (50, 4), (30, 3)])
def test_keypoints_go_where_their_pixel_is_fetched_from(alpha, sigma):
    keys = jax.random.split(jax.random.key(6), 40)
    points = np.random.default_rng(0).uniform((4, 4), (27, 20), (30, 2)).astype(np.float32)
    example = {"image": IMAGE, "keypoints": points}
    out = jax.jit(jax.vmap(partial(augment.elastic, alpha=alpha, sigma=sigma), (0, None)))(keys, example)
    seen = 0
    for key, moved in zip(keys, np.asarray(out["keypoints"], np.float64), strict=True):
        moves = field(key, alpha, sigma)
        if max(np.abs(np.diff(moves, axis=axis)).max() for axis in (1, 2)) >= 0.7:
            continue
        seen += 1
        places = moved[:, ::-1].T - 0.5
        fetched = [ndimage.map_coordinates(part, places, order=1, mode="nearest") for part in moves]
        np.testing.assert_allclose(moved + np.stack(fetched, -1), points, atol=0.01)
    assert seen > 2


def test_keypoints_far_outside_move_as_the_edge():
    key = jax.random.key(7)
    right, down = field(key, 50, 5)
    points = np.float32([[-100, -80], [200, 100]])
    out = augment.elastic(key, {"image": IMAGE, "keypoints": points})["keypoints"]
    edge = np.array([[right[0, 0], down[0, 0]], [right[-1, -1], down[-1, -1]]])
    np.testing.assert_allclose(out, points - edge, atol=1e-4)


def test_bfloat16_is_interpolated_in_float32():
    key, image = jax.random.key(5), jnp.asarray(IMAGE, jnp.bfloat16)
    warp = jax.jit(augment.elastic)
    assert (warp(key, image) == warp(key, image.astype(jnp.float32)).astype(jnp.bfloat16)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1}, r"alpha of at least 0, got -1\. .*50 and 5"),
        ({"alpha": float("inf")}, r"alpha of at least 0, got inf\."),
        ({"sigma": -0.5}, r"sigma of at least 0, got -0\.5\."),
        ({"sigma": float("nan")}, r"sigma of at least 0, got nan\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=rf"^elastic: expected {message}.*\.$"):
        augment.elastic(jax.random.key(0), IMAGE, **options)

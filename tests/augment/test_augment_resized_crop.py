"""Random resized crops: torchvision's and PIL's values, and the definition of the draw one try at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcnn import augment
from tests import torch_nets

KEYS = jax.random.split(jax.random.key(1), 1500)
IMAGE = np.asarray(jax.random.uniform(jax.random.key(0), (20, 30, 3)))
pytestmark = pytest.mark.usefixtures("quick_compilation")


def drawn(keys: jax.Array, image: np.ndarray, **options) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the windows (top, left, height, width) drawn for `keys`, read off two points, and the examples."""
    height, width = image.shape[:2]
    mask = np.arange(height * width, dtype=np.int32).reshape(height, width)
    example = {"image": image, "mask": mask, "keypoints": np.float32([[0, 0], [width, height]])}
    out = jax.jit(jax.vmap(partial(augment.random_resized_crop, **options), (0, None)))(keys, example)
    start, end = np.asarray(out["keypoints"], np.float64)[:, :, ::-1].swapaxes(0, 1)
    size = np.array(out["image"].shape[1:3])
    length = size * (height, width) / (end - start)
    windows = np.concatenate([-start * length / size, length], 1)
    np.testing.assert_allclose(windows, windows.round(), atol=1e-3)
    return windows.round().astype(int), jax.device_get(out)


def one_try_after_another(rng, height, width, area, aspect):
    for _ in range(10):
        pixels, ratio = height * width * rng.uniform(*area), np.exp(rng.uniform(*np.log(aspect)))
        w, h = round(np.sqrt(pixels * ratio)), round(np.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(height - h + 1), rng.integers(width - w + 1), h, w
    w, h = width, height
    if width / height < aspect[0]:
        h = round(width / aspect[0])
    elif width / height > aspect[1]:
        w = round(height * aspect[1])
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"area": (0.08, 1.0), "aspect": (3 / 4, 4 / 3)},
        {"area": (0.6, 1.0), "aspect": (0.5, 1.2)},  # one try in eight fits
    ],
)
def test_draws_are_distributed_as_one_try_after_another(options):
    windows, _ = drawn(KEYS, IMAGE, **options)
    rng = np.random.default_rng(0)
    expected = np.array([one_try_after_another(rng, 20, 30, **options) for _ in range(4000)])
    for ours, theirs in zip(windows.T, expected.T, strict=True):
        assert stats.ks_2samp(ours, theirs).pvalue > 0.01
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, :2] + windows[:, 2:] <= (20, 30)).all()


@pytest.mark.parametrize("aspect", [(2.0, 3.0), (1 / 6, 1 / 5), (1.5, 1.5)])
def test_when_nothing_fits_the_window_is_central(aspect):
    (window,), _ = drawn(KEYS[:1], IMAGE, area=(1.0, 1.0), aspect=aspect)
    assert (*window,) == one_try_after_another(np.random.default_rng(0), 20, 30, (1.0, 1.0), aspect)


@pytest.mark.parametrize("size", [(20, 30), (9, 8), (24, 7), (41, 50), (1, 1)])
def test_values_are_those_of_pil(size):
    image = pytest.importorskip("PIL.Image", reason="PIL is not installed")
    windows, out = drawn(KEYS[:6], IMAGE, size=size)
    for (top, left, height, width), result in zip(windows, out["image"], strict=True):
        window = IMAGE[top : top + height, left : left + width]
        for channel in range(3):
            # A window cut out first: what lies beside it has no part in it.
            expected = image.fromarray(window[..., channel]).resize(size[::-1], image.Resampling.BILINEAR)
            np.testing.assert_allclose(result[..., channel], np.asarray(expected), atol=5e-6)


@pytest.mark.parametrize("size", [(20, 30), (9, 8), (41, 50)])
def test_values_are_those_of_torchvision(size):
    functional = torch_nets.transforms().functional
    import torch

    windows, out = drawn(KEYS[:6], IMAGE, size=size)
    tensor = torch.tensor(IMAGE.transpose(2, 0, 1))
    mask = torch.arange(600, dtype=torch.int32).reshape(1, 20, 30)
    for window, result, labels in zip(windows.tolist(), out["image"], out["mask"], strict=True):
        expected = functional.resized_crop(tensor, *window, [*size], antialias=True).numpy()
        np.testing.assert_allclose(result, expected.transpose(1, 2, 0), atol=5e-6)
        exact = functional.InterpolationMode.NEAREST_EXACT
        expected = functional.resized_crop(mask, *window, [*size], interpolation=exact).numpy()
        assert (labels != expected[0]).mean() < 0.03  # theirs rounds where a centre lies between two pixels


@pytest.mark.parametrize(("area", "aspect"), [(0.3, 1.3), (0.55, 0.9), (0.12, 0.5), (0.2, 0.8)])
def test_sides_are_rounded(area, aspect):
    (window,), _ = drawn(KEYS[:1], IMAGE, area=(area, area), aspect=(aspect, aspect))
    assert (*window[2:],) == (round((600 * area / aspect) ** 0.5), round((600 * area * aspect) ** 0.5))


def test_white_stays_within_range():
    crop = jax.jit(jax.vmap(partial(augment.random_resized_crop, size=(9, 8)), (0, None)))
    out = crop(KEYS, np.ones((20, 30, 1), np.float32))
    assert out.max() == 1
    assert out.min() > 1 - 1e-6


def test_masks_show_the_pixels_in_which_centres_lie():
    windows, out = drawn(KEYS[:6], IMAGE, size=(7, 31))
    for (top, left, height, width), labels in zip(windows, out["mask"], strict=True):
        rows = top + np.floor((np.arange(7) + 0.5) * height / 7 + 1e-9).astype(int)
        columns = left + np.floor((np.arange(31) + 0.5) * width / 31 + 1e-9).astype(int)
        np.testing.assert_array_equal(labels, rows[:, None] * 30 + columns)


@pytest.mark.slow
def test_bfloat16_is_interpolated_in_float32():
    image = jnp.asarray(IMAGE, jnp.bfloat16)
    crop = jax.jit(partial(augment.random_resized_crop, size=(9, 8)))
    assert (crop(KEYS[0], image) == crop(KEYS[0], image.astype(jnp.float32)).astype(jnp.bfloat16)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, r"a size of at least \(1, 1\), got \(0, 0\)\. Pass the size of the result"),
        ({"size": (4, 2.5)}, r"size in whole pixels, got \(4, 2\.5\)\."),
        ({"area": (0.0, 1.0)}, r"area in \(0, 1\], got \(0\.0, 1\.0\)\. Pass fractions"),
        ({"area": (0.5, 1.5)}, r"area in \(0, 1\], got \(0\.5, 1\.5\)\."),
        ({"area": (0.5, 0.1)}, r"area \(low, high\) with low <= high, got \(0\.5, 0\.1\)\."),
        ({"aspect": (0.0, 1.0)}, r"aspect above 0, got \(0\.0, 1\.0\)\. Pass \(low, high\) of width / height"),
        ({"aspect": (1.0, float("inf"))}, r"aspect \(low, high\) .*, got \(1\.0, inf\)\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=rf"^random_resized_crop: expected {message}.*\.$"):
        augment.random_resized_crop(KEYS[0], IMAGE, **options)

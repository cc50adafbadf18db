import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import report
from jaxcnn.report.histograms import BINS

BYTES = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_value_histograms_count_each_channel(dtype):
    images = BYTES if dtype is np.uint8 else ((BYTES + np.float32(0.5)) / 256).astype(np.float32)
    stack = report.value_histograms(images).axes
    assert [axes.get_title("left") for axes in stack] == ["red", "green", "blue"]
    for channel, axes in enumerate(stack):
        expected = np.bincount(BYTES[..., channel].ravel() // (256 // BINS), minlength=BINS) / 120 * 100
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches], expected)
        values = images[..., channel] / (255 if dtype is np.uint8 else 1)
        note = f"mean {values.mean():.3f} · standard deviation {values.std():.3f}"
        assert axes.get_title("right") == note
        assert axes.lines[0].get_xdata()[0] == pytest.approx(values.mean())
        assert axes.get_yscale() == "linear"


def test_value_histograms_of_black_grounds_are_logarithmic():
    image = np.zeros((1, 100, 100, 1), np.uint8)
    image[0, 0, :, 0] = np.arange(100)
    (axes,) = report.value_histograms(image).axes
    assert axes.get_yscale() == "log"
    assert axes.get_title("left") == "grey"


def test_value_histograms_of_bfloat16_are_those_of_its_values():
    images = (BYTES / 255).astype(jnp.bfloat16)
    pairs = zip(*(report.value_histograms(given).axes for given in (images, images.astype(np.float32))), strict=True)
    for ours, same in pairs:
        np.testing.assert_array_equal(*([bar.get_height() for bar in axes.patches] for axes in (ours, same)))


def test_value_histograms_name_other_channels_by_number():
    stack = report.value_histograms(np.zeros((1, 2, 2, 2))).axes
    assert [axes.get_title("left") for axes in stack] == ["channel 0", "channel 1"]


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (BYTES[0], ValueError, r"^value_histograms: expected images \(n, h, w, c\), got \(5, 6, 3\)"),
        (BYTES[:0], ValueError, r"^value_histograms: expected images \(n, h, w, c\), got \(0, 5, 6, 3\)"),
        (BYTES.astype(int), TypeError, "^value_histograms: expected uint8 or floating images, got int64"),
        (BYTES / 100.0, ValueError, r"^value_histograms: expected floats in \[0, 1\], got \[0"),
        (np.full((1, 2, 2, 1), np.nan), ValueError, r"^value_histograms: expected floats in \[0, 1\], got \[nan"),
    ],
)
def test_value_histograms_refuse(images, error, message):
    with pytest.raises(error, match=message):
        report.value_histograms(images)

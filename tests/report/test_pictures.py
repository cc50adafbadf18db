import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import report
from tests.report.figures import drawn, words

IMAGES = np.arange(5 * 4 * 4 * 3, dtype=np.uint8).reshape(5, 4, 4, 3)


def test_image_grid_shows_every_image_and_title_in_order():
    figure = report.image_grid(IMAGES, list("abcde"), columns=2)
    np.testing.assert_array_equal(drawn(figure), IMAGES)
    assert words(figure) == list("abcde")
    lefts, rights, bottoms, tops = zip(*(image.get_extent() for image in figure.axes[0].images), strict=True)
    assert lefts[0] == lefts[2] == lefts[4] < rights[0] < lefts[1] == lefts[3]  # two columns
    assert tops[0] == tops[1] < bottoms[0] < tops[2] == tops[3] < tops[4]  # three rows, counted downwards
    assert all(image.get_interpolation() == "none" for image in figure.axes[0].images)


def test_image_grid_breaks_titles_into_lines():
    figure = report.image_grid(IMAGES[:3], ["T-shirt/top\n99.98 %", "coat", "bag\n3 %"], columns=2)
    assert words(figure) == ["T-shirt/top", "99.98 %", "coat", "bag", "3 %"]
    heights = [text.get_position()[1] for text in figure.axes[0].texts]
    assert heights[0] == heights[2] < heights[1] < figure.axes[0].images[2].get_extent()[3]
    assert heights[-1] < figure.axes[0].get_ylim()[0]


@pytest.mark.parametrize("shape", [(5, 4, 6), (5, 4, 6, 1), (5, 4, 6, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_image_grid_takes_grey_and_colour_bytes_and_floats(shape, dtype):
    images = (np.arange(np.prod(shape)) % 256).astype(np.uint8).reshape(shape)
    given = images if dtype is np.uint8 else (images / 255).astype(np.float32)
    expected = images if len(shape) == 4 else images[..., None]
    np.testing.assert_array_equal(drawn(report.image_grid(given)), np.broadcast_to(expected, (5, 4, 6, 3)))


def test_image_grid_takes_images_of_16_bits():
    images = np.linspace(0, 1, 5 * 16).reshape(5, 4, 4, 1)
    for narrow in (images.astype(np.float16), images.astype(jnp.bfloat16)):
        expected = np.rint(255 * narrow.astype(np.float32)).astype(np.uint8)
        np.testing.assert_array_equal(drawn(report.image_grid(narrow)), np.broadcast_to(expected, (5, 4, 4, 3)))


def test_image_grid_keeps_the_proportions():
    left, right, bottom, top = report.image_grid(np.zeros((1, 10, 20))).axes[0].images[0].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2)


def test_image_grid_paints_pixels_without_a_finite_value_magenta():
    images = np.zeros((1, 2, 2, 3), np.float32)
    images[0, 0, 1, 2] = np.nan
    images[0, 1, 0, 0] = np.inf
    image = drawn(report.image_grid(images))[0]
    assert image.tolist() == [[[0, 0, 0], [255, 0, 255]], [[255, 0, 255], [0, 0, 0]]]


def test_image_grid_averages_photographs():
    figure = report.image_grid(np.zeros((1, 900, 900), np.uint8))
    assert figure.axes[0].images[0].get_interpolation() == "antialiased"


def test_image_grid_of_nothing_says_so():
    assert words(report.image_grid(np.zeros((0, 4, 4)))) == ["No images."]


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        (np.zeros((4, 4)), {}, ValueError, r"image_grid: expected images .* got \(4, 4\)"),
        (np.zeros((2, 4, 4, 4)), {}, ValueError, r"image_grid: expected images .* got \(2, 4, 4, 4\)"),
        (np.zeros((2, 0, 4)), {}, ValueError, "image_grid: expected images"),
        (np.zeros((2, 4, 4), np.int32), {}, TypeError, "image_grid: expected uint8 or floating images, got int32"),
        (np.full((2, 4, 4), 2.0), {}, ValueError, r"image_grid: expected floats in \[0, 1\], got \[0, 2\]"),
        (np.full((2, 4, 4), -1.0), {}, ValueError, r"image_grid: expected floats in \[0, 1\], got \[-1, 1\]"),
        (IMAGES, {"titles": ["a"]}, ValueError, "image_grid: expected 5 titles, got 1"),
        (IMAGES, {"columns": 0}, ValueError, "image_grid: expected at least one column, got 0"),
    ],
)
def test_image_grid_refuses(images, options, error, message):
    with pytest.raises(error, match=message):
        report.image_grid(images, **options)


TRUE = np.array([0, 1, 2, 0, 1])
PREDICTED = np.array([0, 2, 1, 1, 0])
CONFIDENCE = np.array([1.0, 0.6, 0.9, np.nan, 0.7])


def test_mistakes_show_the_most_confident_first():
    figure = report.mistakes(IMAGES, TRUE, PREDICTED, CONFIDENCE, ["cat", "dog", "fox"])
    np.testing.assert_array_equal(drawn(figure), IMAGES[[2, 4, 1, 3]])
    assert words(figure)[:6] == ["dog", "90% sure", "is fox", "cat", "70% sure", "is dog"]


def test_mistakes_say_how_many_are_not_shown():
    figure = report.mistakes(IMAGES, TRUE, PREDICTED, CONFIDENCE, limit=1)
    np.testing.assert_array_equal(drawn(figure), IMAGES[[2]])
    assert words(figure) == ["1", "90% sure", "is 2", "3 more mistakes are not shown."]


def test_mistakes_are_glad_when_there_are_none():
    figure = report.mistakes(IMAGES, TRUE, TRUE, CONFIDENCE)
    assert not drawn(figure)
    assert words(figure) == ["No mistakes: all 5 images were classified rightly."]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"true": TRUE[:3]}, r"mistakes: expected three arrays of shape \(5,\), got \[\(3,\), \(5,\), \(5,\)\]"),
        ({"class_names": ["cat"]}, "mistakes: expected labels from 0 to 0, got 0 to 2"),
        ({"predicted": -PREDICTED}, "mistakes: expected labels from 0 to 2, got -2 to 2"),
        ({"limit": 0}, r"mistakes: expected columns and limit above 0, got \(5, 0\)"),
        ({"images": IMAGES[0, 0]}, "mistakes: expected images"),
    ],
)
def test_mistakes_refuse(changed, message):
    given = {"images": IMAGES, "true": TRUE, "predicted": PREDICTED, "confidence": CONFIDENCE} | changed
    with pytest.raises(ValueError, match=message):
        report.mistakes(**given)

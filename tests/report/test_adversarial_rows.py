import numpy as np
import pytest
from matplotlib.colors import to_hex

from jaxcnn.report.adversarial_rows import adversarial_rows
from jaxcnn.report.canvas import INK, ORANGE

GREY = np.full((3, 4, 5, 1), 0.5, np.float32)
LINES = ["0, 90 %", "1, 80 %", "2, 70 %"]


def tiles(figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def texts(figure) -> list:
    return figure.axes[0].texts


def test_image_change_and_sum_side_by_side():
    changed = GREY.copy()
    changed[0, 1, 2] += 0.02
    changed[0, 0, 0] -= 0.01
    figure = adversarial_rows(GREY, changed, LINES, ["7, 60 %", *LINES[1:]], fooled=[True, False, False])
    image, change, result = tiles(figure)[:3]
    np.testing.assert_array_equal(image, np.full((4, 5, 3), 128))
    assert result[1, 2].tolist() == [133] * 3
    assert change[1, 2, 0] > change[1, 2, 2] + 80  # brighter is red,
    assert change[0, 0, 2] > change[0, 0, 0] + 20  # darker blue, by half as much,
    assert np.ptp(change[3, 3].astype(int)) < 5  # and nothing grey
    words = [text.get_text() for text in texts(figure)]
    assert words[:3] == ["0, 90 %", "±0.02", "7, 60 %"]
    assert words[3:6] == ["1, 80 %", "no change", "1, 80 %"]
    assert [to_hex(text.get_color()) for text in texts(figure)[2:6:3]] == [ORANGE, INK]
    assert len(tiles(figure)) == 9


def test_colours_around_grey_and_bytes():
    images = np.full((1, 2, 2, 3), 100, np.uint8)
    changed = images.copy()
    changed[0, 0, 0] = [151, 100, 49]
    figure = adversarial_rows(images, changed, LINES[:1], LINES[:1], across=1)
    _, change, result = tiles(figure)
    assert change[0, 0].tolist() == [255, 128, 0]
    assert change[1, 1].tolist() == [128] * 3
    assert result[0, 0].tolist() == [151, 100, 49]
    assert texts(figure)[1].get_text() == "±0.2"


def test_two_images_a_row_within_the_figure():
    figure = adversarial_rows(GREY, GREY, LINES, LINES)
    boxes = [image.get_extent() for image in figure.axes[0].images]
    assert len({box[3] for box in boxes}) == 2
    assert max(box[1] for box in boxes) <= figure.axes[0].get_xlim()[1]
    assert max(box[2] for box in boxes) < figure.axes[0].get_ylim()[0]


@pytest.mark.parametrize(
    ("images", "changed", "before", "options", "message"),
    [
        (GREY[:0], GREY[:0], [], {}, r"images and changed images of one shape, got \(0, 4, 5, 1\) and"),
        (GREY, GREY[:2], LINES, {}, r"images and changed images of one shape, got .* and \(2, 4, 5, 1\)"),
        (GREY, GREY, LINES[:2], {}, r"3 lines before and after, got \[2, 3, 3\]"),
        (GREY, GREY, LINES, {"fooled": [True]}, r"3 lines before and after, got \[3, 3, 1\]"),
        (GREY, GREY, LINES, {"across": 0}, r"at least one image a row, got 0"),
        (GREY, 3 * GREY, LINES, {}, r"floats in \[0, 1\], got \[0, 1\.5\]"),
    ],
)
def test_refuses(images, changed, before, options, message):
    with pytest.raises(ValueError, match=f"^adversarial_rows: expected {message}"):
        adversarial_rows(images, changed, before, LINES[: len(images)], **options)

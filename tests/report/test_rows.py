import numpy as np
import pytest

from jaxcnn import report

ROWS = {
    "blur": np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3),
    "flip": np.arange(2 * 4 * 8, dtype=np.uint8).reshape(2, 4, 8, 1),
}
CAPTIONS = {"blur": ["original", "1", "2"], "flip": ["original", "yes"]}


def test_image_rows_show_every_image_under_the_name_of_its_row():
    (axes,) = report.image_rows(ROWS, CAPTIONS).axes
    drawn = [np.asarray(image.get_array()) for image in axes.images]
    np.testing.assert_array_equal(drawn[:3], ROWS["blur"])
    np.testing.assert_array_equal(drawn[3:], np.broadcast_to(ROWS["flip"], (2, 4, 8, 3)))
    assert [text.get_text() for text in axes.texts] == ["blur", *CAPTIONS["blur"], "flip", *CAPTIONS["flip"]]
    heights = [text.get_position()[1] for text in axes.texts]
    lefts, rights, bottoms, tops = zip(*(image.get_extent() for image in axes.images), strict=True)
    assert heights[0] < tops[0] == tops[2] < bottoms[0] < heights[1] < heights[4] < tops[3] == tops[4] < heights[5]
    assert heights[5] < axes.get_ylim()[0]
    assert lefts[0] == lefts[3] < rights[0] < lefts[1] == lefts[4]
    assert (rights[4] - lefts[4]) / (bottoms[4] - tops[4]) == pytest.approx(2)


def test_image_rows_need_no_captions():
    assert [text.get_text() for text in report.image_rows(ROWS).axes[0].texts] == ["blur", "flip"]


@pytest.mark.parametrize(
    ("rows", "captions", "message"),
    [
        ({}, None, r"^image_rows: expected rows of at least one image, got \{\}\. "),
        ({"a": np.zeros((0, 2, 2))}, None, r"^image_rows: expected rows of at least one image, got \{'a': 0\}\. "),
        ({"a": np.zeros((2, 2))}, None, "^image_rows: expected images "),
        (ROWS, {**CAPTIONS, "flip": ["one"]}, "^image_rows: expected captions for .*'flip': 2.*, got .*'flip': 1"),
        (ROWS, {"blur": CAPTIONS["blur"]}, "^image_rows: expected captions for "),
    ],
)
def test_image_rows_refuse(rows, captions, message):
    with pytest.raises(ValueError, match=message):
        report.image_rows(rows, captions)


def test_image_rows_refuse_integers():
    with pytest.raises(TypeError, match=r"^image_rows: expected uint8 or floating images, got int64\. "):
        report.image_rows({"a": np.zeros((1, 2, 2), np.int64)})

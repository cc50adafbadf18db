import numpy as np
import pytest

from jaxcnn import report
from jaxcnn.report.annotated import VEIL
from tests.report.figures import lines

IMAGE = np.full((10, 20, 3), 0.5, np.float32)
MASK = np.zeros((10, 20), np.int32)
MASK[2:4, 6:9] = 3
EXAMPLE = {
    "image": IMAGE,
    "mask": MASK,
    "boxes": np.array([[6.0, 2.0, 9.0, 4.0], [0.0, 0.0, 0.0, 0.0]]),
    "keypoints": np.array([[6.5, 2.5], [-1.0, 3.0], [25.0, 3.0]]),
    "label": 1,
}


def in_pixels(image, points):
    left, right, bottom, top = image.get_extent()
    return (points - (left, top)) / ((right - left) / 20, (bottom - top) / 10)


@pytest.mark.parametrize("place", [0, 1])
def test_annotated_draws_boxes_and_points_where_they_lie_in_the_image(place):
    examples = [{"image": IMAGE}] * place + [EXAMPLE]
    (axes,) = report.annotated(examples, ["plain", "full"][-len(examples) :], columns=2).axes
    image, veil = axes.images[place:]
    assert image.get_extent() == veil.get_extent()
    shown = np.asarray(veil.get_array())
    assert (shown[MASK == 0] == VEIL).all()
    assert (shown[MASK != 0, 3] == 0).all()
    outlines = lines(axes, "box")
    assert len(outlines) == 2  # dark and pale, and none for the box without area
    for outline in outlines:
        np.testing.assert_allclose(in_pixels(image, outline), [[6, 2], [9, 2], [9, 4], [6, 4], [6, 2]], atol=1e-6)
    (points,) = lines(axes, "keypoints")
    np.testing.assert_allclose(in_pixels(image, points), [[6.5, 2.5]], atol=1e-6)
    assert axes.texts[-1].get_text() == "full"


def test_annotated_goes_on_in_the_next_row():
    (axes,) = report.annotated([{"image": IMAGE}] * 3, columns=2).axes
    lefts, _, bottoms, tops = zip(*(image.get_extent() for image in axes.images), strict=True)
    assert lefts[0] == lefts[2] < lefts[1]
    assert tops[0] == tops[1] < bottoms[0] < tops[2]
    assert not axes.texts
    assert not axes.lines


@pytest.mark.parametrize(
    ("examples", "options", "message"),
    [
        ([], {}, "^annotated: expected at least one example, got none"),
        ([EXAMPLE], {"columns": 0}, "^annotated: expected at least one column, got 0"),
        ([{"boxes": 1}], {}, r"^annotated: expected examples with an \"image\", got \['boxes'\]"),
        ([EXAMPLE, {"image": IMAGE[:5]}], {}, "^annotated: expected images of one shape, got "),
        ([{**EXAMPLE, "mask": MASK[1:]}], {}, r"^annotated: expected mask of shape \(10, 20\), got \(9, 20\)"),
        ([{**EXAMPLE, "boxes": np.zeros((2, 3))}], {}, r"^annotated: expected boxes of shape \(K, 4\), got \(2, 3\)"),
        ([{**EXAMPLE, "keypoints": np.zeros(2)}], {}, r"^annotated: expected keypoints of shape \(K, 2\), got \(2,\)"),
        ([EXAMPLE], {"titles": ["a", "b"]}, "^annotated: expected 1 titles, got 2"),
        ([{"image": 2 * IMAGE + 1}], {}, r"^annotated: expected floats in \[0, 1\]"),
    ],
)
def test_annotated_refuses(examples, options, message):
    with pytest.raises(ValueError, match=message):
        report.annotated(examples, **options)


def test_annotated_refuses_integers():
    with pytest.raises(TypeError, match=r"^annotated: expected uint8 or floating images, got int64\. "):
        report.annotated([{"image": np.zeros((2, 2, 3), np.int64)}])

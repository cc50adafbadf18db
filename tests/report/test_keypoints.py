"""Points on images, each beside the true one."""

import numpy as np
import pytest

from jaxcnn import report
from jaxcnn.report.canvas import BLUE, ORANGE

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 8, 16, 3), np.uint8)
TRUTH = np.array([[[4.0, 4.0]], [[0.0, 0.0]]])
FOUND = np.array([[[6.0, 4.0]], [[-5.0, 2.0]]])


def test_points_and_boxes_are_drawn_where_they_are():
    boxes = np.array([[2.0, 2, 8, 6], [0, 0, 16, 8]])
    axes = report.keypoints(IMAGES, TRUTH, FOUND, ["a", "b"], true_boxes=boxes, found_boxes=boxes + 1).axes[0]
    left, right, bottom, top = axes.images[0].get_extent()
    scale = (right - left) / 16
    assert (bottom - top) / 8 == pytest.approx(scale)
    true, found, line, ring, dot = axes.lines[:5]
    assert (true.get_linestyle(), found.get_linestyle()) == ("--", "-")
    assert (true.get_color(), found.get_color()) == (BLUE, ORANGE)
    np.testing.assert_allclose(true.get_xdata()[:2], left + scale * np.array([2, 8]))
    np.testing.assert_allclose([ring.get_xdata()[0], ring.get_ydata()[0]], [left + 4 * scale, top + 4 * scale])
    np.testing.assert_allclose(dot.get_xdata()[0], left + 6 * scale)
    np.testing.assert_allclose(line.get_xdata(), left + scale * np.array([4, 6]))
    assert (ring.get_markeredgecolor(), dot.get_color()) == (BLUE, ORANGE)
    beyond = axes.lines[9]
    np.testing.assert_allclose(beyond.get_xdata()[0], axes.images[1].get_extent()[0])  # on the frame
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert len(report.keypoints(IMAGES, TRUTH, FOUND).axes[0].lines) == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: report.keypoints(IMAGES[:0], TRUTH[:0], FOUND[:0]), "expected at least one image"),
        (lambda: report.keypoints(IMAGES, TRUTH[:1], FOUND), r"expected points \(2, K, 2\), true and found"),
        (lambda: report.keypoints(IMAGES, TRUTH, FOUND[..., 0]), r"got \(2, 1, 2\) and \(2, 1\)"),
        (lambda: report.keypoints(IMAGES, TRUTH, FOUND, true_boxes=np.zeros((1, 4))), r"expected boxes \(2, 4\)"),
        (lambda: report.keypoints(IMAGES, TRUTH, FOUND, ["a"]), "expected 2 captions or none, got 1"),
        (lambda: report.keypoints(IMAGES, TRUTH, FOUND, columns=0), "expected at least one column, got 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^keypoints: {message}|^keypoints: .*{message}"):
        call()

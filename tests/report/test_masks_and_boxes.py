"""Masks and boxes beside the images that they are of."""

import numpy as np
import pytest

from jaxcnn import report
from jaxcnn.report.masks import COLOURS

NAMES = ("ground", "disc", "ring")
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
TRUTH = np.zeros((3, 8, 8), np.int32)
TRUTH[0, :4], TRUTH[1, 2:4] = 1, 2
EMPTY = {"boxes": np.zeros((0, 4)), "score": np.zeros(0), "box_class": np.zeros(0, int)}  # nothing found


def tiles(figure):
    """Return the pictures of the board, from its images."""
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def rgb(colour):
    return list(bytes.fromhex(colour[1:]))


def test_masks_are_painted_in_the_colours_of_their_classes():
    found = TRUTH.copy()
    found[0, 0, 0] = 7  # no class
    figure = report.masks(IMAGES, TRUTH, found, NAMES, ["a", "b", "c"])
    pictures = tiles(figure)
    assert len(pictures) == 9
    np.testing.assert_array_equal(pictures[0], IMAGES[0])
    assert pictures[1][0, 0].tolist() == rgb(COLOURS[1])
    assert pictures[1][7, 7].tolist() == rgb(COLOURS[0])
    assert pictures[4][2, 0].tolist() == rgb(COLOURS[2])
    assert pictures[2][0, 0].tolist() == [255, 0, 255]
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"a", "b", "c", "ground", "disc", "ring", "image", "truth", "found"} == set(words)


def test_the_legend_has_the_classes_that_are_there():
    words = [text.get_text() for text in report.masks(IMAGES[:1], TRUTH[:1], TRUTH[:1], NAMES).axes[0].texts]
    assert "disc" in words
    assert "ring" not in words


def boxes_of(*rows):
    return {
        "boxes": np.array([row[:4] for row in rows], float).reshape(-1, 4),
        "box_class": np.array([r[4] for r in rows]),
    }


def test_true_boxes_are_dashed_and_found_ones_have_class_and_score():
    truth = [boxes_of((0, 0, 4, 4, 1), (0, 0, 0, 0, -1)), boxes_of()]
    found = [
        {
            "boxes": np.array([[1.0, 1, 20, 5], [0, 0, 1, 1]]),
            "score": np.array([0.876, 0.1]),
            "box_class": np.array([2, -1]),
        },
        EMPTY,
    ]
    axes = report.boxes(IMAGES[:2], truth, found, NAMES).axes[0]
    assert [line.get_linestyle() for line in axes.lines] == ["--", "-"]
    assert [text.get_text() for text in axes.texts] == ["ring 0.88"]
    side = axes.images[0].get_extent()[1] - axes.images[0].get_extent()[0]
    assert max(axes.lines[1].get_xdata()) <= side + 1e-6  # cut off at the image


def test_many_boxes_have_the_colours_of_their_classes_and_no_words():
    rows = [(0, 0, 4, 4, 1)] * 8 + [(2, 2, 6, 6, 2)] * 4
    truth = [boxes_of(*rows), boxes_of()]
    found = [
        EMPTY,
        {"boxes": np.array([[1.0, 1, 5, 5]]), "score": np.array([0.876]), "box_class": np.array([2])},
    ]
    axes = report.boxes(IMAGES[:2], truth, found, NAMES).axes[0]
    assert [text.get_text() for text in axes.texts] == [str(NAMES[1]), str(NAMES[2])]  # the legend alone
    colours = [line.get_color() for line in axes.lines]
    assert len(set(colours[:8])) == 1 and len(set(colours)) == 2
    assert colours[8] == colours[12]  # the found one is of the class of the last true ones
    assert [line.get_linestyle() for line in axes.lines] == ["--"] * 12 + ["-"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: report.masks(IMAGES[:0], TRUTH[:0], TRUTH[:0], NAMES), ValueError, "^masks: expected at least one"),
        (
            lambda: report.masks(IMAGES, TRUTH[:2], TRUTH, NAMES),
            ValueError,
            r"^masks: expected truth of shape \(3, 8, 8\)",
        ),
        (lambda: report.masks(IMAGES, TRUTH, TRUTH * 1.0, NAMES), TypeError, "^masks: expected found as integers"),
        (lambda: report.masks(IMAGES, TRUTH, TRUTH, NAMES, ["a"]), ValueError, "^masks: expected 3 captions or none"),
        (
            lambda: report.boxes(IMAGES, [], [], NAMES),
            ValueError,
            "^boxes: expected 3 truths, finds, and captions or none",
        ),
        (
            lambda: report.boxes(IMAGES[:1], [boxes_of()], [EMPTY], NAMES, columns=0),
            ValueError,
            "^boxes: expected at least one column, got 0",
        ),
        (
            lambda: report.boxes(IMAGES[:1], [boxes_of((0, 0, 2, 2, 3))], [EMPTY], NAMES),
            ValueError,
            r"^boxes: expected classes in 0\.\.2, got 3\. Name every class",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()

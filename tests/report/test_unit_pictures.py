"""Pictures of units and of embeddings: patches, class means, points."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from jaxcnn import report
from tests.report.figures import words

PATCHES = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 5, 1), np.uint8)
VALUES = np.array([[4.0, 3.0, 2.0, 1.5], [1.0, 0.5, 0.25, 0.0], [0.0] * 4])
NAMES = ["unit 3\ncat, 0.9", "unit 5", "unit 7"]


def test_patches_stand_in_a_row_for_each_unit():
    figure = report.unit_patches(PATCHES, VALUES, NAMES)
    images = figure.axes[0].images
    for image, patch in zip(images, PATCHES[:2].reshape(8, 5, 5, 1), strict=True):
        np.testing.assert_array_equal(np.asarray(image.get_array()), np.broadcast_to(patch, (5, 5, 3)))
    tops = [image.get_extent()[3] for image in images]
    assert len(set(tops[:4])) == len(set(tops[4:])) == 1
    assert tops[0] < tops[4]
    found = words(figure)
    expected = ["unit 3", "cat, 0.9", "4", "3", "2", "1.5", "unit 5", "", "1", "0.5", "0.25", "0"]
    assert found == [*expected, "unit 7", "", "no patch excites it"]
    assert max(image.get_extent()[2] for image in images) < figure.axes[0].get_ylim()[0]


def test_patches_may_have_captions():
    captions = [["a", "b", "c", "d"]] * 3
    assert words(report.unit_patches(PATCHES, VALUES, NAMES, captions))[2:6] == ["4", "a", "3", "b"]


@pytest.mark.parametrize(
    ("patches", "values", "names", "captions", "message"),
    [
        (PATCHES[0, 0], VALUES, NAMES, None, r"^unit_patches: expected patches \(units, count, h, w, c\), got "),
        (PATCHES[:0], VALUES[:0], [], None, "^unit_patches: expected patches"),
        (PATCHES, VALUES[:2], NAMES, None, r"^unit_patches: expected values \(3, 4\), got \(2, 4\)\. "),
        (PATCHES, VALUES, NAMES[:1], None, "^unit_patches: expected 3 names, got 1. "),
        (PATCHES, VALUES, NAMES, [["a"]] * 3, r"^unit_patches: expected 3 rows of 4 captions, got \[1, 1, 1\]\. "),
    ],
)
def test_patches_refuse(patches, values, names, captions, message):
    with pytest.raises(ValueError, match=message):
        report.unit_patches(patches, values, names, captions)


def test_class_means_are_sorted_into_a_staircase():
    means = np.array([[0.0, 2.0, 0.0, 1.0, -1.0], [4.0, 0.0, 0.0, 0.25, -2.0], [1.0, 1.0, 8.0, 0.0, 0.0]])
    figure = report.class_means(means, ["a", "b", "c"], title="act1")
    (image,) = figure.axes[0].images
    shade = np.asarray(image.get_array())[..., 3] / 0.95
    # Of class a the more selective unit first, then b, c, and the one that never answers.
    np.testing.assert_allclose(shade, [[1, 1, 0, 0, 0], [0.25, 0, 1, 0, 0], [0, 0.5, 0.25, 1, 0]], atol=1e-6)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]
    assert figure.axes[0].get_title(loc="right").endswith("1 answer to none")
    assert figure.axes[0].get_title(loc="left") == "act1"


def test_a_class_without_a_mean_is_magenta():
    means = np.array([[1.0, 2.0], [np.nan, np.nan]])
    (image,) = report.class_means(means).axes[0].images
    np.testing.assert_allclose(np.asarray(image.get_array())[1], [[1, 0, 1, 1]] * 2)


def test_class_means_refuse():
    with pytest.raises(ValueError, match=r"^class_means: expected means \(classes, units\), got \(3,\)\. "):
        report.class_means(np.ones(3))
    with pytest.raises(ValueError, match=r"^class_means: expected 2 class names, got 1\. "):
        report.class_means(np.ones((2, 3)), ["a"])


def points_of(axes) -> dict:
    found: dict = {}
    for line in axes.lines:
        found.setdefault((to_hex(line.get_color()), line.get_marker()), []).append(np.stack(line.get_data(), 1))
    return {look: np.concatenate(parts) for look, parts in found.items()}


def test_points_have_the_look_of_their_class():
    draw = np.random.default_rng(0)
    points, labels = draw.normal(size=(100, 2)), draw.integers(0, 12, 100)
    figure = report.embedding_scatter(points, labels, axes_names=("PC 1", "PC 2"))
    (axes,) = figure.axes
    found = points_of(axes)
    assert len(found) == 12
    (legend,) = figure.legends
    pairs = zip(legend.get_texts(), legend.legend_handles, strict=True)
    named = {text.get_text(): (to_hex(handle.get_color()), handle.get_marker()) for text, handle in pairs}
    assert list(named) == [str(k) for k in range(12)]
    for k in range(12):
        each = found[named[str(k)]]
        np.testing.assert_allclose(each[np.lexsort(each.T)], points[labels == k][np.lexsort(points[labels == k].T)])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("PC 1", "PC 2")
    assert axes.get_aspect() == 1


def test_a_panel_for_each_layer():
    points = np.zeros((6, 2))
    panels = dict.fromkeys(("pixels", "act1", "act2"), points)
    figure = report.embedding_scatter(panels, np.arange(6) % 3, ["x", "y", "z"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["pixels", "act1", "act2", ""]
    assert [axes.axison for axes in figure.axes] == [True] * 3 + [False]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("points", "labels", "names", "message"),
    [
        (np.zeros((4, 3)), np.zeros(4, int), None, r"^embedding_scatter: expected finite points \(N, 2\), got "),
        (np.full((4, 2), np.nan), np.zeros(4, int), None, "^embedding_scatter: expected finite points"),
        (np.zeros((4, 2)), np.zeros(3, int), None, r"^embedding_scatter: expected labels \(4,\) from 0, got \(3,\)"),
        (np.zeros((4, 2)), np.array([0, 1, 2, 30]), None, "^embedding_scatter: expected labels of up to 30 classes"),
        (np.zeros((4, 2)), np.array([0, 1, 2, 3]), ["a"], "^embedding_scatter: expected labels of up to"),
        ({}, np.zeros(1, int), None, "^embedding_scatter: expected at least one panel"),
    ],
)
def test_points_refuse(points, labels, names, message):
    with pytest.raises(ValueError, match=message):
        report.embedding_scatter(points, labels, names)

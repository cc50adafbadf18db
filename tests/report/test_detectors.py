import numpy as np
import pytest

from jaxcnn import report


def row(count=2, side=4):
    on, concept = (np.zeros((count, side, side), bool) for _ in range(2))
    on[:, :2] = True
    concept[:1, 1:3, 1:3] = True
    return {"image": np.full((count, side, side, 3), 100, np.uint8), "on": on, "concept": concept}


def test_each_image_is_veiled_where_the_unit_is_off():
    figure = report.detectors([row(2), row(3)], ["unit 1", "unit 2"])
    tiles = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    assert [tile.shape[-1] for tile in tiles] == [3, 4] * 5
    for veil in tiles[1::2]:
        assert (veil[:2, :, 3] == 0).all()
        assert (veil[2:, :, 3] > 0).all()
    assert [text.get_text() for text in figure.axes[0].texts] == ["unit 1", "unit 2"]


def test_the_concepts_outline_has_the_edges_of_its_pixels():
    figure = report.detectors([row(1)], ["unit"])
    dark, line = (collection.get_segments() for collection in figure.axes[0].collections)
    assert len(dark) == len(line) == 8  # around two by two pixels
    lengths = [np.linalg.norm(end - start) for start, end in line]
    np.testing.assert_allclose(lengths, lengths[0])
    left, right, _, top = figure.axes[0].images[0].get_extent()
    points = (np.concatenate(line) - [left, top]) / (right - left) * 4
    assert points.min() == pytest.approx(1)
    assert points.max() == pytest.approx(3)


def test_a_concept_that_is_nowhere_has_no_outline():
    one = row(1)
    one["concept"][:] = False
    figure = report.detectors([one], ["unit"])
    assert all(len(collection.get_segments()) == 0 for collection in figure.axes[0].collections)


@pytest.mark.parametrize(
    ("rows", "titles", "message"),
    [
        ([], [], "detectors: expected at least one row, got none"),
        ([row()], [], "detectors: expected 1 titles, got 0"),
        (
            [row() | {"on": np.zeros((2, 4, 5), bool)}],
            ["a"],
            r"detectors: expected 'on' of shape \(2, 4, 4\), got \(2, 4, 5\)",
        ),
        ([row(0)], ["a"], "detectors: expected at least one image a row, got none"),
    ],
)
def test_refuses(rows, titles, message):
    with pytest.raises(ValueError, match=message):
        report.detectors(rows, titles)

import numpy as np
import pytest

from jaxcnn import report

VALUES = np.array([[1.0, 0.25, -0.1], [0.5, np.nan, 2.0]])


def test_heat_map_shades_cells_by_their_place_between_the_limits():
    (axes,) = report.heat_map(VALUES, ["a", "b"], ["x", "y", "z"], of_rows="one", of_columns="other").axes
    (image,) = axes.images
    opacity = np.asarray(image.get_array())[..., 3]
    np.testing.assert_allclose(opacity, 0.95 * np.array([[1, 0.25, 0], [0.5, 0, 1]]))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("one", "other")
    words = {text.get_position(): text.get_text() for text in axes.texts}
    assert words == {(0, 0): "1.00", (1, 0): "0.25", (2, 0): "-0.10", (0, 1): "0.50", (1, 1): "×", (2, 1): "2.00"}


def test_heat_map_has_its_own_limits_and_leaves_numbers_out_of_small_cells():
    (axes,) = report.heat_map(VALUES, ["a", "b"], ["x", "y", "z"], limits=(-1, 3), decimals=1).axes
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array())[..., 3][0], 0.95 * np.array([0.5, 0.3125, 0.225]))
    assert axes.texts[0].get_text() == "1.0"
    many = np.zeros((2, 13))
    many[1, 3] = np.inf
    (axes,) = report.heat_map(many, ["a", "b"], [f"layer{n}" for n in range(13)]).axes
    assert [text.get_text() for text in axes.texts] == ["×"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros(3)}, r"^heat_map: expected values \(n, m\), at most 60 a side, got \(3,\)"),
        ({"values": np.zeros((0, 3)), "rows": []}, r"^heat_map: expected values \(n, m\)"),
        ({"values": np.zeros((61, 3))}, r"^heat_map: expected values \(n, m\), at most 60 a side, got \(61, 3\)"),
        ({"rows": ["a"]}, r"^heat_map: expected names of \(2, 3\) rows and columns, got \(1, 3\)"),
        ({"limits": (1, 0)}, r"^heat_map: expected limits \(low, high\), got \(1, 0\)"),
    ],
)
def test_heat_map_refuses(change, message):
    given = {"values": VALUES, "rows": ["a", "b"], "columns": ["x", "y", "z"]} | change
    with pytest.raises(ValueError, match=message):
        report.heat_map(given.pop("values"), given.pop("rows"), given.pop("columns"), **given)

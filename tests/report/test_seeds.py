import numpy as np
import pytest

from jaxcnn import report
from tests.report.figures import lines

VALUES = {"none": [80.0, 82.0, 84.0], "flip": [85.0]}


def test_seed_dots_draw_every_seed_the_mean_and_the_deviation():
    (axes,) = report.seed_dots(VALUES, quantity="accuracy, %", reference="none", decimals=1).axes
    none, flip = lines(axes, "seed")
    np.testing.assert_array_equal(none[:, 0], VALUES["none"])
    np.testing.assert_array_equal(flip[:, 0], VALUES["flip"])
    assert (np.rint(none[:, 1]) == 0).all()
    assert len(set(none[:, 1])) == 3
    np.testing.assert_array_equal([mean[0] for mean in lines(axes, "mean")], [[82, 0], [85, 1]])
    (deviation,) = lines(axes, "sd")  # one seed has none
    np.testing.assert_allclose(deviation, [[80, 0], [84, 0]])
    (reference,) = lines(axes, "reference")
    assert reference[:, 0].tolist() == [82, 82]
    assert [text.get_text() for text in axes.texts] == ["82.0 ± 2.0", "85.0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["none", "flip"]
    assert axes.get_ylim()[0] > 1 > 0 > axes.get_ylim()[1]  # the first group on top
    assert axes.get_xlabel() == "accuracy, %"


@pytest.mark.parametrize(
    ("values", "reference", "message"),
    [
        ({}, None, r"^seed_dots: expected finite numbers in every group, got \{\}"),
        ({"a": []}, None, "^seed_dots: expected finite numbers in every group"),
        ({"a": [1.0, np.nan]}, None, "^seed_dots: expected finite numbers in every group"),
        (VALUES, "crop", r"^seed_dots: expected reference as one of \['none', 'flip'\], got 'crop'"),
    ],
)
def test_seed_dots_refuse(values, reference, message):
    with pytest.raises(ValueError, match=message):
        report.seed_dots(values, reference=reference)

import numpy as np
import pytest

from jaxcnn.report.robustness_curves import robustness_curves

SIZES = [0.0, 0.1, 0.3]
LINES = {"noise": [0.9, 0.9, 0.8], "PGD": np.array([0.9, 0.1, 0.0])}


def test_a_line_for_each_attack_in_percent():
    figure = robustness_curves(SIZES, LINES, points={"all of them": (0.1, 0.05)}, quantity="largest change")
    (axes,) = figure.axes
    noise, pgd, point = axes.lines
    np.testing.assert_allclose(noise.get_xydata(), np.stack([SIZES, [90, 90, 80]], 1))
    np.testing.assert_allclose(pgd.get_ydata(), [90, 10, 0])
    np.testing.assert_allclose(point.get_xydata(), [[0.1, 5]])
    assert noise.get_color() != pgd.get_color()
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["noise", "PGD", "all of them: 5.0 % at 0.1"]
    assert axes.get_xlabel() == "largest change"
    assert axes.get_ylim()[0] < 0 < 100 < axes.get_ylim()[1]


@pytest.mark.parametrize(
    ("sizes", "lines", "points", "message"),
    [
        ([0.1], {"a": [1.0]}, {}, r"two rising sizes or more, got \(1,\)\. Sort them"),
        ([0.1, 0.1], {"a": [1.0, 1.0]}, {}, "two rising sizes or more"),
        ([-0.1, 0.1], {"a": [1.0, 1.0]}, {}, "two rising sizes or more"),
        (SIZES, {}, {}, r"1 to 12 attacks, got 0\."),
        (SIZES, {"a": [1.0, 1.0]}, {}, r"3 accuracies in \[0, 1\] at 'a'"),
        (SIZES, {"a": [1.0, 1.0, 98.0]}, {}, r"3 accuracies in \[0, 1\] at 'a'.*Divide percentages by 100\."),
        (SIZES, {"a": [1.0, np.nan, 0.0]}, {}, r"3 accuracies in \[0, 1\] at 'a'"),
        (SIZES, LINES, {"b": (0.1, 2.0)}, r"1 accuracies in \[0, 1\] at 'b'"),
    ],
)
def test_refuses(sizes, lines, points, message):
    with pytest.raises(ValueError, match=f"^robustness_curves: expected {message}"):
        robustness_curves(sizes, lines, points=points)

import numpy as np
import pytest

from jaxcnn import report
from tests.report.figures import lines

NETS = {"trained": {"conv1": [80.0, 84.0], "head": [97.0, 98.0]}, "untrained": {"conv1": [79.0], "head": [np.nan]}}


def test_by_layer_draws_a_line_a_net_with_the_first_layer_on_top():
    (axes,) = report.by_layer(NETS, quantity="accuracy, %", decimals=1).axes
    (trained,), (untrained,) = lines(axes, "trained"), lines(axes, "untrained")
    np.testing.assert_allclose(trained[:, 0], [82, 97.5])
    np.testing.assert_allclose(untrained[:, 0], [79])  # what is not finite is left out
    assert np.rint(trained[:, 1]).tolist() == [0, 1]
    assert trained[0, 1] != untrained[0, 1]
    first, second = lines(axes, "sd")
    np.testing.assert_allclose(first[:, 0], 82 + np.sqrt(8) * np.array([-1, 1]))
    np.testing.assert_allclose(second[:, 0], 97.5 + np.sqrt(0.5) * np.array([-1, 1]))
    assert [text.get_text() for text in axes.texts] == ["82.0", "97.5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["conv1", "head"]
    assert axes.get_ylim()[0] > 1 > 0 > axes.get_ylim()[1]
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["trained", "untrained"]
    assert axes.get_xlabel() == "accuracy, %"


def test_by_layer_takes_nets_of_other_layers():
    (axes,) = report.by_layer({"a": {"one": [1]}, "b": {"two": [2]}}, quantity="").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert [text.get_text() for text in axes.texts] == ["1.000", "–"]


@pytest.mark.parametrize(
    ("nets", "message"),
    [
        ({}, "^by_layer: expected 1 to 5 nets, got 0"),
        ({str(n): {"a": [1]} for n in range(6)}, "^by_layer: expected 1 to 5 nets, got 6"),
        ({"a": {}}, "^by_layer: expected 1 to 60 layers, got 0"),
        ({"a": {"conv": []}}, r"^by_layer: expected a number of every layer, got none of \[\('a', 'conv'\)\]"),
    ],
)
def test_by_layer_refuses(nets, message):
    with pytest.raises(ValueError, match=message):
        report.by_layer(nets, quantity="x")

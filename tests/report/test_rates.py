import numpy as np
import pytest

from jaxcnn import report

RATES = np.geomspace(1e-5, 10, 50)
LOSSES = 2.3 - 2 * np.exp(-((np.log10(RATES) + 2) ** 2)) + RATES**4


def test_learning_rates_draw_the_losses_and_mark_the_suggestion():
    (axes,) = report.learning_rates(RATES, LOSSES, 3e-3).axes
    loss, suggestion = axes.lines
    np.testing.assert_array_equal(loss.get_xydata(), np.stack([RATES, LOSSES], axis=1))
    assert axes.get_xscale() == "log"
    assert list(suggestion.get_xdata()) == [3e-3, 3e-3]
    assert [text.get_text() for text in axes.texts] == ["suggestion 0.003"]


def test_learning_rates_are_not_flattened_by_the_explosion():
    (axes,) = report.learning_rates(RATES, LOSSES).axes
    low, high = axes.get_ylim()
    assert low < LOSSES.min()
    assert LOSSES[0] < high < 5 < LOSSES.max()


def test_learning_rates_mark_losses_that_are_not_finite():
    losses = LOSSES.copy()
    losses[-3:] = np.nan, np.inf, -np.inf
    (axes,) = report.learning_rates(RATES, losses).axes
    assert [line.get_xdata().tolist() for line in axes.lines if line.get_label() == "not finite"] == [
        RATES[-3:].tolist()
    ]
    assert axes.get_title("right") == "× not finite"
    report.learning_rates(RATES, np.full(50, np.nan)).draw_without_rendering()


@pytest.mark.parametrize(
    ("rates", "losses", "message"),
    [
        (RATES, LOSSES[:3], r"learning_rates: expected rates and losses of one length \(n,\), got \(50,\) and \(3,\)"),
        ([], [], "learning_rates: expected rates and losses of one length"),
        ([0.0, 1.0], [1.0, 1.0], "learning_rates: expected positive rates, got 0.0"),
    ],
)
def test_learning_rates_refuse(rates, losses, message):
    with pytest.raises(ValueError, match=message):
        report.learning_rates(rates, losses)

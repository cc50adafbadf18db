import numpy as np
import pytest

from jaxcnn import report

HISTORY = [
    {
        "epoch": epoch,
        "train_loss": 2.0 / epoch,
        "train_accuracy": 0.1 * epoch,
        "validation_loss": 2.0 / epoch + 0.05 * epoch,
        "validation_accuracy": 0.09 * epoch,
        "learning_rate": 0.1 / epoch,
    }
    for epoch in range(1, 10)
]
BEST = min(HISTORY, key=lambda row: row["validation_loss"])


def lines(axes) -> dict:
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def with_values(**columns):
    return [
        {"epoch": epoch, **dict(zip(columns, row, strict=True))}
        for epoch, row in enumerate(zip(*columns.values(), strict=True), 1)
    ]


def test_curves_draw_the_history_a_panel_a_quantity():
    loss, accuracy = report.curves(HISTORY).axes
    assert (loss.get_title("left"), accuracy.get_title("left")) == ("loss", "accuracy")
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        for label, part in (("training", "train"), ("validation", "validation")):
            line = lines(axes)[label]
            np.testing.assert_array_equal(line.get_xdata(), range(1, 10))
            np.testing.assert_array_equal(line.get_ydata(), [row[f"{part}_{name}"] for row in HISTORY])


def test_curves_mark_the_epoch_of_the_smallest_validation_loss():
    for axes, key in zip(report.curves(HISTORY).axes, ("validation_loss", "validation_accuracy"), strict=True):
        dot = lines(axes)["best epoch"]
        assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([BEST["epoch"]], [BEST[key]])
        assert axes.get_title("right") == f"best epoch {BEST['epoch']}: {BEST[key]:.3g}"


def test_curves_mark_the_epoch_they_are_told():
    dot = lines(report.curves(HISTORY, best=3).axes[0])["best epoch"]
    assert list(dot.get_xdata()) == [3]


def test_curves_write_each_name_and_last_value_beside_its_line_without_overlap():
    axes = report.curves(HISTORY, names=["loss"]).axes[0]
    texts = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert set(texts) == {f"training {2 / 9:.3g}", f"validation {2 / 9 + 0.45:.3g}"}
    close = with_values(train_loss=[1.0, 0.5], validation_loss=[1.0, 0.5001])
    below, above = sorted(text.get_position()[1] for text in report.curves(close).axes[0].texts)
    assert above - below > 0.1


def test_curves_draw_a_quantity_under_its_own_name():
    (axes,) = report.curves(HISTORY, names=["learning_rate"]).axes
    (line,) = [line for line in axes.lines if len(line.get_xdata()) == len(HISTORY)]
    np.testing.assert_array_equal(line.get_ydata(), [row["learning_rate"] for row in HISTORY])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_curves_break_and_mark_epochs_that_are_not_finite(bad):
    history = with_values(train_loss=[3.0, 2.0, bad, 1.0], validation_loss=[bad, 2.0, 1.0, 1.5])
    axes = report.curves(history).axes[0]
    assert np.isnan(lines(axes)["training"].get_ydata()).tolist() == [False, False, True, False]
    crosses = [line.get_xdata().tolist() for line in axes.lines if line.get_label() == "not finite"]
    assert crosses == [[3], [1]]
    assert axes.get_title("right") == "best epoch 3: 1 · × not finite"


def test_curves_of_a_run_that_was_never_finite_are_all_crosses():
    figure = report.curves(with_values(train_loss=[np.nan, np.inf], validation_loss=[np.nan, np.nan]))
    assert [line.get_label() for line in figure.axes[0].lines].count("not finite") == 2
    assert figure.axes[0].get_title("right") == "× not finite"


def test_curves_skip_epochs_without_the_quantity():
    history = with_values(train_loss=[3.0, 2.0, 1.0], validation_loss=[2.5, None, 1.5])
    axes = report.curves(history).axes[0]
    np.testing.assert_array_equal(lines(axes)["validation"].get_xdata(), [1, 3])
    assert "not finite" not in lines(axes)


@pytest.mark.parametrize("epochs", [1, 2, 3, 30, 200])
def test_curves_count_epochs_in_whole_numbers(epochs):
    figure = report.curves(with_values(train_loss=[1.0 / epoch for epoch in range(1, epochs + 1)]))
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_xlim()
    ticks = [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == round(tick) for tick in ticks)


def test_curves_draw_a_loss_of_many_decades_on_a_logarithmic_scale():
    many = report.curves(with_values(train_loss=[3.0, 0.1, 0.001], train_accuracy=[0.0001, 0.5, 0.9]))
    assert [axes.get_yscale() for axes in many.axes] == ["log", "linear"]
    assert report.curves(HISTORY).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("history", "names", "message"),
    [
        ([], None, "curves: expected at least one epoch, got an empty history"),
        ([{"train_loss": 1.0}], None, 'curves: expected an "epoch" in every row'),
        ([{"epoch": 1}], None, "curves: expected at least one quantity to draw"),
        (HISTORY, ["lost"], "curves: expected a name from the history, got 'lost'. It holds epoch, learning_rate"),
    ],
)
def test_curves_refuse(history, names, message):
    with pytest.raises(ValueError, match=message):
        report.curves(history, names=names)

import numpy as np
import pytest

from jaxcnn import report

MATRIX = np.array([[50, 3, 0], [0, 40, 10], [0, 0, 7]])


def numbers(axes) -> dict:
    return {text.get_position(): text.get_text() for text in axes.texts}


def test_confusion_shows_the_counts_and_what_share_of_each_class_was_right():
    (axes,) = report.confusion(MATRIX, ["cat", "dog", "fox"]).axes
    shown = numbers(axes)
    for row in range(3):
        for column in range(3):
            words = shown.get((column, row), "0")  # x is the predicted class, y the true one
            assert words == str(MATRIX[row, column])
    assert [shown[2.7, row] for row in range(3)] == ["94%", "80%", "100%"]
    for axis in (axes.xaxis, axes.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == ["cat", "dog", "fox"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_confusion_shades_by_share_and_gives_mistakes_a_colour_of_their_own():
    cells = report.confusion(MATRIX).axes[0].images[0].get_array()
    opacity = cells[..., 3]
    np.testing.assert_allclose(np.diag(opacity), 0.95 * np.array([50 / 53, 0.8, 1.0]))
    assert opacity[1, 2] > opacity[0, 1] > opacity[1, 0] == 0
    assert cells[0, 0, 2] > cells[0, 0, 0]  # blue
    assert cells[1, 2, 0] > cells[1, 2, 2]  # orange


def test_confusion_of_a_good_classifier_is_not_alarming():
    one = np.diag([100, 100])
    one[0, 1] = 1
    assert report.confusion(one).axes[0].images[0].get_array()[0, 1, 3] < 0.3


def test_confusion_takes_shares_and_classes_without_examples():
    (axes,) = report.confusion(np.array([[0.25, 0.75], [0.0, 0.0]])).axes
    shown = numbers(axes)
    assert (shown[0, 0], shown[1, 0], shown[1.7, 1]) == ("0.25", "0.75", "–")


def test_confusion_of_many_classes_drops_numbers_then_names():
    some = report.confusion(np.eye(20, dtype=int)).axes[0]
    assert not some.texts
    assert len(some.get_xticks()) == 20
    many = report.confusion(np.eye(100, dtype=int)).axes[0]
    assert list(many.get_yticks()) == list(range(0, 100, 5))


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [
        (np.zeros((2, 3)), None, r"confusion: expected a matrix of shape \(n, n\), got \(2, 3\)"),
        (-np.eye(2), None, "confusion: expected counts of at least 0, got negative or non-finite ones"),
        (np.full((2, 2), np.nan), None, "confusion: expected counts of at least 0"),
        (np.eye(2), ["a"], "confusion: expected 2 class names, got 1"),
    ],
)
def test_confusion_refuses(matrix, names, message):
    with pytest.raises(ValueError, match=message):
        report.confusion(matrix, names)


def test_label_counts_draw_a_panel_of_bars_a_split():
    counts = {"train": np.array([1200, 30, 5]), "test": np.array([12, 3, 0])}
    figure = report.label_counts(counts, ["cat", "dog", "fox"])
    assert [axes.get_title("left") for axes in figure.axes] == ["train", "test"]
    for axes, expected in zip(figure.axes, counts.values(), strict=True):
        assert [bar.get_width() for bar in axes.patches] == expected.tolist()
        assert [text.get_text() for text in axes.texts] == [f"{number:,}" for number in expected]
        assert axes.get_xlabel() == f"{expected.sum():,} in all"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cat", "dog", "fox"]
    low, high = figure.axes[0].get_ylim()
    assert low > high  # the first class is on top


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, r"label_counts: expected counts of one shape \(n,\) for every split, got \[\]"),
        ({"train": np.zeros(2), "test": np.zeros(3)}, r"label_counts: expected counts of one shape"),
        ({"train": np.zeros((2, 2))}, "label_counts: expected counts of one shape"),
        ({"train": np.array([1, -1])}, "label_counts: expected counts of at least 0, got -1.0"),
    ],
)
def test_label_counts_refuse(counts, message):
    with pytest.raises(ValueError, match=message):
        report.label_counts(counts)

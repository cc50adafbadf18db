import itertools

import numpy as np
import pytest

from jaxcnn import report
from jaxcnn.report.embed import DARK
from jaxcnn.report.overlay import COLOURS, DASHES, LONGEST, MOST


def history(*values, first=1, name="train_loss"):
    return [{"epoch": epoch, name: value} for epoch, value in enumerate(values, first)]


def lines(axes, label="mean"):
    return [line for line in axes.lines if line.get_label() == label]


def legend(figure):
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_overlay_draws_runs_of_any_length_and_names_them_with_their_last_value():
    runs = {"short": [history(3.0, 2.0)], "long": [history(2.5, 1.5, 1.0, 0.5)]}
    figure = report.overlay(runs, "train_loss")
    (axes,) = figure.axes
    assert axes.get_title("left") == "train loss"
    for line, values in zip(lines(axes), ([3.0, 2.0], [2.5, 1.5, 1.0, 0.5]), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), range(1, 1 + len(values)))
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert legend(figure) == ["short: 2", "long: 0.5"]
    assert axes.get_xlim()[0] < 1 < 4 < axes.get_xlim()[1]
    figure.draw_without_rendering()
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_overlay_gives_each_run_one_look_whatever_it_holds():
    runs = {
        "first": [history(1.0, 2.0)],
        "without": [history(1.0, name="other")],
        "third": [history(1.0, 2.0)],
    }
    figure = report.overlay(runs, "train_loss")
    drawn = lines(figure.axes[0])
    assert [line.get_color() for line in drawn if len(line.get_xdata())] == [COLOURS[0], COLOURS[2]]
    assert legend(figure) == ["first: 2", "third: 2"]
    assert [line.get_color() for line in figure.legends[0].get_lines()] == [COLOURS[0], COLOURS[2]]


def test_overlay_has_a_look_for_as_many_runs_as_it_takes():
    runs = {str(number): [history(1.0, 2.0)] for number in range(MOST)}
    looks = [
        (line.get_color(), line._unscaled_dash_pattern) for line in lines(report.overlay(runs, "train_loss").axes[0])
    ]
    assert len(set(map(repr, looks))) == MOST
    assert len(set(DASHES)) == len(DASHES)


def test_overlay_draws_seeds_as_mean_and_band_and_what_some_have_beyond():
    runs = {"seeds": [history(1.0, 2.0, 3.0), history(3.0, 6.0, 5.0, 4.0, 3.0)]}
    figure = report.overlay(runs, "train_loss")
    (axes,) = figure.axes
    (mean,) = lines(axes)
    np.testing.assert_array_equal(mean.get_xydata(), [(1, 2.0), (2, 4.0), (3, 4.0)])
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    for epoch, middle, sd in ((1, 2.0, 2**0.5), (2, 4.0, 8**0.5), (3, 4.0, 2**0.5)):
        heights = corners[corners[:, 0] == epoch, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [middle - sd, middle + sd])
    (beyond,) = lines(axes, "beyond")
    np.testing.assert_array_equal(beyond.get_xydata(), [(3, 5.0), (4, 4.0), (5, 3.0)])
    assert legend(figure) == ["seeds: 4 ± 1.4"]
    assert axes.get_title("right") == "band: ± sd of seeds"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_overlay_breaks_and_marks_what_is_not_finite(bad):
    runs = {"sound": [history(2.0, 2.0, 1.0, 1.0, 1.0)], "broken": [history(2.0, bad, 3.0, bad, bad)]}
    figure = report.overlay(runs, "train_loss")
    (axes,) = figure.axes
    assert np.isnan(lines(axes)[1].get_ydata()).tolist() == [False, True, False, True, True]
    (crosses,) = lines(axes, "not finite")
    assert crosses.get_xdata().tolist() == [2, 4, 5]
    assert crosses.get_color() == COLOURS[1]
    # Points without a neighbour would not be seen as a line.
    assert [line.get_xdata().tolist() for line in lines(axes, "alone")] == [[], [1, 3]]
    assert legend(figure) == ["sound: 1", "broken: nan"]
    assert axes.get_title("right") == "× not finite"


def test_overlay_of_one_epoch_is_dots():
    figure = report.overlay({"a": [history(1.0)], "b": [history(2.0), history(4.0)]}, "train_loss")
    dots = [line.get_xydata().tolist() for line in lines(figure.axes[0], "alone")]
    assert dots == [[[1.0, 1.0]], [[1.0, 3.0]]]
    low, high = figure.axes[0].get_xlim()
    assert low < 1 < high


def test_overlay_of_runs_that_never_were_finite_is_crosses():
    figure = report.overlay({"a": [history(np.nan, np.inf)], "b": [history(np.nan)]}, "train_loss")
    assert len(lines(figure.axes[0], "not finite")) == 2


def test_overlay_has_a_logarithmic_scale_for_losses_of_many_decades():
    wide = {"a": [history(3.0, 0.001)], "b": [history(2.0)]}
    assert report.overlay(wide, "train_loss").axes[0].get_yscale() == "log"
    assert report.overlay({"a": [history(3.0, 0.01)]}, "train_loss").axes[0].get_yscale() == "linear"
    accuracy = {"a": [history(0.9, 0.0001, name="validation_accuracy")]}
    assert report.overlay(accuracy, "validation_accuracy").axes[0].get_yscale() == "linear"


def test_overlay_cuts_long_names_in_their_middle_and_reads_no_mathematics():
    long = "1 " + "x" * 200 + "-seed0"
    figure = report.overlay({long: [history(1.0)], r"$\2$" + "\n": [history(1.0)]}, "train_loss")
    first, second = legend(figure)
    assert first.startswith("1 xxx") and first.endswith("-seed0: 1") and "…" in first
    assert len(first) == LONGEST + len(": 1")
    assert second == "$\\2$\ufffd: 1"
    figure.draw_without_rendering()
    width = figure.get_size_inches()[0] * figure.dpi
    assert figure.legends[0].get_window_extent().x1 <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_are_seen_on_the_page_and_told_apart(scheme):
    """A contrast of 3 to 1 as for any graphic; apart in OKLab, also without one of the three kinds of cones."""
    shown = [DARK.get(colour, colour) if scheme == "dark" else colour for colour in COLOURS]
    paper = luminance(DARK["#ffffff"] if scheme == "dark" else "#ffffff")
    for colour in shown:
        ratio = (max(luminance(colour), paper) + 0.05) / (min(luminance(colour), paper) + 0.05)
        assert ratio > 3, colour
    for sight in SIGHTS.values():
        seen = [oklab(np.clip(sight @ linear(colour), 0, 1)) for colour in shown]
        for (one, a), (other, b) in itertools.combinations(zip(shown, seen, strict=True), 2):
            assert np.linalg.norm(a - b) > 0.1, (one, other)


# Linear RGB as seen without one kind of cone: Machado, Oliveira and Fernandes, "A Physiologically-based Model for
# Simulation of Color Vision Deficiency" (2009), table 1, severity 1.
SIGHTS = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear(colour):
    value = np.array(list(bytes.fromhex(colour.removeprefix("#")))) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return np.array([0.2126, 0.7152, 0.0722]) @ linear(colour)


def oklab(rgb):
    """Return the coordinates of Ottosson's OKLab."""
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return lab @ np.cbrt(cones @ rgb)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({}, "^overlay: expected 1 to 12 runs, got 0"),
        ({str(n): [history(1.0)] for n in range(13)}, "^overlay: expected 1 to 12 runs, got 13"),
        ({"a": []}, r"^overlay: expected a history of every run, got none of \['a'\]"),
        ({"a": [history(1.0, name="x")]}, "^overlay: expected a quantity .*, got 'train_loss'. They hold epoch, x."),
    ],
)
def test_overlay_refuses(runs, message):
    with pytest.raises(ValueError, match=message):
        report.overlay(runs, "train_loss")

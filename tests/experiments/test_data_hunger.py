"""The experiment on data hunger: what it measures, what it promises and what it says."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import data_hunger
from experiments.apparatus import few_images
from experiments.apparatus.lines import spread_lines
from experiments.data_hunger import Config, short
from jaxcnn import data

pytestmark = pytest.mark.usefixtures("quick_compilation", "two_stages")
SMALL = Config(
    dataset="digits", widths=(1, 2), per_class=(2, 8), held_out=50, test_images=100, seeds=2, steps=12, batch_size=20,
    rates=(0.1,),
)  # fmt: skip


def accuracy(seeds=3, **widths):
    """Return made-up accuracies by width, a little different from seed to seed."""
    wobble = 0.01 * np.arange(seeds)[:, None]
    return {int(name[1:]): np.array(values) + wobble for name, values in widths.items()}


@pytest.mark.slow  # CI runs it in the course
def test_a_small_run_is_json_and_its_figures_are_those_of_the_lanes(monkeypatch):
    result = data_hunger.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["accuracy"]) == ["1", "2"]
    # 3x3 kernels, scales and biases of 1 and 2 maps (or 2 and 4), and 9 places of the last to 10 classes.
    assert figures["parameters"] == {
        "1": 9 * (1 + 2) + 2 * 3 + 9 * 2 * 10 + 10,
        "2": 9 * (2 + 8) + 2 * 6 + 9 * 4 * 10 + 10,
    }
    for width in ("1", "2"):
        assert list(figures["accuracy"][width]) == ["2", "8"]
        assert all(0 <= value <= 1 for found in figures["accuracy"][width].values() for value in found["values"])
    widest, narrowest = (figures["accuracy"][width]["8"]["mean"] for width in ("2", "1"))
    assert figures["widest_over_narrowest"]["8"]["mean"] == pytest.approx(widest - narrowest)
    assert "digits, widths 1, 2 (223, 472 parameters), 2 seeds" in result.verdict
    (section,) = result.pictures
    assert [line.get_xdata().tolist() for line in section.blocks[0].figure.axes[0].lines[:2]] == [[2, 8]] * 2


def test_lanes_are_told_apart_by_seed_and_by_number_of_images(monkeypatch):
    config = dataclasses.replace(SMALL, widths=(1,), seeds=3)
    monkeypatch.setattr(data_hunger, "trained", lambda *args: None)
    monkeypatch.setattr(data_hunger, "accuracies", lambda net, found, dataset: np.arange(6) / 10)
    found, counts, rates = data_hunger.measured(*few_images.parts(config))
    np.testing.assert_allclose(found[1], [[0.0, 0.3], [0.1, 0.4], [0.2, 0.5]])  # (seeds, sizes)
    assert counts == {1: 223} and rates == {1: 0.1}


def test_the_sentence_says_who_is_best_and_where_they_cross():
    info = data.load("digits")[0].info
    config = dataclasses.replace(SMALL, widths=(2, 4, 8), per_class=(10, 100, 1000), seeds=3)
    counts = {2: 900, 4: 2500, 8: 9000}
    crossed = accuracy(w2=[0.5, 0.5, 0.6], w4=[0.4, 0.5, 0.7], w8=[0.3, 0.7, 0.8])
    assert data_hunger.sentence(config, info, crossed, counts) == (
        "digits, widths 2, 4, 8 (900, 2.5k, 9.0k parameters), 3 seeds, test accuracy: with 10 images of each class "
        "width 2 is best: 51.0, 41.0, 31.0 %; with 1000 images of each class width 8 is best: 61.0, 71.0, 81.0 %. "
        "The widest leads the narrowest from 32 images on."
    )
    level = accuracy(w2=[0.5, 0.5, 0.5], w4=[0.4, 0.5, 0.7], w8=[0.6, 0.7, 0.8])
    level[2][:, 0] = [0.6, 0.8, 0.4]
    said = data_hunger.sentence(config, info, level, counts)
    assert "width 8 is best (no better, as far as can be seen, than 2): " in said
    assert said.endswith("The widest leads the narrowest throughout.")


def test_a_run_in_which_more_images_do_not_help_does_not_hold(monkeypatch):
    found = accuracy(w1=[0.5, 0.4], w2=[0.4, 0.5]), {1: 10, 2: 20}, {1: 0.1, 2: 0.1}
    monkeypatch.setattr(data_hunger, "measured", lambda *args: found)
    result = data_hunger.main(SMALL)
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: more images help width 1. digits")
    quick = data_hunger.main(dataclasses.replace(SMALL, quick=True))
    assert quick.holds
    assert quick.verdict.startswith("not judged: digits")


def test_counts():
    assert [short(count) for count in (999, 1000, 12345)] == ["999", "1.0k", "12.3k"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, r"^data_hunger: expected at least 2 seeds, got 1\. "),
        ({"widths": (2,)}, r"^data_hunger: expected two to five rising widths, got \(2,\)\. "),
        ({"widths": (4, 2)}, r"^data_hunger: expected two to five rising widths, got \(4, 2\)\. "),
        ({"widths": (1, 2, 4, 8, 16, 32)}, r"^data_hunger: expected two to five rising widths, got "),
        ({"widths": (0, 2)}, r"^cifar_vgg: expected width as a positive int, got 0\. "),
        ({"per_class": (3, 8)}, r"^data_hunger: expected two or more rising numbers of images that divide the last"),
        ({"dataset": "digit"}, "Did you mean 'digits'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        data_hunger.main(dataclasses.replace(SMALL, **options))


def test_more_lines_than_colours_are_refused():
    with pytest.raises(ValueError, match=r"^spread_lines: expected 5 lines at most, got 6\. "):
        spread_lines("accuracy", "images", [1, 2], {str(width): np.ones((2, 2)) for width in range(6)})

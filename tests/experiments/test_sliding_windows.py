"""The experiment on sliding windows: what is drawn, and a small run."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import sliding_windows
from experiments.sliding_windows import NONE, Config

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(size=64, scales=(1.0,), windows=64, canvases=2, epochs=1, batch_size=32, repeats=1)


@pytest.mark.slow
def test_canvases_have_their_digits_where_the_boxes_are():
    digits, labels = jnp.ones((3, 10, 10)), jnp.array([7, 8, 9])
    images, scenes = sliding_windows.canvases(SMALL, jax.random.key(0), digits, labels)
    assert images.shape == (2, 64, 64, 1)
    for image, boxes, kinds in zip(np.asarray(images)[..., 0], scenes.boxes, scenes.label, strict=True):
        assert 1 <= (kinds >= 0).sum() <= 6
        assert set(kinds[kinds >= 0]) <= {7, 8, 9}
        for x0, y0, x1, y1 in boxes[kinds >= 0]:
            assert image[int(y0) + 2 : int(y1) - 1, int(x0) + 2 : int(x1) - 1].min() > 0.8
        covered = np.zeros((64, 64), bool)
        for x0, y0, x1, y1 in boxes[kinds >= 0]:
            covered[max(int(y0) - 1, 0) : int(y1) + 2, max(int(x0) - 1, 0) : int(x1) + 2] = True
        assert image[~covered].max() < 0.7


@pytest.mark.slow
def test_windows_to_train_on_show_a_digit_or_none():
    digits, labels = jnp.zeros((2, 10, 10)).at[0].set(1.0), jnp.array([3, 5])
    windows = sliding_windows.training_windows(SMALL, jax.random.key(1), digits, labels)
    kinds, counts = np.unique(windows["label"], return_counts=True)
    assert set(kinds.tolist()) <= {3, 5, NONE}
    assert 0.2 < counts[kinds == NONE][0] / 64 < 0.9
    light = windows["image"].mean((1, 2, 3))
    assert light[windows["label"] == 3].min() > light[windows["label"] == 5].max()


@pytest.mark.slow
def test_a_small_run_and_its_record():
    result = sliding_windows.main(SMALL)
    figures = json.loads(json.dumps(result.figures))
    assert 0 <= figures["average_precision_50"] < 0.5
    assert figures["largest_difference"] < 1e-3
    assert figures["windows_of_a_canvas"] == 81
    assert figures["milliseconds"]["one by one"] > figures["milliseconds"]["together"] > 0
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: an average precision of 0.8. 2 canvases")


@pytest.mark.slow
def test_a_quick_run_is_not_judged():
    assert sliding_windows.main(dataclasses.replace(Config(), quick=True)).holds

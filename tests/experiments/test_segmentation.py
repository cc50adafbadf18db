"""The experiment on segmentation: a small run, and what it says."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import segmentation
from experiments.segmentation import Config

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(width=2, depth=1, size=32, train_images=32, test_images=16, epochs=1, batch_size=16)


@pytest.mark.parametrize("net", ["unet", pytest.param("fcn", marks=pytest.mark.slow)])
def test_a_small_run_and_its_record(net):
    result = segmentation.main(dataclasses.replace(SMALL, net=net))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert len(figures["overlap"]) == 11
    assert 0 <= figures["mean_overlap"] < 0.5
    assert not result.holds
    assert "MISSED: 0.9 was promised" in result.verdict
    worst = result.pictures[0].blocks[0].figure
    captions = [float(text.get_text().split()[1]) for text in worst.axes[0].texts if "overlap" in text.get_text()]
    assert captions == sorted(captions)


def test_perfect_masks_hold(monkeypatch):
    def knows(net, params, state, dataset, batch_size):
        test = segmentation.data.Scenes(size=32).dataset(
            segmentation.jax.random.split(segmentation.jax.random.key(0), 3)[1], 16
        )
        return np.eye(11, dtype=np.float32)[test["object_mask"]]

    monkeypatch.setattr(segmentation.training, "predict", knows)
    result = segmentation.main(SMALL)
    assert result.holds
    assert result.figures["mean_overlap"] == 1
    assert result.figures["pixel_accuracy"] == 1
    assert "mean intersection over union 1.000, as promised" in result.verdict

"""The experiment on detection: a small run, and what it says."""

import json

import jax
import numpy as np
import pytest

from experiments import detection
from experiments.detection import Config

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(width=2, size=32, train_images=32, test_images=16, epochs=1, batch_size=16, limit=5)


def test_a_small_run_and_its_record():
    result = detection.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert len(figures["average_precision_50_of_class"]) == 10
    assert 0 <= figures["average_precision"] <= figures["average_precision_50"] < 0.5
    assert not result.holds
    assert "MISSED: 0.8 was promised" in result.verdict


@pytest.mark.slow
def test_true_boxes_hold(monkeypatch):
    test = detection.data.Scenes(size=32).dataset(jax.random.split(jax.random.key(0), 3)[1], 16)

    def knows(outputs, **options):
        return detection.detection.Found(test["boxes"], np.ones(test["box_class"].shape), test["box_class"])

    monkeypatch.setattr(detection.detection, "decode", knows)
    result = detection.main(SMALL)
    assert result.holds
    assert result.figures["average_precision"] == 1
    assert "average precision 1.000 at an overlap of 0.5, as promised" in result.verdict

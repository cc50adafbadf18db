"""The experiment on localisation: a small run, its record, and what perfect points are judged to be."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import localisation
from experiments.localisation import Config

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(width=2, hidden=4, size=32, train_images=32, test_images=12, seeds=2, epochs=1, batch_size=16)


@pytest.mark.slow
def test_a_small_run_and_its_record():
    result = localisation.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    for head in localisation.HEADS:
        assert figures[head]["error_pixels"]["n"] == 2
        assert figures[head]["error_pixels"]["mean"] > 2
        assert 0 <= figures[head]["correct_keypoints"]["mean"] < 0.9
    assert figures["dense"]["parameters"] > figures["soft-argmax"]["parameters"]
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: 0.9 of the points correct with one head. 2 seeds")
    captions = [text.get_text() for text in result.pictures[0].blocks[0].figure.axes[0].texts]
    errors = [float(caption.split()[0]) for caption in captions]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.slow
def test_perfect_points_hold(monkeypatch):
    """Nets that know the answer: no training, and the points of the scenes they are given."""
    tests = {}

    def fit(net, train, **options):
        state = type("State", (), {"params": None, "model_state": None})
        return type("Result", (), {"state": state, "history": [{"epoch": 1, "train_loss": 1.0}]})

    def predict(net, params, state, dataset):
        scenes = tests[dataset["image"].tobytes()]
        return np.concatenate([scenes["keypoints"], scenes["boxes"].reshape(-1, 2, 2)], 1)

    drawn = localisation.drawn

    def remembered(*args):
        scenes = drawn(*args)
        tests[scenes["image"].tobytes()] = scenes
        return scenes

    monkeypatch.setattr(localisation.training, "fit", fit)
    monkeypatch.setattr(localisation.training, "predict", predict)
    monkeypatch.setattr(localisation, "drawn", remembered)
    result = localisation.main(SMALL)
    assert result.holds
    assert result.figures["dense"]["correct_keypoints"]["mean"] == 1
    assert result.figures["dense"]["box_overlap"]["mean"] == 1
    assert "0.00 px (sd 0.00), 1.000 of the points correct, overlap of the box 1.000" in result.verdict


def test_the_loss_refuses_points_that_do_not_fit_before_any_work():
    loss = localisation.WithCorners(localisation.detection.point_loss())
    outputs = jax.ShapeDtypeStruct((1, 6, 2), np.float32)
    arrays = {"keypoints": np.ones((3, 4, 2), np.float32), "boxes": np.ones((3, 1, 4), np.float32)}
    loss.validate(outputs, arrays)
    np.testing.assert_array_equal(loss(np.ones((3, 6, 2), np.float32), arrays), np.zeros(3))
    with pytest.raises(ValueError, match=r"^point_loss: expected 'keypoints' of shape \(N, 6, 2\), got \(3, 5, 2\)"):
        loss.validate(outputs, arrays | {"keypoints": arrays["keypoints"][:, :3]})


def test_one_seed_has_no_spread():
    with pytest.raises(ValueError, match=r"^localisation: expected at least 2 seeds, got 1"):
        localisation.main(dataclasses.replace(SMALL, seeds=1))

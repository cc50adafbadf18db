"""The experiment on images that maximise: what it measures of them, what it promises and what it says."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import maximize
from experiments.apparatus.liked_images import CHOSEN, WAYS, Liked, confidence, judged, liked, mean_images
from experiments.apparatus.trained import Trained
from experiments.maximize import Config, sentence
from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm, Conv, Residual, Sequential
from tests.experiments.mean_images_net import CLASSES, made, saved

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]
KEY = jax.random.key(0)
SMALL = {"steps": 32, "channels": 1, "layers": 1, "inverted": 1}


@pytest.fixture(scope="module")
def mine() -> Trained:
    return made()


@pytest.mark.slow
def test_a_quick_run_and_its_record(mine, tmp_path):
    result = maximize.main(Config(source=saved(mine, tmp_path), quick=True))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["ways"]) == [CHOSEN]
    assert list(figures["ways"][CHOSEN]) == [str(k) for k in range(10)]
    assert figures["ways"][CHOSEN]["3"]["nearest_training_images"] == "3"
    assert figures["lowest_confidence"] > 0.9
    assert figures["judged_alike"] >= 9
    assert figures["inversion"]["act1"]["image_error"] < 0.5
    assert result.holds
    assert result.verdict.startswith("not judged: the image that the net likes best of each class")
    assert [section.title for section in result.pictures] == [
        "What the net likes best",
        "Ways to look for it",
        "What channels like best",
        "What each layer still knows",
        "Dreams and caricatures",
    ]
    assert len(result.pictures[0].blocks[0].figure.axes[0].images) == 10


@pytest.mark.slow
def test_images_of_a_net_that_compares_with_means_are_like_them(mine):
    found = liked(mine, WAYS[CHOSEN], CLASSES, 128, KEY)
    assert found.images.shape == (10, 8, 8, 1)
    assert (found.judged == CLASSES).sum() >= 8
    assert found.confidence.min() > 0.99
    np.testing.assert_allclose(found.eight_bit, found.confidence, atol=0.01)
    logits = mine.net.apply(mine.params, mine.state, jnp.asarray(found.images), train=False)[0]
    np.testing.assert_allclose(np.diagonal(jax.nn.softmax(logits)), found.confidence, rtol=1e-4)


def test_neighbours_judge_by_pixels(mine):
    test = mine.test.take(range(40))
    images = test["image"] / 255 if test["image"].dtype == np.uint8 else test["image"]
    like, distance = judged(mine, images)
    assert (like == test["label"]).mean() > 0.9
    assert ((distance > 0) & (distance < 0.3)).all()
    assert (judged(mine, mine.train["image"][:3] / np.float32(255))[1] < 1e-6).all()
    sure = confidence(mine, images, np.asarray(test["label"]))
    assert sure.shape == (40,)
    assert (confidence(mine, images, (test["label"] + 1) % 10) < 1 - sure + 1e-5).all()


def test_mean_images_are_in_0_1(mine):
    means = mean_images(mine, CLASSES)
    rows = mine.train["image"][mine.train["label"] == 4]
    scale = 255 if rows.dtype == np.uint8 else 1
    np.testing.assert_allclose(means[4], rows.mean(0) / scale, rtol=1e-5)
    assert means.max() <= 1


@pytest.mark.parametrize(("sharpness", "holds"), [(20.0, True), (0.5, False)])
def test_it_holds_where_the_net_is_sure_of_every_class(tmp_path, monkeypatch, sharpness, holds):
    monkeypatch.setattr(maximize, "WAYS", {CHOSEN: WAYS[CHOSEN]._replace(norm=5.0)})
    monkeypatch.setattr(maximize, "inverted", lambda *_: {})
    for section in ("gallery_section", "ways_section", "channels_section", "inversion_section", "dream_section"):
        monkeypatch.setattr(maximize, section, lambda *_: maximize.report.Section("Section", ["Words."]))
    steps = dataclasses.replace(Config(source=saved(made(sharpness), tmp_path), **SMALL), steps=128)
    result = maximize.main(steps)
    assert result.holds == holds
    assert result.verdict.startswith("NOT as promised: ") != holds


def test_it_says_which_do_not_resemble(mine):
    sure = np.linspace(0.991, 0.9999, 10)
    wrong = CLASSES.copy()
    wrong[[2, 7]] = 1
    found = {
        CHOSEN: Liked(np.zeros((10, 8, 8, 1)), sure, sure, wrong),
        "pixels": Liked(np.zeros(1), sure, sure, 0 * wrong),
    }
    words = sentence(mine, found)
    assert "with 99.10 % or more (least: 0)" in words
    assert "agree on all but 2, 7 (8 of 10; of pixels: 1)" in words


@pytest.mark.parametrize("name", ["steps", "channels", "layers", "inverted"])
def test_bad_options(name):
    with pytest.raises(ValueError, match=f"^maximize: expected {name} of at least 1, got 0"):
        maximize.main(dataclasses.replace(Config(), **{name: 0}))


def test_what_a_layer_is_given_is_what_comes_before_it_in_its_row():
    block = Residual(Sequential(conv=Conv(2), norm=BatchNorm()))
    net = Sequential(stem=Conv(2), stage=Sequential(first=Sequential(add=block, act=F.relu), act=F.relu))
    mine = Trained(net, {}, {}, None, None)
    given = {"stage/first/act": "stage/first/add", "stage/act": "stage/first", "stem": "stem"}
    given |= {
        "stage/first/add/branch": "stage/first/add/branch",
        "stage/first/add/branch/norm": "stage/first/add/branch/conv",
    }
    assert {path: maximize.before(mine, path) for path in given} == given

"""The experiment on colours: brightness, classes and weights by hand, what it promises and what it says."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from experiments import colourization
from experiments.apparatus import image_sets
from experiments.colourization import CLASSES, GREY, MEAN, SIDE, STEP, Config, Painted
from jaxcnn import data

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(
    dataset="scenes", train_images=16, test_images=8, seeds=2, epochs=1, batch_size=16, width=2, depth=1
)  # fmt: skip
IMAGES = np.random.default_rng(0).random((3, 4, 5, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def scenes(monkeypatch):
    monkeypatch.setattr(colourization, "loaded", lambda name, *_: data.load(name) if name == "digits" else few())


@functools.cache
def few():
    return image_sets.few_scenes(16, 8)


def test_brightness_and_colours_make_the_image_again():
    np.testing.assert_allclose(
        colourization.brightness(np.array([1.0, 0.5, 0.25])), [0.299 + 0.2935 + 0.0285], rtol=1e-6
    )
    grey, colour = colourization.brightness(IMAGES), colourization.colours(IMAGES)
    np.testing.assert_allclose(colour, np.stack([IMAGES[..., 2], IMAGES[..., 0]], -1) - grey, atol=1e-6)
    np.testing.assert_allclose(colourization.coloured(grey, colour), IMAGES, atol=1e-5)
    assert np.abs(colourization.colours(np.full((2, 2, 3), 0.7, np.float32))).max() < 1e-6


def test_classes_are_the_nearest_of_a_grid():
    colour = np.array([[0, 0], [STEP, -STEP], [0.4 * STEP, 0.6 * STEP], [9, -9]])
    middle = SIDE // 2
    expected = [middle * SIDE + middle, (middle + 1) * SIDE + middle - 1, middle * SIDE + middle + 1, SIDE * (SIDE - 1)]
    label = np.asarray(colourization.class_of(colour))
    assert label.tolist() == expected
    sure = 50 * np.eye(SIDE**2, dtype=np.float32)[label]
    found = colourization.colour_of(sure, 0.38)
    np.testing.assert_allclose(found[:2], colour[:2], atol=1e-5)
    np.testing.assert_allclose(found[3], [middle * STEP, -middle * STEP], atol=1e-5)
    # Of two likely colours the mean lies between them, and nearer to the likelier one the lower the temperature.
    two = np.full(SIDE**2, -50, np.float32)
    two[expected[0]], two[expected[1]] = np.log(0.7), np.log(0.3)
    np.testing.assert_allclose(colourization.colour_of(two, 1.0), [0.3 * STEP, -0.3 * STEP], atol=1e-5)
    share = 0.3**2 / (0.3**2 + 0.7**2)
    np.testing.assert_allclose(colourization.colour_of(two, 0.5), [share * STEP, -share * STEP], atol=1e-5)


def test_rare_colours_weigh_more():
    images = np.full((1, 4, 4, 3), 128, np.uint8)
    images[0, 0, :2] = (255, 0, 0)
    weights = np.array(colourization.weights_of(images, 0.5))
    label = np.asarray(colourization.class_of(colourization.colours(data.to_float(images)))).ravel()
    common, rare = label[-1], label[0]
    ratio = (0.5 * 14 / 16 + 0.5 / SIDE**2) / (0.5 * 2 / 16 + 0.5 / SIDE**2)
    assert weights[rare] / weights[common] == pytest.approx(ratio)
    assert weights[label].mean() == pytest.approx(1)
    np.testing.assert_allclose(colourization.weights_of(images, 0.0), 1)
    # In the loss too, of whole images: one that is red weighs more than one that is grey.
    _, of_classes = colourization.tasks(SMALL, data.from_arrays(images))[CLASSES]
    batch = {"image": np.stack([np.full((2, 2, 3), 128 / 255), np.full((2, 2, 3), (1.0, 0, 0))]).astype(np.float32)}
    loss = of_classes(np.zeros((2, 2, 2, SIDE**2), np.float32), batch)
    np.testing.assert_allclose(loss, np.log(SIDE**2) * weights[[common, rare]], rtol=1e-4)


@pytest.mark.slow
def test_a_small_run_is_json(monkeypatch):
    seen = []
    predict = colourization.training.predict
    monkeypatch.setattr(
        colourization.training, "predict", lambda net, *a, **o: seen.append((net, a[:2])) or predict(net, *a, **o)
    )
    result = colourization.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["psnr_db"]) == [GREY, MEAN, CLASSES]
    assert figures["strength_of_colours"][GREY]["mean"] == pytest.approx(0, abs=1e-5)
    assert all(figures["strength_of_colours"][way]["mean"] > 0 for way in (MEAN, CLASSES))
    assert "scenes, 2 seeds, beside the true images: grey" in result.verdict
    images = result.pictures[0].blocks[0].figure.axes[0].images
    assert len(images) == 4 * colourization.SHOWN
    net, weights = seen[0]
    grey = np.repeat(colourization.brightness(IMAGES[:, :4, :4]), 3, -1)
    ours, theirs = (net.apply(*weights, x, train=False)[0] for x in (IMAGES[:, :4, :4], grey))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)  # it sees no colours


def made_up(mean, classes):
    """Return what a seed's nets paint, by how much of the true colours they give."""
    true = np.random.default_rng(1).uniform(0.3, 0.7, (8, 4, 4, 3)).astype(np.float32)
    grey, colour = colourization.brightness(true), colourization.colours(true)
    shares = {GREY: 0.0, MEAN: mean, CLASSES: classes}
    return Painted(true, {way: colourization.coloured(grey, share * colour) for way, share in shares.items()})


@pytest.mark.parametrize(
    ("mean", "classes", "missed"),
    [
        (0.5, 1.2, ""),
        (-0.1, 0.2, "squared error is nearer to the true images than grey"),
        (0.5, 0.4, "classes give stronger colours than squared error"),
    ],
)
def test_what_it_promises(monkeypatch, mean, classes, missed):
    history = [{"epoch": 1, "train_loss": 3.0}]
    seeds = iter([made_up(0.3, 1.3), made_up(mean, classes)])
    monkeypatch.setattr(colourization, "measured", lambda *_: (next(seeds), history))
    result = colourization.main(SMALL)
    assert result.holds == (not missed)
    assert result.verdict.startswith(f"NOT as promised: {missed} with every seed. scenes" if missed else "scenes")
    strong = result.figures["strength_of_colours"][CLASSES]["values"]
    np.testing.assert_allclose(strong, [1.3, classes], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, r"^colourization: expected at least 2 seeds, got 1\. "),
        ({"rebalanced": 1.0}, r"^colourization: expected rebalanced in \[0, 1\), got 1\.0\. "),
        ({"temperature": 0.0}, r"^colourization: expected a temperature above 0, got 0\.0\. "),
        ({"dataset": "digits"}, r"^colourization: expected images in colours, got 1 channel\. "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        colourization.main(dataclasses.replace(SMALL, **options))

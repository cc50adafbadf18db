"""The experiment on fooling images: what it measures of them, what it promises and what it says."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import fooling
from experiments.apparatus import fooled_images
from experiments.apparatus.fooled_images import (
    ASCENT,
    DIRECT,
    PATTERNS,
    REAL,
    Measured,
    correlation,
    first_above,
    measured,
)
from experiments.apparatus.liked_images import mean_images
from experiments.apparatus.trained import Trained
from experiments.fooling import Config, Search, promised, told
from jaxcnn import data
from jaxcnn.attack.fooling import Fooled
from tests.experiments.mean_images_net import CLASSES, made, saved

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def mine() -> Trained:
    return made()


@pytest.fixture
def source(mine, tmp_path) -> str:
    return saved(mine, tmp_path)


@pytest.mark.slow
def test_a_quick_run_and_its_record(mine, source, tmp_path, monkeypatch):
    monkeypatch.setattr(fooling, "another", lambda config, mine: mine)
    result = fooling.main(Config(source=source, run=str(tmp_path), quick=True))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["ways"]) == [ASCENT, DIRECT, PATTERNS]
    assert list(figures["measures"]) == [REAL, ASCENT, DIRECT, PATTERNS]
    ascent = figures["ways"][ASCENT]
    assert ascent["sure"] == 10 and min(ascent["confidence_8_bit"]) > 0.99 and max(ascent["steps"]) <= 50
    assert figures["measures"][REAL]["nearest"]["n"] == 100
    assert figures["measures"][ASCENT]["second_net_agrees"]["mean"] == 1  # it is the same net
    assert set(figures["warned"]) == {"before", "after", "fooling images found out"}
    assert 0 <= ascent["sure_of_the_warned"] <= 10
    assert result.holds and "the net is more than 99% sure of 10, " in result.verdict
    assert result.verdict.startswith("not judged: digits, images by gradient ascent, ")
    titles = [section.title for section in result.pictures]
    assert titles == ["Fooling images", "How fast", "Do they mean anything?", "A net that was warned"]
    assert len(result.pictures[0].blocks[0].figure.axes[0].images) == 40
    assert [number.label for number in result.headline] == [ASCENT, DIRECT, PATTERNS]


def test_what_is_measured(mine):
    test = mine.test.take(range(40))
    images, label = np.asarray(data.to_float(jnp.asarray(test["image"]))), np.asarray(test["label"])
    other = mine._replace(params=jax.tree.map(lambda p: -p, mine.params))
    found = measured(mine, other, images, label)
    logits = mine.net.apply(mine.params, mine.state, jnp.asarray(images), train=False)[0]
    np.testing.assert_allclose(found.sure, np.asarray(jax.nn.softmax(logits))[np.arange(40), label], rtol=1e-4)
    assert (found.judged == label).mean() > 0.9
    known = np.asarray(data.to_float(jnp.asarray(mine.train["image"])))
    nearest = np.sqrt(np.square(images[:3, None] - known[None]).mean((2, 3, 4)).min(1))
    np.testing.assert_allclose(found.nearest[:3], nearest, rtol=1e-4)
    means = mean_images(mine, CLASSES)[label]
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, means, strict=True)]
    np.testing.assert_allclose(found.correlation, expected, rtol=1e-4)
    assert found.other_sure.shape == found.other_class.shape == (40,)
    own = measured(mine, mine, mine.train["image"][:5] / np.float32(255), mine.train["label"][:5])
    np.testing.assert_allclose(own.nearest, 0, atol=1e-4)


@pytest.mark.slow
def test_a_warned_net_knows_them(mine):
    noise = np.asarray(jax.random.uniform(jax.random.key(3), (20, 8, 8, 1)))
    found = fooled_images.warned(mine, noise, 200, KEY)
    assert found.train.size == mine.train.size + mine.train.size // 10
    assert found.class_names == (*mine.class_names, "fooling")
    assert (np.bincount(found.train["label"])[:10] == np.bincount(mine.train["label"])).all()
    assert (fooled_images.outputs(found, fooled_images.eight_bit(noise)).argmax(1) == 10).all()
    assert fooling.right(found) > 0.5  # its head has begun anew
    few = fooled_images.outputs(found, found.train["image"][-5:])
    assert few.shape == (5, 11)


def test_a_second_net_has_another_seed(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(fooled_images, "trained", lambda where, config, **more: asked.update(vars(config), **more))
    fooled_images.another(Config(seed=4, source="net.safetensors", run=str(tmp_path)), None)
    assert (asked["seed"], asked["source"], asked["run"]) == (5, "", str(tmp_path / "second"))
    assert asked["label_smoothing"] == 0.0


def test_correlation_and_first_above():
    a = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0], [2.0, 1.0, 0.0]])
    np.testing.assert_allclose(correlation(a, np.array([[0.0, 2.0, 4.0]] * 3)), [1, 0, -1], atol=1e-12)
    history = np.array([[0.1, 0.995, 0.2], [0.995, 0.1, 0.3], [0.999, 1.0, 0.99]])
    np.testing.assert_array_equal(first_above(history, 0.99), [1, 0, np.nan])
    assert [told(np.array([3.0, 1.0, np.nan]), q) for q in (0.0, 0.5, 1.0)] == ["1", "3", "never"]


def test_examples_are_of_their_class_and_right(mine):
    found = fooled_images.examples(mine, CLASSES)
    assert found.shape == (10, 8, 8, 1) and found.max() <= 1
    assert fooled_images.outputs(mine, fooled_images.eight_bit(found)).argmax(1).tolist() == CLASSES.tolist()


def known(sure: float, like: float, n: int = 10) -> Measured:
    ones = np.ones(n)
    return Measured(sure * ones, CLASSES[:n], ones, ones, like * ones, CLASSES[:n])


def test_what_is_promised(mine):
    found = Fooled(*(np.zeros(1),) * 4)
    good = {ASCENT: Search(found, known(0.999, 0.2), None)}
    assert all(promised(mine, good, known(1.0, 0.6), CLASSES).values())
    unsure = {ASCENT: Search(found, known(0.999, 0.2)._replace(sure=np.r_[0.5, np.ones(9)]), None)}
    assert list(promised(mine, unsure, known(1.0, 0.6), CLASSES).values()) == [False, True]
    alike = {DIRECT: Search(found, known(0.999, 0.2)._replace(correlation=np.r_[np.zeros(8), 0.7, 0.7]), None)}
    assert promised(mine, alike, known(1.0, 0.6), CLASSES) == {
        "by evolution of pixels more than 99% sure of every class": True,
        "by evolution of pixels all are less like the mean image of the class than real ones": False,
    }


@pytest.mark.slow
@pytest.mark.parametrize("sharpness", [0.01])
def test_it_does_not_hold_of_a_net_that_is_sure_of_nothing(tmp_path, monkeypatch, sharpness):
    monkeypatch.setattr(fooling, "another", lambda config, mine: mine)
    small = {"steps": 5, "generations": 3, "population": 4, "real": 20, "more": 0}
    result = fooling.main(Config(source=saved(made(sharpness), tmp_path), run=str(tmp_path), **small))
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: by gradient ascent more than 99% sure of every class; by ")
    assert [section.title for section in result.pictures][-1] == "Do they mean anything?"


@pytest.mark.parametrize("name", ["steps", "generations", "population", "real", "warning"])
def test_bad_options(name):
    with pytest.raises(ValueError, match=f"^fooling: expected {name} of at least [12], got 0"):
        fooling.main(dataclasses.replace(Config(), **{name: 0}))

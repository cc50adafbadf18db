"""The experiment on adversarial training: what is recorded, and what it promises of defences, sound and not."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import adversarial_training
from experiments.adversarial_training import Config, Trained
from experiments.apparatus import adversarial_pictures
from jaxcnn import report

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(
    dataset="digits", images=120, epochs=2, steps=1, replays=2, attacked=6, evaluation_steps=2, queries=5,
    overfit_epochs=2, certified=4, samples=20, batch_size=40,
)  # fmt: skip
NAMES = ["plain", "one step", "PGD", "TRADES", "free"]


@pytest.mark.slow
def test_a_small_run_and_its_record():
    result = adversarial_training.main(dataclasses.replace(SMALL, quick=False))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["nets"]) == NAMES
    for found in figures["nets"].values():
        assert 0 <= found["robust_accuracy"] <= found["accuracy_of_attacked"] <= 1
        assert found["images"] == 6
        low, high = found["interval"]
        assert low <= found["robust_accuracy"] <= high
        assert list(found["after"]) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert figures["overfitting"].keys() == {"epsilon", "FGSM", "random start"}
    assert [len(figures["overfitting"]["FGSM"][name]) for name in ("FGSM", "PGD")] == [2, 2]
    assert list(figures["certified"]["noise"])[:2] == ["0.000", "0.031"]
    titles = [section.title for section in result.pictures]
    assert titles == [
        "What learning from attacks buys", "What changes the nets' minds", "Catastrophic overfitting",
        "What is certain", "What was promised",
    ]  # fmt: skip
    rows = result.pictures[1].blocks[1].figure.axes[0].images
    assert len(rows) == 6 * (1 + len(NAMES))
    assert isinstance(result.pictures[0].blocks[1], report.Table)


def sets():
    return adversarial_training.chosen(SMALL, jax.random.key(0))


@pytest.mark.slow
def test_trainings_make_as_many_steps_from_the_same_weights(monkeypatch):
    found = {}

    def fit(**options):
        found[len(found)] = options
        raise KeyboardInterrupt

    monkeypatch.setattr(adversarial_training.training, "fit", fit)
    few = sets()
    for name in (*NAMES, "noise"):
        with pytest.raises(KeyboardInterrupt):
            adversarial_training.trained(SMALL, few, name, jax.random.key(1))
    steps = [o["epochs"] * o.get("replays", 1) * (120 // o["batch_size"]) for o in found.values()]
    assert steps == [6] * 6
    weights = [o["net"].init(jax.random.key(2), few.train.spec)[0]["conv1"]["kernel"] for o in found.values()]
    assert all((w == weights[0]).all() for w in weights)
    assert all(o["key"] == jax.random.key(1) for o in found.values())
    assert [sorted({"attack", "loss", "replays"} & o.keys()) for o in found.values()] == [
        [], ["attack"], ["attack"], ["attack", "loss"], ["replays"], ["attack"],
    ]  # fmt: skip


class Report:
    """A standard evaluation's result: of ten images, of which nine are right."""

    clean_accuracy = 0.9

    def __init__(self, robust):
        self.fooled = np.arange(10) >= 10 * robust

    def __float__(self):
        return float(1 - self.fooled.mean())


def found(plain=0.0, defended=0.6, fgsm=(0.4, 0.5, 0.9), pgd=(0.3, 0.4, 0.1), noise=0.5):
    reports = {name: Report(defended) for name in NAMES} | {"plain": Report(plain)}
    curves = {"FGSM": {"FGSM": list(fgsm), "PGD": list(pgd)}, "random start": {"FGSM": [0.5] * 3, "PGD": [0.4] * 3}}
    radii = np.linspace(0, 1, 33)
    lines = {name: (radii, np.full(33, value)) for name, value in (("noise", noise), ("plain", 0.2), ("PGD", 0.3))}
    return reports, curves, lines


def test_what_it_promises():
    assert all(adversarial_training.promises(SMALL, *found()).values())
    for wrong, words in (
        ({"plain": 0.2}, "the plain net withstands on less than 5%"),
        ({"defended": 0.4}, "PGD: at least half of what is right withstands"),
        ({"pgd": (0.3, 0.4, 0.25)}, "FGSM training at the larger radius: under PGD less than half of its best is left"),
        ({"fgsm": (0.4, 0.9, 0.5)}, "while under FGSM it does better than at that best"),
        ({"noise": 0.1}, "noise in training makes certificates of radius 0.25 for more images"),
    ):
        kept = adversarial_training.promises(SMALL, *found(**wrong))
        assert kept[words] is False
        assert sum(not held for held in kept.values()) == (4 if "defended" in wrong else 1)


def test_the_sentence():
    nets = {name: Trained(lambda x: x, 0.9, 1.0) for name in NAMES}
    words = adversarial_training.sentence(SMALL, sets(), nets, *found())
    assert words.startswith("digits, 120 images to learn from: of 10 test images these stay right under the standard ")
    assert "plain 0.0 % (clean 90.0 %), one step 60.0 % (clean 90.0 %)" in words
    assert "from epoch 2 to 3 accuracy under PGD goes from 40 % to 10 %, under FGSM from 50 % to 90 %; " in words
    assert words.endswith("Certified to L2 radius 0.25: 50 % with noise in training, 20 % without.")


def test_input_gradients_are_those_of_each_image():
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    x = jnp.asarray(np.random.default_rng(1).random((5, 2, 2, 1)), jnp.float32)
    y = jnp.arange(5) % 3
    slopes = adversarial_training.gradients(lambda x: x.reshape(-1, 4) @ kernel, x, y)
    p = jax.nn.softmax(x.reshape(5, 4) @ kernel) - jax.nn.one_hot(y, 3)
    np.testing.assert_allclose(slopes.reshape(5, 4), p @ kernel.T, rtol=1e-4, atol=1e-6)


def test_maps_are_grey_where_nothing_counts():
    slopes = np.zeros((2, 2, 2, 1))
    slopes[0, 0, :, 0] = [-2, 1]
    found = adversarial_pictures.grey(slopes)
    np.testing.assert_allclose(found[0, ..., 0], [[0, 0.75], [0.5, 0.5]])
    np.testing.assert_allclose(found[1], 0.5)


def test_bad_options():
    with pytest.raises(ValueError, match=r"^adversarial_training: expected epochs >= replays, got 2\. "):
        adversarial_training.main(dataclasses.replace(SMALL, replays=3))

"""A net attacked as a page: what it says, what it promises, and a small run."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from experiments import breaking, train
from experiments.apparatus import robustness, robustness_pictures
from experiments.apparatus.robustness import Effort
from experiments.breaking import Config
from jaxcnn import data
from jaxcnn.attack.robust_accuracy import Attacked, RobustReport
from tests.attack.conftest import DIGITS_NET, digits  # noqa: F401 - a fixture

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]
FEW = Effort(12, 20, 8, 10, 5, 3, 16, 3)


@pytest.fixture(scope="module")
def source(digits, tmp_path_factory):  # noqa: F811
    """A file with a net that knows the digits."""
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    params, state = digits.logits_fn.args
    sets, _ = data.load("digits")
    jaxcnn.save(path, DIGITS_NET, params, state, spec=sets.spec, class_names=sets.info.class_names)
    return str(path)


def standard(accuracy=0.25, warnings=()) -> RobustReport:
    """Return a report on 4 images."""
    fooled = np.arange(4) >= 4 * accuracy
    rows = (Attacked("apgd-ce", 4, 3, 0.25, 400),)
    blank = np.zeros(4)
    return RobustReport(0.1, "linf", 1.0, rows, warnings, fooled, blank.astype(str), blank, blank, blank)


@pytest.mark.slow  # `make course` runs it small
def test_a_small_run_and_its_record(source, tmp_path, monkeypatch):
    monkeypatch.setattr(breaking, "QUICK", FEW)
    result = breaking.main(Config(source=source, quick=True, run=str(tmp_path)))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert figures["epsilon"] == 0.1
    assert [row["attack"] for row in figures["attacks"]] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert figures["robust_accuracy"] <= figures["clean_accuracy"]
    names = ["epsilon", "random noise", "FGSM, 1 step", "PGD, 40 steps", "APGD, 5 steps", "Square, 10 queries"]
    assert list(figures["curves"]) == names
    np.testing.assert_allclose(figures["curves"]["epsilon"], [0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3])
    clean = {figures["curves"][name][0] for name in names[1:]}
    assert len(clean) == 1  # without any change all are the clean accuracy
    for name in names[2:]:
        assert figures["curves"][name] == sorted(figures["curves"][name], reverse=True)
    assert figures["others"]["none"] == clean.pop()
    assert len(figures["others"]) == 4
    assert len(figures["fooling_confidence"]) == 10
    assert set(figures["median_least_change"]) == {"FMN", "DeepFool"}
    titles = [section.title for section in result.pictures]
    assert titles[:3] == ["The standard evaluation", "Accuracy against epsilon", "The smallest changes"]
    assert result.verdict.startswith("not judged: of ")
    assert result.holds


def test_what_it_says():
    lines, median = {"random noise": 0.9, "PGD": 0.3}, {"FMN": 0.04, "DeepFool": None}
    words = robustness.sentence(standard(), lines, median)
    assert words == (
        "of 100.0 % accuracy 25.0 % are left where pixels may change by 0.1 (4 images, standard evaluation); random "
        "noise of that size leaves 90.0 %; half of the images need less than 0.04."
    )
    warned = robustness.sentence(standard(warnings=("a", "b")), lines, {})
    assert warned.endswith("2 signs of gradient masking: the net may be less robust than it seems.")


def test_what_it_promises():
    kept = lambda *warnings, left: list(  # noqa: E731
        robustness.promised(standard(warnings=warnings), left, {"random noise": 0.9, "PGD": 0.3}, 64).values()
    )
    assert kept(left=0.31) == [True, True]
    assert kept(left=0.4) == [False, True]
    assert kept("a", left=0.31) == [True, False]


def test_medians_count_those_that_were_not_fooled():
    assert robustness.median_of(np.array([0.1, 0.2, np.nan])) == 0.2
    assert robustness.median_of(np.array([0.1, np.nan, np.nan])) is None


def test_examples_are_of_classes_of_their_own():
    sizes = np.array([0.1, np.nan, 0.1, 0.2, 0.3])
    assert robustness_pictures.examples(sizes, np.array([1, 0, 1, 0, 2])).tolist() == [0, 3, 4, 2]
    assert robustness_pictures.examples(np.full(3, np.nan), np.arange(3)).tolist() == []
    assert len(robustness_pictures.examples(np.ones(20), np.arange(20))) == robustness_pictures.EXAMPLES


def test_the_usual_epsilon():
    grey, _ = data.load("digits")
    assert robustness.usual_epsilon(grey) == 0.1
    colour = data.from_arrays(np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1]), name="colour", source="zeros")
    assert robustness.usual_epsilon(colour) == 8 / 255


@pytest.mark.slow
def test_a_net_that_knows_nothing(tmp_path):
    train_set, test = data.load("digits")
    params, state = DIGITS_NET.init(jax.random.key(0), train_set.spec)
    path = tmp_path / "net.safetensors"
    zeros = jax.tree.map(jnp.zeros_like, params)
    zeros["head"]["bias"] = jnp.zeros(10).at[3].set(5.0)  # all threes
    jaxcnn.save(path, DIGITS_NET, zeros, state, spec=train_set.spec, class_names=train_set.info.class_names)
    found = jaxcnn.load(path)
    few = test.take(np.flatnonzero(test["label"] == 4))
    result = robustness.broken(found, train_set, few, effort=FEW)
    assert result.figures["clean_accuracy"] == 0
    assert result.sections[2].blocks == ["The net is wrong on all images without any change."]


@pytest.mark.slow
def test_the_page_of_a_training_shows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "BRIEF", FEW)
    options = train.Config(quick=True, epochs=2, attack=True, run=str(tmp_path))
    result = train.main(train.resolve(options))
    titles = [section.title for section in result.pictures]
    assert titles[1:3] == ["The standard evaluation", "Accuracy against epsilon"]
    assert "robust_accuracy" in result.figures


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, r"^breaking: expected epsilon above 0, at most 1, got 0\.0\. Pass --epsilon 0\.03, say\."),
        ({"epsilon": 8.0}, r"^breaking: expected epsilon above 0, at most 1, got 8\.0"),
        ({"source": "nothing.safetensors"}, r"^load: expected a file, got nothing\.safetensors "),
    ],
)
def test_bad_options(options, message, source, tmp_path):
    with pytest.raises((ValueError, OSError), match=message):
        breaking.main(dataclasses.replace(Config(source=source, run=str(tmp_path)), **options))

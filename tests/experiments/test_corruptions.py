"""The experiment on common corruptions: a small run, what it promises, and its words."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import jaxcnn
from experiments import corruptions as experiment
from experiments.corruptions import GIVEN, PLAIN, Config, Measured
from jaxcnn import data
from jaxcnn import functional as F
from jaxcnn.attack.corruptions import CorruptionReport
from jaxcnn.layers import Conv, Dense, GlobalAvgPool, Normalize, Sequential
from tests.experiments.untrained import Untrained

pytestmark = pytest.mark.usefixtures("quick_compilation")
KINDS = ("contrast", "gaussian_noise")
SMALL = Config(kinds=KINDS, images=24, learned=60, seeds=2, passes=2, batch_size=20, turns=4)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file with a small net."""
    train, _ = data.load("digits")
    net = Sequential(
        normalize=Normalize((0.3,), (0.4,)), conv=Conv(6), act=F.relu, mean=GlobalAvgPool(), head=Dense(10)
    )
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    params, state = net.init(jax.random.key(5), train.spec)
    jaxcnn.save(path, net, params, state, spec=train.spec, class_names=train.info.class_names)
    return str(path)


def measured(by_severity, clean=0.9):
    """Return what is measured of a net with these accuracies."""
    rows = np.broadcast_to(by_severity, (2, 5)) - np.array([[0.0], [0.02]])
    return Measured(
        CorruptionReport(KINDS, (1, 2, 3, 4, 5), rows, clean, 24), np.array([0.9, 0.8, 0.7]), np.full(5, 0.5), 0.75
    )


FALLING = np.linspace(0.8, 0.4, 5)


@pytest.mark.slow  # `make course` runs all experiments small
def test_a_small_run_and_its_record(source, tmp_path):
    result = experiment.main(dataclasses.replace(SMALL, source=source, run=str(tmp_path)))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["compared"]) == [PLAIN, "AugMix", "the recipe's"]
    assert list(figures[GIVEN]["accuracy"]) == list(KINDS)
    assert len(figures[GIVEN]["shifts"]) == 3 and len(figures[GIVEN]["rotations"]) == 5
    assert figures[GIVEN]["rotations"][2] == figures[GIVEN]["shifts"][0] == figures[GIVEN]["clean"]
    plain = figures["compared"][PLAIN]
    assert plain["mce"]["values"] == [1, 1]
    assert plain["corrupted"]["n"] == 2
    mean = np.mean([plain["accuracy"][kind]["mean"] for kind in KINDS])
    assert mean == pytest.approx(plain["corrupted"]["mean"])
    won = np.subtract(figures["compared"]["AugMix"]["corrupted"]["values"], plain["corrupted"]["values"])
    np.testing.assert_allclose(figures["gain"]["AugMix"]["values"], won)
    titles = [section.title for section in result.pictures]
    assert titles == [
        "What corruption costs", "Does augmentation help?", "Shifts and rotations", "Gallery: noise",
        "Gallery: digital",
    ]  # fmt: skip
    shown = result.pictures[3].blocks[0].figure.axes[0].images
    assert len(shown) == 6  # as it is, and five severities
    table = result.pictures[1].blocks[1].rows
    assert [row["net"] for row in table] == [GIVEN, PLAIN, "AugMix", "the recipe's"]


def test_nets_compared_begin_alike_and_learn_from_the_same_images(source, tmp_path, monkeypatch):
    calls = []

    def spied(net, train, **options):
        calls.append((train.info.fingerprint, options["augment"], jax.random.key_data(options["key"]).tolist()))
        return Untrained(net, train, options["restarts"])

    monkeypatch.setattr(experiment.search, "random_restarts", spied)
    config = dataclasses.replace(SMALL, source=source, run=str(tmp_path), passes=1)
    found = experiment.trained("corruptions", config)
    nets = experiment.compared(config, found, jax.random.key(0))
    assert {name: len(each) for name, each in nets.items()} == {PLAIN: 2, "AugMix": 2, "the recipe's": 2}
    assert len({(images, str(key)) for images, _, key in calls}) == 1
    assert calls[0][1] is None and None not in (calls[1][1], calls[2][1])


@pytest.mark.parametrize(
    ("won", "words"),
    [
        ([0.1, 0.11, 0.12], "AugMix helps (+11.0 points, +8.5 to +13.5)"),
        ([-0.1, -0.11, -0.12], "AugMix harms (-11.0 points, -13.5 to -8.5)"),
        ([0.1, -0.1, 0.03], "AugMix may help or harm (+1.0 points, "),
    ],
)
def test_it_says_whether_augmentation_helps(source, tmp_path, monkeypatch, won, words):
    each = iter([measured(FALLING), *[measured(FALLING)] * 3, *(measured(FALLING + w) for w in won)])
    each = iter([*each, *[measured(FALLING)] * 3])
    monkeypatch.setattr(experiment, "compared", lambda *_: {name: [None] * 3 for name in (PLAIN, "AugMix", "recipe")})
    monkeypatch.setattr(experiment, "measure", lambda *_: next(each))
    config = dataclasses.replace(SMALL, source=source, run=str(tmp_path), seeds=3)
    result = experiment.main(config)
    assert result.holds
    assert words in result.verdict
    assert "The net itself: 90.0 % on clean images, 59.0 % on corrupted ones, worst on gaussian noise (58.0 %)." in (
        result.verdict
    )
    assert "90.0 ± 0.0 % and 59.0 ± 0.0 % without augmentation" in result.verdict


@pytest.mark.slow
def test_it_does_not_hold_where_more_corruption_costs_nothing(source, tmp_path, monkeypatch):
    flat = np.array([0.8, 0.7, 0.7, 0.6, 0.5])
    monkeypatch.setattr(experiment, "compared", lambda *_: {name: [None] * 2 for name in (PLAIN, "AugMix")})
    each = iter([measured(FALLING)] * 4 + [measured(flat)])
    monkeypatch.setattr(experiment, "measure", lambda *_: next(each))
    config = dataclasses.replace(SMALL, source=source, run=str(tmp_path))
    result = experiment.main(config)
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: the mean accuracy of every net falls with each severity.")
    each = iter([measured(flat)] * 5)
    result = experiment.main(dataclasses.replace(config, quick=True))
    assert result.holds
    assert result.verdict.startswith("not judged: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, r"^corruptions: expected at least 2 seeds, got 1\. "),
        ({"kinds": ("rain",)}, r"^corruptions: expected kinds out of \('gaussian_noise', "),
    ],
)
def test_bad_options(options, message, source, tmp_path):
    with pytest.raises(ValueError, match=message):
        experiment.main(dataclasses.replace(SMALL, **{"source": source, "run": str(tmp_path), "passes": 1, **options}))

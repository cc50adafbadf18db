"""The experiment of probes: which layers it looks at, what it measures, and what it says."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import jaxcnn
from experiments import probes as experiment
from experiments import train
from experiments.apparatus.trained import Trained, trained
from experiments.framework.run_folder import write_json
from experiments.probes import TRAINED, UNTRAINED, Config, looked_at, own_layer
from jaxcnn import data, models, training
from jaxcnn import functional as F
from jaxcnn.explain.probes import Similarity
from jaxcnn.layers import Conv, Dense, Flatten, MaxPool, Normalize, Residual, Sequential

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]
SMALL = Config(layers=4, images=120, test_images=80, limit=16, l2=0.1, compared=16, epochs=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file with a small net."""
    train, _ = data.load("digits")
    net = Sequential(
        normalize=Normalize(train.info.mean, train.info.std), conv1=Conv(4, 3, stride=2), act1=F.relu,
        flatten=Flatten(), fc1=Dense(8), act2=F.relu, head=Dense(10),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    params, state = net.init(jax.random.key(5), train.spec)
    jaxcnn.save(path, net, params, state, spec=train.spec, class_names=train.info.class_names)
    return str(path)


def test_the_second_net_is_of_the_seed_after_that_of_the_run(source, monkeypatch, tmp_path):
    fitted = {}

    def fit(net, train, **options):
        fitted.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", fit)
    given = train.Config(seed=3, patience=2, accumulate=2, run=str(tmp_path))
    write_json(tmp_path / "config.json", {"experiment": "train", "config": dataclasses.asdict(train.resolve(given))})
    train_set, _ = data.load("digits")
    model = jaxcnn.load(source)
    found = Trained(model.net, model.params, model.state, train_set, train_set)
    for config, seed in ((experiment.Config(source=str(tmp_path)), 4), (experiment.Config(seed=7), 8)):
        with pytest.raises(KeyboardInterrupt):
            experiment.second(config, found)
        assert jax.random.key_data(fitted["key"]).tolist() == jax.random.key_data(jax.random.key(seed)).tolist()
        assert (fitted["patience"], fitted["accumulate"]) == ((2, 2) if seed == 4 else (None, 1))


def test_a_files_net_is_tested_on_what_its_training_left_out(source):
    _, test = data.load("digits", split_seed=3)
    for seed in (0, 5):
        found = trained("probes", experiment.Config(source=source, seed=seed, split_seed=3))
        np.testing.assert_array_equal(found.test["image"], test["image"])


def test_a_runs_own_file_is_the_run(source, tmp_path):
    given = train.resolve(train.Config(seed=3, run=str(tmp_path)))
    write_json(tmp_path / "config.json", {"experiment": "train", "config": dataclasses.asdict(given)})
    shutil.copy(source, tmp_path / "model.safetensors")
    _, test = data.load("digits", split_seed=3)
    found = trained("probes", experiment.Config(source=str(tmp_path / "model.safetensors")))
    np.testing.assert_array_equal(found.test["image"], test["image"])


def test_layers_are_the_first_the_last_and_functions_between_them():
    net = models.create("cifar_vgg", width=2, convolutions=(1, 2))
    assert looked_at(net, 5) == ["stage1", "stage1/act1", "stage2/act1", "stage2/act2", "head"]
    assert looked_at(net, 4) == ["stage1", "stage1/act1", "stage2/act2", "head"]
    bare = Sequential(norm=Normalize((0.5,), (1.0,)), conv=Conv(2), pool=MaxPool(2), flatten=Flatten(), head=Dense(2))
    assert looked_at(bare, 8) == ["norm", "conv", "pool", "flatten", "head"]
    around = Sequential(conv=Conv(2), block=Residual(Sequential(act=F.relu, conv=Conv(2))), head=Dense(2))
    assert looked_at(around, 8) == ["conv", "block/branch/act", "head"]


MEASURES = ("similarities", "moved", "seen")
SECTIONS = ("separable_section", "alike_section", "moved_section", "seen_section")


@pytest.fixture(scope="module")
def measured():
    """What a small run measures, kept for the test of what it makes of it."""
    return {}


@pytest.fixture(scope="module")
def result(source, measured, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in MEASURES:
            measure = getattr(experiment, name)
            patch.setattr(experiment, name, lambda *a, n=name, m=measure: measured.setdefault(n, m(*a)))
        run = str(tmp_path_factory.mktemp("run"))
        return experiment.main(dataclasses.replace(SMALL, source=source, run=run))


@pytest.mark.slow  # CI runs it in the course
def test_a_small_run_and_its_record(result):
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert figures["layers"] == ["normalize", "act1", "act2", "head"]
    for name in (TRAINED, UNTRAINED):
        assert [len(values) for values in figures["accuracy"][name].values()] == [2] * 4
        assert all(0 <= value <= 1 for values in figures["accuracy"][name].values() for value in values)
        assert len(set(figures["accuracy"][name]["act1"])) == 2  # other weights
        assert len(set(figures["accuracy"][name]["normalize"])) == 1  # the pixels are the same
    similar = {name: np.array(values) for name, values in figures["similarity"].items()}
    np.testing.assert_allclose(np.diagonal(similar["layers"]), 1, rtol=1e-4)
    assert similar["seeds"][0, 0] == pytest.approx(1, rel=1e-4)
    assert similar["seeds"][2, 2] < 0.99
    assert [len(one["amounts"]) for one in figures["invariance"].values()] == [6, 8, 9]
    shift = figures["invariance"]["shift"]["distance"]
    assert list(shift) == ["normalize", "act1", "act2", "head"]
    assert shift["head"][0] == pytest.approx(0, abs=1e-4)
    assert shift["head"][-1] > 0.05
    rows = {row["layer"]: row for row in figures["moved"]}
    assert list(rows["head"]) == ["layer", "shift by 1/8", "rotation by 30°", "scale by 0.8", "flip"]
    along = {row["layer"]: row for row in figures["beside_moved_map"]}
    assert list(along) == ["normalize", "act1"]
    assert along["normalize"]["flip"] == pytest.approx(0, abs=1e-4)
    assert along["act1"]["shift by 1/8"] > 0
    assert list(figures["receptive_field"][TRAINED]) == ["act1"]
    assert figures["receptive_field"][TRAINED]["act1"]["size"] <= 3.01
    assert [section.title for section in result.pictures] == [
        "How separable the classes are", "Which layers are alike", "What moves them", "What a unit sees"
    ]  # fmt: skip
    assert [len(section.blocks) for section in result.pictures] == [1, 3, 6, 3]
    assert "linear separability (test accuracy of a probe)" in result.verdict


@pytest.mark.slow
def test_what_it_promises(source, result, measured, tmp_path, monkeypatch):
    for name in MEASURES:
        monkeypatch.setattr(experiment, name, lambda *_, n=name: measured[n])
    for name in SECTIONS:
        monkeypatch.setattr(experiment, name, lambda *_: result.pictures[0])
    at = ["normalize", "act1", "act2", "head"]
    same = {path: [0.9, 0.9] for path in at}
    better = {TRAINED: same | {"act2": [0.97, 0.99]}, UNTRAINED: same}
    for worse, holds in ((None, True), (TRAINED, False), (UNTRAINED, False)):
        accuracy = {name: dict(values) for name, values in better.items()}
        if worse == TRAINED:
            accuracy[TRAINED]["normalize"] = [0.98, 0.99]
        if worse == UNTRAINED:
            accuracy[UNTRAINED]["act2"] = [0.98, 0.99]
        monkeypatch.setattr(experiment, "separable", lambda *args, accuracy=accuracy: accuracy)
        monkeypatch.setattr(experiment, "second", lambda config, found: experiment.Weights(found.params, found.state))
        one = experiment.main(dataclasses.replace(SMALL, source=source, run=str(tmp_path)))
        assert one.holds == holds
        said = "NOT as promised: classes are most separable in act2 of the trained net. digits: "
        assert one.verdict.startswith(said) != holds
    quick = experiment.main(dataclasses.replace(SMALL, source=source, run=str(tmp_path), quick=True))
    assert quick.holds
    assert quick.verdict.startswith("not judged: digits: ")


def test_the_mean_of_a_layer_with_itself_leaves_the_pixels_out():
    values = np.array([[1.0, 0.2, 0.1], [0.3, 0.6, 0.5], [0.0, 0.1, 0.8]])
    assert own_layer(Similarity(values, tuple("abc"), tuple("abc"))) == pytest.approx(0.7)


def test_bad_options(source, tmp_path):
    with pytest.raises(ValueError, match=r"^probes: expected at least 3 layers, got 2\. "):
        experiment.main(dataclasses.replace(SMALL, layers=2, source=source, run=str(tmp_path)))

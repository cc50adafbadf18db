"""The experiment on dissection: its layers, its removals, what it says, and a small run to its page."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments import dissect as experiment
from experiments.apparatus.dissection_speed import one_by_one
from experiments.apparatus.trained import Trained
from experiments.apparatus.unit_counts import category_counts
from experiments.apparatus.unit_removal import belongs, removals
from experiments.dissect import Config, stages
from jaxcnn import data, layers, models
from jaxcnn.explain import dissection
from jaxcnn.explain.dissection.image_set import unit_maps

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def mine() -> Trained:
    """A small net that nobody has trained, with scenes."""
    train_key, test_key = jax.random.split(KEY)
    scenes = data.Scenes(size=32)
    train, test = scenes.dataset(train_key, 16), scenes.dataset(test_key, 48)
    model = models.create("cifar_vgg", width=4, convolutions=(1, 1))
    net = layers.Sequential(normalize=layers.Normalize(train.info.mean, train.info.std), **model.layers)
    return Trained(net, *net.init(KEY, train.spec), train, test)


@pytest.fixture(scope="module")
def found(mine):
    examples = mine.test.take(range(32))
    masks, names = dissection.scene_concepts(examples)
    options = {"names": names, "at": "stage2/act1", "quantile": 0.02}
    one = dissection.dissect(*mine[:3], examples["image"], masks, shuffles=1, key=KEY, **options)
    return examples, masks, names, one


def test_layers_are_the_last_activation_function_of_each_stage(mine):
    assert stages(mine) == ("stage1/act1", "stage2/act1")
    net = layers.Sequential(conv=layers.Conv(2), flatten=layers.Flatten(), head=layers.Dense(10))
    assert stages(mine._replace(net=net, params=net.init(KEY, mine.train.spec)[0], state={})) == ("conv",)


def test_loops_count_the_same_pixels(mine, found):
    examples, masks, names, one = found
    forward = lambda image: unit_maps(*mine[:3], image, one.at)[0]  # noqa: E731
    counted = one_by_one(forward, examples["image"], masks, names, one.thresholds)[0]
    texture = [k for k, category in enumerate(one.categories) if category == "texture"]
    on = counted["texture"].sum(axis=1, keepdims=True)
    area = np.bincount(masks["texture"].ravel(), minlength=10)
    np.testing.assert_allclose(
        counted["texture"] / (on + area - counted["texture"]), one.iou[:, texture], rtol=0.02, atol=1e-3
    )


def test_removals_are_of_the_best_the_worst_and_random_units(mine, found, monkeypatch):
    one, given = found[-1], []
    effects = dissection.class_effects

    def watched(*args, **options):
        given.append(options.get("units"))
        return effects(*args, **options)

    monkeypatch.setattr(dissection, "class_effects", watched)
    removed = removals(mine, mine.test, one, 2, KEY)
    assert removed["units_off"] == [1, 2, 4]
    assert [len(removed[name]) for name in ("best", "worst", "random")] == [3, 3, 2]
    sets = [[unit for unit in row if unit >= 0] for row in given[0].tolist()]
    order = [row["unit"] for row in one.rows()]
    assert sets[:6] == [order[:1], order[:2], order[:4], order[:-2:-1], order[:-3:-1], order[:-5:-1]]
    assert [len(set(units)) for units in sets[6:]] == [1, 2, 4, 1, 2, 4]
    assert sets[8] != sets[11]
    images, labels = mine.test["image"], mine.test["label"]
    without = effects(*mine[:3], images, labels, at=one.at, units=[order[:4]])
    assert removed["best"][2] == pytest.approx(float(without.total[0]))


def test_classes_that_have_a_concept():
    assert belongs({"category": "object", "concept": "star"}, "star")
    assert not belongs({"category": "object", "concept": "star"}, "ring")
    assert belongs({"category": "part", "concept": "petal"}, "flower")
    assert not belongs({"category": "part", "concept": "petal"}, "star")
    assert not belongs({"category": "part", "concept": "rim"}, "star")
    assert not belongs({"category": "colour", "concept": "red"}, "star")


def test_bars_end_at_the_sum_of_their_parts():
    figure = category_counts({"a": {"object": 2, "part": 3}, "b": {"object": 0, "part": 0}})
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [2, 0, 3, 0]
    assert axes.patches[2].get_x() == 2
    assert {"5", "0"} <= {text.get_text() for text in axes.texts}


@pytest.mark.slow  # CI runs it in the course
def test_a_small_run(mine, monkeypatch):
    monkeypatch.setattr(experiment, "trained", lambda where, config: mine)
    config = Config(quick=True, images=24)
    result = experiment.main(config)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["layers"]) == ["stage1/act1", "stage2/act1"]
    assert figures["planted"]["lowest_iou"] > 0.9
    assert figures["planted"]["found"] == 12
    assert list(figures["speed"]) == ["shuffles_0", "shuffles_2"]
    assert figures["speed"]["shuffles_0"]["dissect"]["a_second"] > 0
    assert result.verdict.startswith("not judged: ")
    assert [section.title for section in result.pictures] == [
        "What units detect", "Detectors of stage1/act1", "Detectors of stage2/act1", "Without them",
        "Does it find what is planted?", "Speed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 1}, "^dissect: expected at least 2 images, got 1"),
        ({"images": 48}, "^dissect: expected fewer than 48 images, got 48"),
        ({"draws": 1}, "^dissect: expected at least 2 draws, got 1"),
        ({"shuffles": 0}, "^dissect: expected at least one shuffle, got 0"),
    ],
)
def test_bad_options(mine, monkeypatch, options, message):
    monkeypatch.setattr(experiment, "trained", lambda where, config: mine)
    monkeypatch.setattr(experiment, "planted_found", lambda *_: {})
    with pytest.raises(ValueError, match=message):
        experiment.main(Config(**{"images": 24} | options))


def test_sets_without_masks_are_refused(mine, monkeypatch):
    plain = data.from_arrays(mine.test["image"], mine.test["label"], class_names=mine.class_names)
    monkeypatch.setattr(experiment, "trained", lambda where, config: mine._replace(test=plain))
    monkeypatch.setattr(experiment, "planted_found", lambda *_: {})
    with pytest.raises(ValueError, match=r"^dissect: expected a set with the masks of scenes, got .*--dataset scenes"):
        experiment.main(Config(images=24))


@pytest.mark.slow
def test_the_command_leaves_a_page(tmp_path):
    command = [sys.executable, "-m", "experiments.dissect", "--quick", "--run", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000

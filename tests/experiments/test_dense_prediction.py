"""The experiment on masks and boxes: its objects, what counts as erased, a small run, and what it promises."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import dense_prediction as experiment
from experiments.apparatus.erased import Erased
from experiments.apparatus.explained_outputs import Explained
from experiments.apparatus.largest_object import largest_objects
from experiments.apparatus.scene_tasks import CLASSES, STRIDE, drawn, tasks
from experiments.dense_prediction import Config
from jaxcnn import detection, report

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def scenes():
    return drawn(jax.random.key(0), 16)


@pytest.fixture(scope="module")
def both(scenes):
    return tasks(scenes.info, 2)


@pytest.fixture(scope="module")
def known(scenes):
    """Return outputs that are the truth, by task: logits of the masks, and heat, sizes and offsets."""
    pixels = 5.0 * np.eye(len(CLASSES) + 1, dtype=np.float32)[scenes["object_mask"]]
    side = 32 // STRIDE
    shape = {"shape": (side, side), "classes": len(CLASSES), "stride": STRIDE}
    heat = np.stack(
        [detection.heat_map(b, c, **shape) for b, c in zip(scenes["boxes"], scenes["box_class"], strict=True)]
    )
    beside = np.zeros((len(heat), side, side, 4), np.float32)
    for n, (boxes, kinds) in enumerate(zip(scenes["boxes"], scenes["box_class"], strict=True)):
        for (x0, y0, x1, y1), kind in zip(boxes, kinds, strict=True):
            if kind >= 0:
                cx, cy = (x0 + x1) / 2 / STRIDE, (y0 + y1) / 2 / STRIDE
                beside[n, int(cy), int(cx)] = [(x1 - x0) / STRIDE, (y1 - y0) / STRIDE, cx % 1, cy % 1]
    return {"segmentation": pixels, "detection": np.concatenate([np.where(heat == 1, 5.0, -5.0), beside], -1)}


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_what_is_found_is_neither_erased_nor_changed(number, both, scenes, known):
    task = both[number]
    objects = largest_objects(task, scenes, known[task.name], 6)
    assert objects.x.shape == (6, 32, 32, 3)
    assert task.measure(known[task.name], scenes) > 0.99
    shown = [np.flatnonzero((scenes["image"] == image).all((1, 2, 3)))[0] for image in objects.scenes["image"]]
    found = objects.judge(known[task.name][shown])
    assert not found.erased.any()
    assert (found.elsewhere == 1).all()
    assert (objects.there(known[task.name][shown]) > objects.threshold).all()
    np.testing.assert_array_equal(objects.region, objects.scenes["instance_mask"] == 1)


def test_a_mask_is_erased_where_its_pixels_have_another_class(both, scenes, known):
    outputs = known["segmentation"]
    objects = largest_objects(both[0], scenes, outputs, 16)
    assert len(objects.x) == 16
    without = outputs.copy()
    without[objects.region] = 5.0 * np.eye(len(CLASSES) + 1)[0]
    found = objects.judge(without)
    assert found.erased.all()
    assert (found.elsewhere == 1).all()
    assert (objects.there(without) == objects.threshold).all()
    nothing = objects.judge(5.0 * np.eye(len(CLASSES) + 1)[np.zeros((16, 32, 32), int)])
    two = (scenes["instance_mask"] == 2).any((1, 2))
    assert nothing.erased.all()
    assert ((nothing.elsewhere < 1) == two).all()
    other = outputs.copy()
    other[objects.region] = np.roll(outputs[objects.region], 1, -1)
    assert objects.judge(other).erased.all()
    half = np.where((np.arange(32) < 16)[:, None, None], without, outputs)
    assert not objects.judge(half).erased[_lies_across(objects.region)].any()


def _lies_across(region):
    """Return which regions have more than a tenth of their pixels in the lower half."""
    return region[:, 16:].sum((1, 2)) > 0.1 * region.sum((1, 2))


@pytest.mark.slow
def test_a_box_is_erased_where_none_overlaps_it(both, scenes, known):
    outputs = known["detection"]
    objects = largest_objects(both[1], scenes, outputs, 16)
    assert len(objects.x) == 16
    nothing = np.where(np.arange(9) < 5, -5.0, outputs)
    found = objects.judge(nothing)
    two = scenes["box_class"][:, 1] >= 0
    assert found.erased.all()
    assert (objects.there(nothing) <= objects.threshold).all()
    np.testing.assert_array_equal(found.elsewhere, np.where(two, 0.0, 1.0))
    renamed = np.concatenate([np.roll(outputs[..., :5], 1, -1), outputs[..., 5:]], -1)
    found = objects.judge(renamed)
    assert not found.erased.any()  # a box of another class is one, too
    np.testing.assert_array_equal(found.elsewhere, np.where(two, 0.0, 1.0))


def test_a_net_that_finds_nothing_is_refused(both, scenes, known):
    message = r"^largest_objects: expected two scenes or more in which the net finds .* got 0 of 16\. Train"
    with pytest.raises(ValueError, match=message):
        largest_objects(both[1], scenes, np.where(np.arange(9) < 5, -5.0, known["detection"]), 6)


@pytest.mark.slow
def test_a_quick_run_and_its_record():
    result = experiment.main(Config(quick=True))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    for name in ("segmentation", "detection"):
        assert figures[name]["explained"]["methods"].keys() >= {"Grad-CAM", "occlusion", "middle of the image"}
        for found in figures[name]["erased"].values():
            assert {"4/255", "16/255"} == found.keys()
    assert result.holds
    assert result.verdict.startswith("not judged: segmentation")
    assert [section.title for section in result.pictures] == [
        "Segmentation: what decides?", "Segmentation: erased", "Detection: what decides?", "Detection: erased",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("hit", "attacked", "noised", "missed"),
    [
        (0.9, 0.95, 0.05, ""),
        (0.3, 0.95, 0.05, "HiResCAM in segmentation; HiResCAM in detection"),
        (0.9, 0.85, 0.05, "erasing in segmentation; erasing in detection"),
        (0.9, 0.95, 0.15, "erasing in segmentation; erasing in detection"),
    ],
)
def test_what_it_promises(hit, attacked, noised, missed, monkeypatch, scenes, known):
    section = report.Section("", [])
    explained = Explained(section, {}, {"HiResCAM": hit, "Grad-CAM": 0.1, "middle of the image": 0.4})
    gone = Erased(section, {}, np.array([0.1, attacked]), np.array([0.0, noised]), "so it is", "")
    monkeypatch.setattr(experiment, "drawn", lambda key, n: scenes)
    monkeypatch.setattr(experiment, "trained", lambda config, task, *_: task)
    monkeypatch.setattr(experiment, "explained_outputs", lambda *_: explained)
    monkeypatch.setattr(experiment, "erased", lambda *_: gone)
    monkeypatch.setattr(experiment, "said", lambda task, *_: known[task.name])
    result = experiment.main(Config(width=2, images=4))
    assert result.holds is (not missed)
    assert result.verdict.startswith(f"NOT as promised: {missed}." if missed else "segmentation (mean")


@pytest.mark.parametrize("epsilons", [(), (2.0, 1.0), (0.0, 1.0)])
def test_bad_epsilons(epsilons):
    with pytest.raises(ValueError, match=r"^dense_prediction: expected rising epsilons above 0, got \("):
        experiment.main(dataclasses.replace(Config(), epsilons=epsilons))

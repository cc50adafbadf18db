"""The experiment on backbones: its scenes, a small run, and what it promises."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest

from experiments import backbone_transfer as experiment
from experiments.apparatus import few_images
from experiments.apparatus.scene_tasks import drawn, tasks
from experiments.backbone_transfer import FROZEN, SCRATCH, TUNED, Config, Measured, Sets, lanes_of

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(
    sizes=(4, 8), seeds=2, source_scenes=64, source_epochs=1, held_out=4, test_scenes=8, steps=2, batch_size=8,
    rates=(3e-3,), width=2,
)  # fmt: skip


def test_each_seed_has_scenes_of_its_own_and_all_lanes_are_equally_long():
    lanes = lanes_of(dataclasses.replace(SMALL, sizes=(2, 4), seeds=3))
    assert lanes.tolist() == [
        [0, 1, 0, 1], [4, 5, 4, 5], [8, 9, 8, 9],
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11],
    ]  # fmt: skip


@pytest.mark.slow
def test_a_small_run_and_its_record(monkeypatch):
    begun = []
    sweep = few_images.search.sweep
    monkeypatch.setattr(few_images.search, "sweep", lambda *a, **o: begun.append(o) or sweep(*a, **o))
    result = experiment.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    for name in ("segmentation", "detection"):
        assert figures[name]["reached"].keys() == {SCRATCH, TUNED, FROZEN}
        assert figures[name]["reached"][TUNED]["4"]["n"] == 2
        difference = figures[name]["reached"][TUNED]["8"]["mean"] - figures[name]["reached"][SCRATCH]["8"]["mean"]
        assert figures[name]["over_scratch"][TUNED]["8"]["mean"] == pytest.approx(difference)
    assert [("start" in options, len(options.get("freeze", ()))) for options in begun] == [
        (False, 0), (True, 0), (True, 4),
    ] * 2  # fmt: skip
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: with 4 scenes")


def made_up(scratch, tuned, frozen):
    """Return what the ways reach, (seeds, sizes), a little different from seed to seed."""
    wobble = 0.01 * np.array([[0.0], [1], [3]])
    outputs = np.zeros((4, 32, 32, 6), np.float32)
    reached = {SCRATCH: scratch, TUNED: tuned, FROZEN: frozen}
    return {
        way: Measured(np.array(values) + wobble * (1 + i), 0.1, outputs)
        for i, (way, values) in enumerate(reached.items())
    }


@pytest.mark.slow
@pytest.mark.parametrize(("boxes", "holds"), [((0.1, 0.3), True), ((0.1, 0.1), False)])
def test_what_it_promises_is_a_gain_in_both_tasks(boxes, holds):
    test = drawn(jax.random.key(0), 8)
    pixels, objects = tasks(test.info, 2)
    found = {
        pixels: made_up((0.2, 0.5), (0.4, 0.5), (0.3, 0.4)),
        objects: {
            way: one._replace(outputs=np.full((4, 16, 16, 9), -9, np.float32))
            for way, one in made_up((boxes[0], 0.5), (boxes[1], 0.5), (0.1, 0.4)).items()
        },
    }
    config = dataclasses.replace(SMALL, seeds=3)
    result = experiment.told(config, Sets(test, lanes_of(config), test, test), 0.9, found)
    assert result.holds is holds
    assert result.verdict.startswith("NOT") is not holds
    assert (
        "segmentation (mean intersection over union) with 4 and 8 scenes: from scratch 0.213 and 0.513"
        in result.verdict
    )
    assert re.search(r"better than from scratch .*: backbone, tuned and backbone, frozen\. detection", result.verdict)
    rows = result.pictures[0].blocks[1].rows
    assert [row["scenes"] for row in rows] == [4, 8]
    assert rows[0][SCRATCH] == "0.213 ± 0.015"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, r"at least 2 seeds, got 1\."),
        ({"sizes": (4, 6)}, r"two or more rising numbers of images that divide the last, got \(4, 6\)\."),
        ({"rates": ()}, r"at least one rate, got \(\)\."),
        ({"batch_size": 9}, r"batches of at most the 8 scenes, got 9\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"^backbone_transfer: expected {message}"):
        experiment.main(dataclasses.replace(SMALL, **options))

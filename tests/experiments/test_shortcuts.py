"""The experiment on shortcuts: its scenes, its counts, and what it promises."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from experiments import shortcuts
from experiments.shortcuts import RANDOM, Config, Seen, drawn
from tests.experiments.untrained import Untrained

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(0)
SHAPES = ("disc", "star", "cross")
SMALL = Config(
    classes=SHAPES, size=32, scenes=40, test_scenes=20, strengths=(1.0,), seeds=2, epochs=2, batch_size=20, width=4
)


@pytest.mark.slow
@pytest.mark.parametrize("by", [0, 1, 2])
def test_scenes_show_the_shape_of_one_class_and_the_cue_of_another(by, monkeypatch):
    kept = []
    dataset = shortcuts.Scenes.dataset
    monkeypatch.setattr(shortcuts.Scenes, "dataset", lambda *args: kept.append(dataset(*args)) or kept[-1])
    for cue in ("texture", "ground"):
        found = drawn(SMALL, KEY, 60, cue, 1.0, by)
        scenes = kept[-1]
        assert found.info.class_names == SHAPES
        np.testing.assert_array_equal(found["image"], scenes["image"])
        assert set(found["label"]) == {0, 1, 2}
        # The scenes' own labels are of their classes, in another order.
        names = np.array([*SHAPES[by:], *SHAPES[:by]])[scenes["label"]]
        assert [SHAPES[label] for label in found["label"]] == names.tolist()
        np.testing.assert_array_equal((found["cue"] + by) % 3, found["label"])
        inside = scenes["instance_mask"] == 1
        where = inside if cue == "texture" else ~inside
        for mask in ("texture_mask", "colour_mask") if cue == "ground" else ("texture_mask",):
            assert all((m[w] == c).all() for m, w, c in zip(scenes[mask], where, found["cue"], strict=True)), cue


@pytest.mark.slow
def test_sets_conflict_with_every_other_class():
    sets = shortcuts.sets_to_test(SMALL, KEY)
    assert list(sets) == [RANDOM, *(f"{cue} {how}" for cue in ("texture", "ground") for how in ("agrees", "conflicts"))]
    for cue in ("texture", "ground"):
        agrees, conflicts = sets[f"{cue} agrees"], sets[f"{cue} conflicts"]
        assert agrees.size == conflicts.size == 20
        assert (agrees["label"] == agrees["cue"]).all()
        assert np.bincount((conflicts["label"] - conflicts["cue"]) % 3).tolist() == [0, 10, 10]
    assert len({test["image"].tobytes() for test in sets.values()}) == 5


def test_counts_by_hand():
    assert Seen(0.3, 0.1).shape_bias == pytest.approx(0.75)
    assert np.isnan(Seen(0.0, 0.0).shape_bias)
    assert shortcuts.known([0.5, np.nan]) is None


@pytest.mark.slow
def test_lanes_learn_from_their_own_scenes(monkeypatch):
    kinds = {RANDOM: ("texture", 0.0), "sure": ("texture", 1.0)}
    calls = []

    def spied(net, pool, **options):
        calls.append((pool, options["examples"]))
        return Untrained(net, pool, len(options["examples"]))

    monkeypatch.setattr(shortcuts.search, "random_restarts", spied)
    found = shortcuts.learned(SMALL, kinds, {"test": drawn(SMALL, KEY, 10, "texture", 1.0)}, KEY, KEY)
    assert {name: len(seeds) for name, seeds in found.items()} == {RANDOM: 2, "sure": 2}
    ((pool, examples),) = calls
    assert examples.shape == (4, 40)
    assert len(np.unique(examples)) == pool.size == 160
    keys = jax.random.split(KEY, 2)
    np.testing.assert_array_equal(pool["image"][examples[2]], drawn(SMALL, keys[1], 40, "texture", 1.0)["image"])


@pytest.mark.slow  # `make course` runs all experiments small
def test_a_small_run_and_its_record():
    result = shortcuts.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures) == [RANDOM, "texture tells 100%", "ground tells 100%"]
    one = figures["texture tells 100%"]
    assert list(one["texture conflicts"]) == ["shape", "cue", "shape_bias"]
    assert one["random"]["shape"]["n"] == 2
    assert [section.title for section in result.pictures] == [
        "Texture against shape",
        "The background in place of the object",
    ]
    for section in result.pictures:
        assert len(section.blocks[1].figure.axes[0].images) == 3 * shortcuts.SHOWN
        assert len(section.blocks[-1].rows) == 2


def found(random_bias=0.9, texture_bias=0.1, random_fall=0.02, ground_fall=0.5):
    """Return what nets say, of three seeds with a little wobble."""

    def net(bias, fall, wobble):
        agrees = Seen(0.95, 0.95)
        return {
            RANDOM: Seen(0.9, 0.1),
            "texture agrees": agrees,
            "texture conflicts": Seen(0.8 * (bias + wobble), 0.8 * (1 - bias - wobble)),
            "ground agrees": agrees,
            "ground conflicts": Seen(0.95 - fall - wobble, 0.01),
        }

    kinds = {
        RANDOM: (random_bias, random_fall),
        "texture tells 100%": (texture_bias, 0.1),
        "ground tells 100%": (0.5, ground_fall),
    }
    return {name: [net(*of, wobble) for wobble in (0.0, 0.01, 0.02)] for name, of in kinds.items()}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({}, ""),
        ({"texture_bias": 0.91}, "random textures lead to the shape more than 100% agreement, with each seed"),
        ({"ground_fall": 0.01}, "swapped grounds cost the nets of 100% agreement more, with each seed"),
    ],
)
def test_what_it_promises(monkeypatch, what, words):
    monkeypatch.setattr(shortcuts, "learned", lambda *_: found(**what))
    result = shortcuts.main(dataclasses.replace(SMALL, seeds=3))
    assert result.holds == (not words)
    assert result.verdict.startswith(f"NOT as promised: {words}. Where" if words else "Where texture and shape name")
    if not words:
        assert "follow the shape in 11.0 ± 1.0 %" in result.verdict
        assert "random textures in 91.0 ± 1.0 %" in result.verdict
        assert "accuracy is 95.0 ± 0.0 %, and with the ground of another class 44.0 ± 1.0 %" in result.verdict
        assert "random grounds 92.0 ± 1.0 %; 3 seeds." in result.verdict
    result = shortcuts.main(dataclasses.replace(SMALL, seeds=3, quick=True, strengths=(1.0,)))
    assert result.holds
    assert result.verdict.startswith("not judged: ")


def test_nets_that_name_neither_class_have_no_bias():
    nothing = found()
    for seed in itertools.chain(*nothing.values()):
        seed["texture conflicts"] = Seen(0.0, 0.0)
    tests = dict.fromkeys(nothing[RANDOM][0], drawn(SMALL, KEY, 20, "texture", 1.0))
    texture, ground = shortcuts.sections(SMALL, tests, nothing)
    assert [len(texture.blocks), len(ground.blocks)] == [3, 4]  # of the texture there is nothing to draw


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, r"^shortcuts: expected at least 2 seeds, got 1\. "),
        ({"classes": ("disc",)}, r"^shortcuts: expected at least 2 classes, got \('disc',\)\. "),
        ({"classes": ("disc", "blob")}, r"^Scenes: expected different classes out of \('disc', "),
        ({"strengths": (0.0,)}, r"^shortcuts: expected strengths above 0, up to 1, got \(0\.0,\)\. "),
        ({"strengths": ()}, r"^shortcuts: expected strengths above 0, up to 1, got \(\)\. "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        shortcuts.main(dataclasses.replace(SMALL, **options))

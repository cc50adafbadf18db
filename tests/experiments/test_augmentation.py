"""The experiment on augmentations: what it draws, what it checks, what it measures and what it says."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import augmentation
from experiments import augmentation_gallery as gallery
from experiments.__main__ import experiments
from experiments.augmentation import Config, gain, load, measure, sentence, transforms
from jaxcnn import augment, data

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(dataset="digits", per_class=5, test_images=40, seeds=2, epochs=1, batch_size=25, width=2)


@pytest.fixture(scope="module")
def example():
    return gallery.scene(0)


def test_every_operation_is_drawn(example):
    drawn = [name for rows in gallery.families(example).values() for name in rows]
    assert len(set(drawn)) == len(drawn)
    used = {"batched", "principal_components", "test_time"}  # what lifts, measures and averages draws no image
    assert set(drawn) == set(augment.__all__) - used
    counts = {name: len(cells) for rows in gallery.families(example).values() for name, cells in rows.items()}
    assert {name for name, count in counts.items() if count != gallery.COLUMNS} == {"mirrored"}


def test_a_row_is_the_original_and_then_what_its_cells_make(example, monkeypatch):
    rows = {"Erasing": {"cutout": gallery.rising(augment.cutout, "size", 4, 16, 32, unit=" px")}}
    monkeypatch.setattr(gallery, "families", lambda example: rows)
    key = jax.random.key(3)
    (section,) = gallery.sections(key, example, 2)
    (axes,) = section.blocks[0].figure.axes
    assert [text.get_text() for text in axes.texts] == ["cutout", "original", "16 px", "32 px"]
    keyed = jax.random.fold_in(key, 0)  # the same square, larger
    expected = [example["image"], *(augment.cutout(keyed, example["image"], size=size) for size in (16, 32))]
    for image, wanted in zip(axes.images, expected, strict=True):
        np.testing.assert_allclose(np.asarray(image.get_array()) / 255, wanted, atol=1 / 255)


def test_draws_have_keys_of_their_own_and_strengths_share_one():
    assert len({cell.draw for cell in gallery.draws(augment.flip)}) == gallery.COLUMNS
    assert {cell.draw for cell in gallery.exactly(augment.rotate, "degrees", 5, 10)} == {0}


@pytest.mark.slow
def test_mixing_says_what_share_of_the_label_is_left(example):
    mixed = gallery.mixed(augment.mixup, 1.0).fn(jax.random.key(1), example)
    share = float(mixed["share"])
    assert 0 < share < 1
    left = mixed["image"] - share * example["image"]
    off = [float(jnp.abs(left - (1 - share) * other).max()) for other in example["others"]]
    assert min(off) < 1e-5


def test_keypoints_lie_on_the_outermost_pixels_of_the_largest_object(example):
    rows, columns = np.nonzero(np.asarray(example["instance_mask"]) == 1)
    left, right, top, bottom = np.asarray(example["keypoints"])
    assert (left[0], right[0]) == (columns.min() + 0.5, columns.max() + 0.5)
    assert (top[1], bottom[1]) == (rows.min() + 0.5, rows.max() + 0.5)
    assert gallery.strays(example) == {"boxes": 0.0, "keypoints": 0.0}


@pytest.mark.parametrize(
    ("entry", "by", "found"),
    [
        ("boxes", (3, 0, 3, 0), {"boxes": 3.0, "keypoints": 0.0}),
        ("boxes", (0, -4, 0, -4), {"boxes": 4.0, "keypoints": 0.0}),
        ("keypoints", (0, -40), {"boxes": 0.0, "keypoints": 40.0}),
    ],
)
def test_what_is_left_behind_is_seen(entry, by, found):
    mask = jnp.zeros((64, 64), jnp.int32).at[50:56, 20:30].set(1)
    held = {
        "instance_mask": mask,
        "boxes": jnp.array([[20.0, 50, 30, 56]]),
        "keypoints": jnp.array([[20.5, 50.5], [29.5, 55.5]]),
    }
    assert gallery.strays(held) == {"boxes": 0.0, "keypoints": 0.0}
    strays = gallery.strays({**held, entry: held[entry] + jnp.array(by, jnp.float32)})
    assert found.items() <= strays.items()
    assert max(strays.values()) > gallery.NEAR


@pytest.mark.slow
def test_some_motions_keep_everything_on_its_object(example, monkeypatch):
    few = {name: gallery.GEOMETRY[name] for name in ("flip", "vertical_flip", "alternating_flip", "shift", "rotate")}
    policies = ("compose", "rand_augment", "trivial_augment")
    monkeypatch.setattr(gallery, "GEOMETRY", few)
    monkeypatch.setattr(gallery, "POLICIES", dict.fromkeys(policies, few["shift"]))
    moved = gallery.moved(jax.random.key(0), example)
    assert list(moved) == ["original", *few, *policies]
    assert gallery.left_behind(moved) == []
    shifted = {**example, "boxes": example["boxes"] + jnp.array([2.0, 0, 2, 0])}
    assert gallery.left_behind({"elastic": shifted, "shift": shifted}) == ["shift"]
    assert gallery.left_behind({"elastic": {**example, "boxes": example["boxes"] + 5}}) == ["elastic"]
    assert not np.array_equal(moved["rotate"]["object_mask"], example["object_mask"])
    figure = gallery.pictured(moved).figure
    assert [text.get_text() for text in figure.axes[0].texts] == list(moved)


def test_the_run_is_recorded_and_does_not_hold_when_something_is_left_behind(monkeypatch):
    accuracies = {"none": [0.5, 0.6], "crop": [0.7, 0.7], "cutout": [0.4, 0.5], "mixup": [0.6, 0.5]}
    monkeypatch.setattr(augmentation, "measure", lambda *args: accuracies)
    monkeypatch.setattr(gallery, "sections", lambda key, example, columns: iter(()))
    still = gallery.scene(0)
    monkeypatch.setattr(gallery, "moved", lambda key, example: {"original": still})
    result = augmentation.main(SMALL)
    assert result.holds
    assert json.loads(json.dumps(result.figures))["gain"]["crop"]["mean"] == pytest.approx(0.15)
    assert result.headline[1].label == "with crop"
    left = {**still, "boxes": still["boxes"] + 5}
    monkeypatch.setattr(gallery, "moved", lambda key, example: {"original": still, "shift": left})
    result = augmentation.main(SMALL)
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: off their objects after shift. digits, 5 images of each class")


def test_the_sentence_claims_only_what_is_so_with_every_seed():
    without = [0.50, 0.60]
    gains = {
        name: gain(values, without)
        for name, values in {"crop": [0.52, 0.63], "flip": [0.52, 0.59], "mixup": [0.4, 0.5]}.items()
    }
    train_set, _ = data.load("digits")
    assert sentence(SMALL, train_set, without, gains) == (
        "digits, 5 images of each class, 1 epochs, 2 seeds: 55.0 % without augmentation; in points of test accuracy, "
        "better with every seed: crop +2.5; worse with every seed: mixup -10.0; neither: flip +0.5."
    )


@pytest.mark.slow
def test_families_keep_shapes_and_mixing_gives_soft_labels():
    batch = {"image": jnp.full((4, 8, 8, 1), 0.5).at[:, 2].set(1.0), "label": jnp.arange(4)}
    for name, way in transforms(4, 8).items():
        if way is not None and name not in ("rand_augment", "trivial_augment"):  # tested where they are
            changed = way(jax.random.key(0), batch)
            assert changed["image"].shape == batch["image"].shape
            assert changed["label"].shape == ((4, 4) if name in ("mixup", "cutmix") else (4,))


@pytest.mark.slow
def test_small_trainings_are_reproduced_and_differ_by_seed(monkeypatch):
    monkeypatch.setattr(augmentation, "QUICK", ("none", "mixup"))
    config = dataclasses.replace(SMALL, quick=True)
    found = measure(config, *load(config))
    assert list(found) == ["none", "mixup"]
    assert [len(values) for values in found.values()] == [2, 2]
    assert all(0 <= value <= 1 for values in found.values() for value in values)
    again = measure(dataclasses.replace(config, seed=1, seeds=1), *load(config))
    assert [values[1] for values in found.values()] == [values[0] for values in again.values()]


def test_without_fashion_mnist_it_is_the_digits_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXCNN_DATA", str(tmp_path))
    train_set, test_set = load(Config(test_images=30))
    assert train_set.info.name == "digits"
    assert test_set.size == 30
    assert re.match("The digits, since there is no Fashion-MNIST. load: expected ", capsys.readouterr().out)
    with pytest.raises((FileNotFoundError, ImportError), match="fashion_mnist"):
        load(Config(dataset="fashion_mnist"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, "^augmentation: expected at least 2 seeds, got 1. "),
        ({"test_images": 0}, "^augmentation: expected at least 1 test image, got 0. "),
        ({"per_class": 0}, r"^per_class: expected n in 1\.\."),
        ({"dataset": "digit"}, "Did you mean 'digits'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        augmentation.main(dataclasses.replace(SMALL, **options))


def test_it_is_listed_and_its_gallery_is_not():
    assert "augmentation" in experiments()
    assert "augmentation_gallery" not in experiments()

"""The experiment on augmentations: what it draws, what it checks, what it measures and what it says."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import activations, augmentation, data_hunger
from experiments.apparatus import augmentation_gallery as gallery
from experiments.apparatus.few_images import parts
from experiments.augmentation import Config, Found, chosen, measure, sentence, transforms
from jaxcnn import augment

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(dataset="digits", per_class=5, held_out=30, test_images=40, seeds=2, epochs=1, batch_size=25, width=2)


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


def accuracies(**families):
    """Return what is found of families, by held-out and by test accuracies of two seeds."""
    return {name: Found(np.array(held_out), np.array(test)) for name, (held_out, test) in families.items()}


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the gallery out."""
    monkeypatch.setattr(gallery, "sections", lambda key, example, columns: iter(()))
    still = gallery.scene(0)
    monkeypatch.setattr(gallery, "moved", lambda key, example: {"original": still})
    return still


def test_the_run_is_recorded_and_does_not_hold_when_something_is_left_behind(monkeypatch, undrawn):
    found = accuracies(none=([0.5, 0.5], [0.5, 0.6]), crop=([0.7, 0.6], [0.7, 0.8]), cutout=([0.6, 0.5], [0.9, 0.9]))
    monkeypatch.setattr(augmentation, "measure", lambda *args: found)
    result = augmentation.main(SMALL)
    assert result.holds
    figures = json.loads(json.dumps(result.figures))
    assert figures["gain"]["crop"]["mean"] == pytest.approx(0.2)
    assert figures["chosen"]["family"] == ["crop", "crop"]  # by held-out images, though cutout is best on the test
    assert figures["chosen"]["gain"]["values"] == pytest.approx([0.2, 0.2])
    assert result.headline[1].note == "points with crop"
    left = {**undrawn, "boxes": undrawn["boxes"] + 5}
    monkeypatch.setattr(gallery, "moved", lambda key, example: {"original": undrawn, "shift": left})
    result = augmentation.main(SMALL)
    assert not result.holds
    assert result.verdict.startswith(
        "NOT as promised: boxes and keypoints on their objects after shift. digits, 5 images"
    )


@pytest.mark.parametrize("crop", [[0.5, 0.6], [0.4, 0.9], [0.4, 0.5]])  # no gain, perhaps chance, worse
def test_it_does_not_hold_where_the_chosen_family_is_no_better_on_test_images(monkeypatch, undrawn, crop):
    better = ([0.1, 0.1], [0.9, 0.9])  # on the test images, which choose nothing
    found = accuracies(none=([0.5, 0.5], [0.5, 0.6]), crop=([0.7, 0.6], crop), cutout=better)
    monkeypatch.setattr(augmentation, "measure", lambda *args: found)
    result = augmentation.main(SMALL)
    assert not result.holds
    assert result.verdict.startswith(
        "NOT as promised: the family chosen on held-out images is better than none on test images, beyond the 95 % "
        "interval. digits, 5 images"
    )


def test_a_family_is_chosen_by_the_other_seeds():
    held_out = {"crop": np.array([0.9, 0.1, 0.1]), "flip": np.array([0.2, 0.3, 0.2])}
    assert chosen(held_out) == ["flip", "crop", "crop"]


def test_the_sentence_claims_only_what_is_so_with_every_seed():
    without = np.array([0.50, 0.60])
    gains = {
        name: np.array(values) - without
        for name, values in {"crop": [0.52, 0.63], "flip": [0.52, 0.59], "mixup": [0.4, 0.5]}.items()
    }
    won = {"mean": 0.025, "interval": [-0.01, 0.06]}
    assert sentence(SMALL, parts(SMALL)[1], without, gains, ["crop", "flip"], won) == (
        "digits, 5 images of each class, 1 epochs, 2 seeds: 55.0 % without augmentation; chosen on held-out images: "
        "crop (1x), flip (1x), +2.5 points of test accuracy (-1.0 to +6.0). All families, better with every seed: crop "
        "+2.5; worse with every seed: mixup -10.0; neither: flip +0.5."
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
    config, of = parts(config)
    found = measure(config, of)
    assert list(found) == ["none", "mixup"]
    for one in found.values():
        assert one.held_out.shape == one.test.shape == (2,)
        assert all(((values >= 0) & (values <= 1)).all() for values in one)
    assert (of.lanes[0] != of.lanes[1]).any()
    monkeypatch.setattr(augmentation, "QUICK", ("mixup",))
    np.testing.assert_array_equal(found["mixup"], measure(config, of)["mixup"])


def test_without_fashion_mnist_it_is_the_digits_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXCNN_DATA", str(tmp_path))
    _, of = parts(dataclasses.replace(SMALL, dataset=None))
    assert of.info.name == "digits"
    assert of.test.size == 40
    assert re.match("digits, since there is no fashion_mnist. load: expected ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("module", "per_class"), [(augmentation, 50), (activations, 105), (data_hunger, (5, 20, 50, 100))]
)
def test_of_the_digits_there_are_fewer(module, per_class, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXCNN_DATA", str(tmp_path))
    config, of = parts(module.Config())
    assert (config.per_class, config.held_out) == (per_class, of.held_out.size) == (per_class, 287)
    assert "287 held out: there are no more\n" in capsys.readouterr().out
    assert of.lanes.shape[1] == 10 * np.max(per_class)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, "^augmentation: expected at least 2 seeds, got 1. "),
        ({"held_out": 0}, "^split_off: expected 1 to [0-9]+ held-out images, got 0. "),
        ({"test_images": 0}, "^augmentation: expected at least 1 test image, got 0. "),
        ({"per_class": 0}, r"^per_class: expected n in 1\.\."),
        ({"dataset": "digit"}, "Did you mean 'digits'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        augmentation.main(dataclasses.replace(SMALL, **options))

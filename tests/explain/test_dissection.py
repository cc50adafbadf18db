"""Dissection: thresholds, IoU, what is found of planted units, and what is refused."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.apparatus.planted_units import PLANTED, painted, planted_concepts, planted_net
from jaxcnn import data
from jaxcnn import functional as F
from jaxcnn.data.scenes import COLOURS, PARTS, TEXTURES
from jaxcnn.explain import dissection
from jaxcnn.explain.dissection import unit_thresholds
from jaxcnn.explain.dissection.thresholds import _values
from jaxcnn.explain.dissection.upsampling import unit_centres, upsampled_by_centres
from jaxcnn.layers import AvgPool, Conv, Dense, GlobalAvgPool, MaxPool, Sequential
from jaxcnn.surgery import activations
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(0)
module = importlib.import_module("jaxcnn.explain.dissection.dissect")
IDENTITY = Sequential(units=lambda x: x)  # whose units are the image's channels
EVEN = (None, None)


def drawn(seed, *shape):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def labels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 3, shape)


def dissect(images, masks, names, **options):
    return dissection.dissect(IDENTITY, {}, {}, images, masks, names=names, **{"at": "units", **options})


# Thresholds


@pytest.mark.parametrize(("quantile", "batch_size"), [(0.005, 1), (0.1, 3), (0.5, 7), (0.99, 100)])
def test_thresholds_are_numpys_quantiles_however_the_set_is_batched(quantile, batch_size):
    case, at = CASES["residual"], "block1/branch/conv2"  # without plateaus
    images = np.asarray(jax.random.uniform(jax.random.key(1), (7, 12, 12, 3)))
    _, found = activations(case.net, case.params, case.state, images, [at])
    values = np.asarray(found[at]).reshape(-1, found[at].shape[-1])
    got = unit_thresholds(case.net, case.params, case.state, images, at=at, quantile=quantile, batch_size=batch_size)
    assert got.dtype == np.float32
    close(got, np.quantile(values.astype(np.float64), 1 - quantile, axis=0), rtol=2e-5, atol=1e-6)


def test_thresholds_of_units_at_their_lowest_value_and_of_those_that_are_never_on():
    images = np.zeros((4, 5, 5, 4), np.float32)
    images[0, 0, 0] = 0, 0.25, 1, 0.5  # one place of a hundred
    images[0, 0, 1, 1] = 0.75
    images[..., 3] = 0.5
    images[1, :, :, 2] = 1.0
    got = unit_thresholds(IDENTITY, {}, {}, images, at="units", quantile=0.1)
    close(got, [np.inf, 0.25, 1.0, np.inf])  # never, rarely, on a plateau, always the same
    on = dissection.unit_masks(IDENTITY, {}, {}, images, at="units", thresholds=got)
    assert on.sum(axis=(0, 1, 2)).tolist() == [0, 2, 26, 0]
    some = dissection.unit_masks(IDENTITY, {}, {}, images, at="units", thresholds=got, units=[2, 0])
    np.testing.assert_array_equal(some, on[..., [2, 0]])


# Maps


def test_maps_are_enlarged_as_jax_does_and_edges_go_on():
    maps = drawn(0, 3, 4, 6, 2)
    got = upsampled_by_centres(jnp.asarray(maps), (8, 15), (8, 15), EVEN)
    close(got, jax.image.resize(maps, (3, 8, 15, 2), "linear"), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(upsampled_by_centres(jnp.asarray(maps), (4, 6), (8, 12), EVEN), maps)
    one = upsampled_by_centres(jnp.asarray(maps[:, :1, :1]), (5, 7), (5, 7), EVEN)
    np.testing.assert_array_equal(one, np.broadcast_to(maps[:, :1, :1], one.shape))


def test_a_plateau_keeps_its_height_to_the_bit():
    maps = jnp.full((1, 3, 3, 1), 0.1, jnp.float32).at[0, 0, 0].set(0.0)
    got = np.asarray(upsampled_by_centres(maps, (7, 7), (7, 7), EVEN))[0, ..., 0]
    assert (got[4:, 4:] == np.float32(0.1)).all()


def test_maps_are_anchored_at_the_units_centres():
    maps = jnp.arange(3.0)[None, :, None, None] * jnp.ones((1, 3, 3, 1))
    got = np.asarray(upsampled_by_centres(maps, (11, 11), (11, 11), ((3.0, 2.0), (3.0, 2.0))))[0, :, 0, 0]
    close(got, np.clip((np.arange(11) - 3) / 2, 0, 2))
    half = np.asarray(upsampled_by_centres(maps, (4, 4), (8, 8), ((0.5, 2.0), (0.5, 2.0))))[0, :, 0, 0]
    close(half, [0, 1, 2, 2])  # masks of half the size: their pixels are centred at 0.5, 2.5, ...


@pytest.mark.slow
def test_units_are_in_the_middle_of_what_they_see():
    plain = Sequential(
        conv=Conv(2, 5, padding="VALID"), pool=MaxPool(2), wide=Conv(2, 9, padding=4), all=GlobalAvgPool()
    )
    assert unit_centres(plain, (16, 16, 1), "conv") == ((2.0, 1.0), (2.0, 1.0))
    assert unit_centres(plain, (16, 14, 1), "pool") == ((2.5, 2.0), (2.5, 2.0))
    assert unit_centres(plain, (16, 16, 1), "wide") == (
        (2.5, 2.0),
        (2.5, 2.0),
    )  # which sees more than the image is high
    assert unit_centres(plain, (16, 16, 1), "all") == EVEN
    late = Sequential(conv=Conv(2, 8, padding=((0, 7), (0, 7))))  # whose first unit sees the whole image
    assert unit_centres(late, (8, 8, 1), "conv") == ((3.5, 1.0), (3.5, 1.0))
    even = Sequential(conv=Conv(2, 3), pool=MaxPool(2))
    assert unit_centres(even, (8, 8, 1), "pool") == ((0.5, 2.0), (0.5, 2.0))


@pytest.mark.slow
def test_maps_of_layers_without_padding_lie_where_their_units_are():
    net = Sequential(conv=Conv(1, 5, padding="VALID", use_bias=False))
    params = {"conv": {"kernel": jnp.zeros((5, 5, 1, 1)).at[2, 2].set(1.0)}}  # the pixel in the middle of the window
    images = np.zeros((1, 9, 9, 1), np.float32)
    images[0, 2:4, 3:5] = 1
    masks = {"a": (images[..., 0] > 0).astype(int)}
    found = dissection.dissect(net, params, {}, images, masks, names={"a": (None, "spot")}, at="conv", quantile=0.1)
    on = dissection.unit_masks(net, params, {}, images, at="conv", thresholds=found.thresholds)
    assert on[0, 2:4, 3:5].all()
    assert not on[0, 4:].any() and not on[0, :, 5:].any() and not on[0, :, :3].any()
    assert on.sum() == 8  # beyond the outermost units the map goes on, here to the upper edge: rows 0 to 3


# IoU


def test_iou_by_hand():
    images = np.zeros((2, 2, 2, 2), np.float32)
    images[0, ..., 0] = [[1, 1], [0, 0]]
    images[1, ..., 0] = [[1, 0], [0, 0]]
    images[..., 1] = 1 - images[..., 0]
    shape = np.array([[[0, 1], [2, 2]], [[1, 0], [0, 2]]])  # 0 is the ground
    words = np.zeros((2, 2, 2, 1), bool)
    words[0] = True  # of the second image nothing is said
    found = dissect(
        images, {"shape": shape, "word": words}, {"shape": (None, "disc", "star"), "word": ("sky",)}, quantile=0.25
    )
    assert found.names == ("disc", "star", "sky")
    assert found.categories == ("shape", "shape", "word")
    close(found.thresholds, [1, 1])
    # Unit 0 is on in 2 + 1 pixels, unit 1 in 2 + 3; discs are 1 + 1, stars 2 + 1 pixels, the sky 4 of image 0.
    close(found.iou, [[2 / 3, 0, 2 / 4], [0, 3 / 5, 2 / 4]])
    close(found.ceiling, [[2 / 3, 3 / 3, 2 / 4], [2 / 5, 3 / 5, 2 / 4]])
    assert found.best.tolist() == [0, 1]
    assert found.rows()[0] == {
        "unit": 0, "category": "shape", "concept": "disc", "iou": 2 / 3, "ceiling": 2 / 3, "threshold": 1.0,
    }  # fmt: skip
    assert found.counts() == {"shape": 2, "word": 0}
    assert found.counts(np.array([True, False])) == {"shape": 1, "word": 0}
    assert found.unique() == {"shape": 2, "word": 0}
    assert dataclasses.replace(found, iou=found.iou[[0, 0]]).unique() == {"shape": 1, "word": 0}
    assert np.isnan(found.chance)
    assert not found.beyond_chance.any()


def reference(maps, thresholds, masks, names):
    """Return IoU image by image, unit by unit, concept by concept."""
    rows = []
    for unit, threshold in enumerate(thresholds):
        row = []
        for category, mask in masks.items():
            for number, name in enumerate(names[category]):
                if name is None:
                    continue
                known = [k for k, name in enumerate(names[category]) if name is not None]
                both = either = 0
                for image, label in zip(maps, mask, strict=True):
                    if label.dtype == bool:
                        there, some = label[..., number], label[..., known].any()
                    else:
                        there, some = label == number, np.isin(label, known).any()
                    if not some:
                        continue
                    on = image[..., unit] >= threshold
                    both, either = both + (on & there).sum(), either + (on | there).sum()
                row.append(both / max(either, 1))
        rows.append(row)
    return np.array(rows)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [2, 64])
def test_streaming_is_all_at_once_and_what_loops_give(batch_size):
    case = CASES["batchnorm"]
    images = np.asarray(jax.random.uniform(jax.random.key(2), (5, 12, 12, 3)))
    masks = {"colour": labels(0, 5, 12, 12) - 1, "thing": drawn(1, 5, 12, 12, 2) < 0.2}
    masks["colour"][3] = -1  # nothing known of this one
    masks["thing"][0] = False
    names = {"colour": ("red", None), "thing": ("cat", "dog")}
    options = {"names": names, "at": "act2", "quantile": 0.1, "batch_size": batch_size}
    net = (case.net, case.params, case.state)
    found = dissection.dissect(*net, images, masks, shuffles=2, key=KEY, **options)
    on = dissection.unit_masks(*net, images, at="act2", thresholds=found.thresholds, batch_size=batch_size)
    _, inside = activations(*net, images, ["act2"])
    maps = np.asarray(jax.image.resize(inside["act2"], (5, 12, 12, 12), "linear"))
    assert (on != (maps >= found.thresholds)).mean() < 1e-3  # where rounding decides
    close(found.iou, reference(on, np.full(12, 0.5), masks, names), rtol=1e-12)
    order = module._pairings("test", KEY, 2, 5)
    assert (order[1:] != np.arange(5)).all()
    assert all(sorted(row) == list(range(5)) for row in order.tolist())
    assert order[1].tolist() != order[2].tolist()
    for null, row in zip(found.null, order[1:], strict=True):
        others = {category: mask[row] for category, mask in masks.items()}
        close(null, reference(on, np.full(12, 0.5), others, names), rtol=1e-12)


def test_masks_may_be_smaller_than_the_images():
    images = np.zeros((1, 4, 4, 1), np.float32)
    images[0, :2, :2] = 1
    found = dissect(images, {"a": np.array([[[1, 0], [0, 0]]])}, {"a": (None, "corner")}, quantile=0.25)
    close(found.iou, [[1.0]])


def test_thresholds_of_another_set_may_be_given():
    images = drawn(0, 2, 4, 4, 2)
    found = dissect(images, {"a": labels(1, 2, 4, 4)}, {"a": tuple("xyz")}, thresholds=[0.5, 2.0])
    close(found.thresholds, [0.5, 2.0])
    assert found.iou[0].max() > 0
    assert found.iou[1].max() == 0


def test_uint8_images_are_in_0_to_1():
    images = (256 * drawn(0, 2, 4, 4, 2)).astype(np.uint8)
    masks, names = {"a": labels(1, 2, 4, 4)}, {"a": tuple("xyz")}
    found, same = dissect(images, masks, names), dissect(images / np.float32(255), masks, names)
    close(found.thresholds, same.thresholds, rtol=1e-6)


@pytest.mark.slow
def test_one_program_whatever_weights_images_masks_and_thresholds():
    net = Sequential(conv=Conv(3, padding=1), act=F.relu)
    masks, names = {"a": labels(0, 3, 6, 6)}, {"a": tuple("xyz")}
    before = module._sums._cache_size(), _values._cache_size()
    for seed in range(3):
        params, state = net.init(jax.random.key(seed), jnp.zeros((1, 6, 6, 3)))
        dissection.dissect(
            net, params, state, drawn(seed, 3, 6, 6, 3), masks, names=names, at="act", quantile=0.1 + seed / 10
        )
    assert (module._sums._cache_size(), _values._cache_size()) == (before[0] + 1, before[1] + 1)


# Scenes, and units that are known


@pytest.fixture(scope="module")
def scenes():
    return data.Scenes(size=32).dataset(KEY, 64)


def test_scenes_have_names_for_every_label(scenes):
    masks, names = dissection.scene_concepts(scenes)
    assert {category: len(known) for category, known in names.items()} == {
        "object": 11, "part": 9, "texture": 10, "colour": 10,
    }  # fmt: skip
    for category, mask in masks.items():
        np.testing.assert_array_equal(mask, scenes[f"{category}_mask"])
    assert names["object"] == (None, *scenes.info.class_names)
    assert names["part"] == (None, *PARTS[1:])
    assert (names["texture"], names["colour"]) == (TEXTURES, COLOURS)
    _, names = dissection.scene_concepts(dict(scenes), ("star", "disc"))
    assert names["object"] == (None, "star", "disc")
    with pytest.raises(ValueError, match=r"^scene_concepts: expected examples with the masks of scenes, got none call"):
        dissection.scene_concepts({"image": np.zeros((1, 4, 4, 3))})


@pytest.fixture(scope="module")
def planted(scenes):
    """What is found of a net built by hand, whose first units are detectors and whose others are random."""
    noise_key, net_key, key = jax.random.split(KEY, 3)
    net, params = planted_net(net_key)
    masks, names = planted_concepts(scenes)
    images = painted(noise_key, scenes)
    return dissection.dissect(net, params, {}, images, masks, names=names, at="units", shuffles=3, key=key)


def test_planted_units_are_found(planted):
    rows = sorted(planted.rows(), key=lambda row: row["unit"])[: len(PLANTED)]
    assert [(row["category"], row["concept"]) for row in rows] == list(PLANTED)
    assert min(row["iou"] for row in rows) > 0.9
    assert planted.interpretable[: len(PLANTED)].all()
    assert planted.beyond_chance[: len(PLANTED)].all()


def test_random_units_are_not(planted):
    random = slice(len(PLANTED), None)
    assert len(planted.best_iou[random]) == 20
    assert planted.best_iou[random].max() < 0.04
    assert not planted.interpretable[random].any()
    assert not planted.beyond_chance[random].any()


# Bad input

GOOD = {
    "images": np.full((2, 4, 4, 3), 0.5, np.float32),
    "masks": {"a": np.zeros((2, 4, 4), int)},
    "names": {"a": ("x",)},
}


def bad(**changes):
    return dissect(**{**GOOD, **changes})


def masked(mask, names=("x",)):
    return {"masks": {"a": mask}, "names": {"a": names}}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            masked(np.zeros((2, 5, 4), int)),
            ValueError,
            r"masks of the images' size \(4, 4\), or a whole fraction of it, g",
        ),
        (masked(np.zeros((2, 2, 4), int)), ValueError, r"masks of the images' size \(4, 4\), or a whole"),
        (masked(np.zeros((2, 8, 8), int)), ValueError, r"masks of the images' size \(4, 4\), or a whole"),
        (masked(np.zeros((3, 4, 4), int)), ValueError, "expected masks of 2 images, got 3 of 'a'"),
        (masked(np.zeros((2, 4, 4))), TypeError, r"expected masks of 'a' as integers \(N, H, W\) or bools"),
        (masked(np.zeros((2, 4, 4), bool)), TypeError, r"expected masks of 'a' as integers"),
        (masked(np.zeros((2, 4, 4, 3), bool)), ValueError, "expected 1 masks of 'a', got 3"),
        (
            masked(np.full((2, 4, 4), 1)),
            ValueError,
            "expected labels of 'a' up to 0, as named, got 1. Name every label",
        ),
        (masked(np.full((2, 4, 4), 7, np.uint8)), ValueError, "expected labels of 'a' up to 0, as named, got 7"),
        (masked(np.zeros((2, 4, 4), int), (None,)), ValueError, "expected different names of 'a'"),
        (masked(np.zeros((2, 4, 4), int), ("x", "x")), ValueError, "expected different names of 'a'"),
        (masked(np.zeros((2, 4, 4), int), "x"), TypeError, "expected names of 'a' as texts or None, got 'x'"),
        ({"masks": {}, "names": {}}, TypeError, "expected masks as a dict from categories to arrays"),
        ({"names": {"b": ("x",)}}, ValueError, r"expected names of the categories \['a'\]"),
        (
            {"images": np.full((2, 4, 4, 3), 1.5)},
            ValueError,
            r"expected images in \[0, 1\], got values from 1.5",
        ),
        (
            {"images": np.full((2, 4, 4, 3), np.nan)},
            ValueError,
            r"expected images in \[0, 1\], got values from nan",
        ),
        ({"images": np.zeros((2, 4, 4, 3), int)}, TypeError, "expected uint8 or floating images, got int64"),
        (
            {"images": np.zeros((4, 4, 3))},
            ValueError,
            r"expected images \(N, H, W, C\), got an array of shape \(4, 4, 3\)",
        ),
        (
            {"at": "unit"},
            ValueError,
            r"expected the path of a layer with a map .* got 'unit'\. Choose among \['units'\]",
        ),
        ({"at": ["units"]}, TypeError, "expected at as the path of one layer"),
        ({"quantile": 0.0}, ValueError, r"expected quantile in \(0, 1\), got 0\.0"),
        ({"quantile": 1}, ValueError, r"expected quantile in \(0, 1\), got 1"),
        ({"threshold_iou": 4}, ValueError, r"expected threshold_iou in \[0, 1\], got 4"),
        ({"thresholds": [0.5]}, ValueError, r"expected thresholds of shape \(3,\), got \(1,\)"),
        ({"shuffles": 1}, TypeError, "expected one PRNG key, got None"),
        ({"shuffles": -1, "key": KEY}, ValueError, "expected shuffles as an int >= 0, got -1"),
        ({"batch_size": 0}, ValueError, "expected batch_size as a positive int, got 0"),
    ],
)
def test_refuses(changes, error, message):
    with pytest.raises(error, match=rf"^(dissect|unit_thresholds): .*{message}"):
        bad(**changes)


def test_refuses_layers_without_a_map():
    net = Sequential(conv=Conv(2), pool=GlobalAvgPool(), head=Dense(3))
    params, state = net.init(KEY, jnp.zeros((1, 4, 4, 3)))
    with pytest.raises(
        ValueError, match=r"^dissect: expected the path of a layer with a map .*'head' of shape \(1, 3\)"
    ):
        dissection.dissect(net, params, state, **GOOD, at="head")


def test_says_where_activations_are_not_finite():
    net = Sequential(units=jnp.log)
    images = GOOD["images"].copy()
    images[1, 0, 0, 2] = 0.0
    message = r"expected finite activations of 'units', got NaN or infinite ones for image 1\."
    with pytest.raises(ValueError, match=f"^unit_thresholds: {message}"):
        dissection.dissect(net, {}, {}, **{**GOOD, "images": images}, at="units")
    with pytest.raises(ValueError, match=f"^dissect: {message}"):
        dissection.dissect(net, {}, {}, **{**GOOD, "images": images}, at="units", thresholds=np.zeros(3))


def test_a_data_set_is_its_images():
    images, masks = GOOD["images"] * np.arange(4)[:, None] / 3, {"a": np.tile([0, 0, 1, 1], (2, 4, 1))}
    found = [dissect(given, masks, {"a": (None, "x")}, quantile=0.25) for given in (images, {"image": images})]
    np.testing.assert_array_equal(*(one.iou for one in found))


def test_refuses_traced_images():
    with pytest.raises(TypeError, match=r"^dissect: expected arrays that are known, got .*Call it outside of jax\.jit"):
        jax.jit(lambda images: dissect(**{**GOOD, "images": images}).iou)(GOOD["images"])


def test_one_image_has_no_others_masks():
    with pytest.raises(ValueError, match=r"^dissect: expected two images or more to shuffle masks between, got 1"):
        dissect(GOOD["images"][:1], {"a": np.zeros((1, 4, 4), int)}, GOOD["names"], shuffles=1, key=KEY)


def test_maps_of_a_pooled_layer_find_what_they_cover():
    net = Sequential(pool=AvgPool(2))
    images = np.zeros((1, 8, 8, 1), np.float32)
    images[0, :4, :4] = 1
    masks = np.zeros((1, 8, 8), int)
    masks[0, :4, :4] = 1
    found = dissection.dissect(
        net, {}, {}, images, {"a": masks}, names={"a": (None, "corner")}, at="pool", quantile=0.1
    )
    assert found.iou[0, 0] == pytest.approx(9 / 16)  # the plateau ends at the centres of its outermost units

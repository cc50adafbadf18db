"""Scenes: reproducible by key and index, and true in every pixel."""

import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from jaxcnn import data, training
from jaxcnn import layers as L
from jaxcnn.data import scenes
from jaxcnn.data.scenes import CLASSES, COLOURS, PARTS, PARTS_OF, TEXTURES, Scenes, generator, layout, painting

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(5)
SMALL = Scenes(size=32)
CLEAN, FINE = Scenes(size=32, noise=0), Scenes(size=96, noise=0)
DISCS = Scenes(size=32, objects=(2, 2), classes=("disc",), noise=0)
MASKS = ("object_mask", "instance_mask", "part_mask", "texture_mask", "colour_mask")
CONFIGS = {
    "usual": SMALL,
    "crowded": Scenes(size=40, objects=(6, 6), noise=0),
    "one": Scenes(size=33, objects=(1, 1), classes=("star", "arrow"), bias=1.0),
}
every = pytest.mark.parametrize("name", CONFIGS)


@functools.cache
def drawn(config: Scenes, n: int = 48, key: int = 0):
    return jax.tree.map(np.asarray, config.batch(jax.random.key(key), range(n)))


# --- shapes, entries, signatures


@pytest.mark.slow
@every
def test_entries(name):
    config = CONFIGS[name]
    side, most = config.size, config.objects[1]
    batch = drawn(config)
    expected = {"image": ((side, side, 3), np.float32), "label": ((), np.int32), "box_class": ((most,), np.int32)}
    expected |= dict.fromkeys(MASKS, ((side, side), np.int32)) | {"boxes": ((most, 4), np.float32)}
    assert {entry: (array.shape[1:], array.dtype) for entry, array in batch.items()} == expected
    assert all(len(array) == 48 for array in batch.values())


@pytest.mark.parametrize("size", [32, 47, 64, 96, 128])
def test_any_size(size):
    out = jax.eval_shape(Scenes(size=size).draw, KEY)
    assert out["image"].shape == (size, size, 3)
    assert out["part_mask"].shape == (size, size)


def test_names():
    assert (len(CLASSES), len(COLOURS), len(TEXTURES)) == (10, 10, 10)
    assert PARTS[0] == "background"
    assert tuple(PARTS_OF) == CLASSES
    assert {"background", "rim"} | {part for parts in PARTS_OF.values() for part in parts} == set(PARTS)


def test_is_a_value():
    assert Scenes(objects=[1, 3], classes=list(CLASSES)) == Scenes()
    assert hash(Scenes(size=48)) == hash(Scenes(size=48))
    assert Scenes(size=48) != Scenes()
    assert list(inspect.signature(Scenes.draw).parameters) == ["self", "key"]
    assert list(inspect.signature(Scenes.batch).parameters) == ["self", "key", "indices"]


# --- reproducible


def test_a_scene_has_the_same_bits_in_every_batch():
    whole = drawn(SMALL)
    chunk = generator.CHUNK
    for indices in ([37], range(20, 48), [5, 37, 5], range(chunk), [*range(37, 0, -1)]):
        part = SMALL.batch(jax.random.key(0), indices)
        for entry, array in part.items():
            np.testing.assert_array_equal(array, whole[entry][list(indices)])


@pytest.mark.slow
def test_draw_is_the_batch_up_to_rounding():
    one = jax.jit(SMALL.draw)(jax.random.fold_in(jax.random.key(0), 11))
    for entry, array in drawn(SMALL).items():
        wrong = np.abs(array[11].astype(float) - one[entry]) > 1.01 / 255
        assert wrong.mean() < 0.002, entry


def test_scenes_differ():
    image = drawn(SMALL)["image"]
    assert len({one.tobytes() for one in image}) == 48
    other = drawn(SMALL, 48, key=1)["image"]
    assert not {one.tobytes() for one in image} & {one.tobytes() for one in other}
    assert len({mask.tobytes() for mask in drawn(SMALL)["instance_mask"]}) == 48


@pytest.mark.slow
def test_traced_once_whatever_the_batch(monkeypatch):
    traces = []
    paint = generator.paint
    monkeypatch.setattr(generator, "paint", lambda *args, **kwargs: traces.append(1) or paint(*args, **kwargs))
    for n in (1, 2, 17, 40):
        Scenes(size=32, noise=0.0123).batch(KEY, range(n))
    assert len(traces) == 1


@pytest.mark.slow
def test_consumes_each_key_once_and_lowers_for_every_platform():
    with jax.debug_key_reuse(True):
        key = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 3))
        exported = jax.export.export(jax.jit(jax.vmap(SMALL.draw)), platforms=["cpu", "cuda", "tpu"])(key)
        SMALL.batch(KEY, range(20))  # several chunks of one key, each of other indices
    assert (3, 32, 32, 3) in [aval.shape for aval in exported.out_avals]


# --- true in every pixel


@pytest.mark.slow
@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1), st.sampled_from(list(CONFIGS)))
def test_truths_agree(seed, index, name):
    config = CONFIGS[name]
    batch = jax.tree.map(np.asarray, config.batch(jax.random.key(seed), [index]))
    check_truth(config, {entry: array[0] for entry, array in batch.items()})


@every
def test_truths_of_many_agree(name):
    batch = drawn(CONFIGS[name])
    for n in range(48):
        check_truth(CONFIGS[name], {entry: array[n] for entry, array in batch.items()})


def check_truth(config, scene):
    instance, classes = scene["instance_mask"], scene["box_class"]
    assert instance.min() >= 0 and instance.max() <= config.objects[1]
    assert scene["image"].min() >= 0 and scene["image"].max() <= 1
    assert scene["label"] == classes[0]  # the largest is never hidden
    for number in range(1, config.objects[1] + 1):
        visible = instance == number
        rows, columns = np.nonzero(visible)
        if not rows.size:
            assert classes[number - 1] == -1
            assert (scene["boxes"][number - 1] == 0).all()
            continue
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_array_equal(scene["boxes"][number - 1], box)
        assert (scene["object_mask"][visible] == 1 + classes[number - 1]).all()
        parts = {PARTS[part] for part in np.unique(scene["part_mask"][visible])}
        assert parts <= {"rim", *PARTS_OF[config.classes[classes[number - 1]]]}
        for mask in ("texture_mask", "colour_mask"):
            assert len(np.unique(scene[mask][visible])) == 1
        if config.bias == 1:
            assert (scene["colour_mask"][visible] == classes[number - 1]).all()
    ground = instance == 0
    for mask in ("object_mask", "part_mask"):
        np.testing.assert_array_equal(scene[mask] == 0, ground)
    for mask, known in (("texture_mask", TEXTURES), ("colour_mask", COLOURS)):
        assert len(np.unique(scene[mask][ground])) == 1
        assert scene[mask].min() >= 0 and scene[mask].max() < len(known)


@pytest.mark.slow
def test_a_pixel_is_of_the_uppermost_object_at_its_centre():
    # The same scenes at three times the size have pixels at the same centres, and show what each covers.
    fine = drawn(FINE, 16)
    for mask in MASKS:
        wrong = fine[mask][:, 1::3, 1::3] != drawn(SMALL)[mask][:16]
        assert wrong.mean() < 0.001, mask  # centres that lie on an outline, to rounding
    blocks = fine["instance_mask"].reshape(16, 32, 3, 32, 3)
    shares = np.stack([(blocks == number).mean((2, 4)) for number in range(4)], -1)
    clear = shares.max(-1) > 0.75
    assert clear.mean() > 0.9
    assert np.mean(drawn(SMALL)["instance_mask"][:16][clear] != shares.argmax(-1)[clear]) < 0.001


@pytest.mark.slow
def test_the_image_is_antialiased():
    fine = drawn(FINE, 16)["image"].reshape(16, 32, 3, 32, 3, 3).mean((2, 4))
    coarse = drawn(CLEAN)["image"][:16]
    assert np.abs(fine - coarse).mean() < 0.01
    assert np.quantile(np.abs(fine - coarse), 0.99) < 0.1


@pytest.mark.slow
def test_hidden_objects_have_no_box():
    crowd = drawn(CONFIGS["crowded"], 400)
    counts = (crowd["box_class"] >= 0).sum(1)
    assert counts.max() == 6
    assert (counts < 6).any()
    assert (crowd["box_class"][:, 0] >= 0).all()


@pytest.mark.slow
def test_the_first_object_is_the_largest():
    batch = drawn(DISCS, 400)
    sides = (batch["boxes"][..., 2:] - batch["boxes"][..., :2]).max(-1)
    assert (sides[:, 0] > sides[:, 1]).all()


@pytest.mark.slow
def test_objects_hide_each_other_in_either_order():
    # Where two discs overlap, the box of the hidden one may stay whole, but its area does not.
    batch = drawn(DISCS, 400)
    boxes = batch["boxes"]
    area = np.stack([(batch["instance_mask"] == k).sum((1, 2)) for k in (1, 2)], 1)
    within = (boxes[..., :2] > 0).all(-1) & (boxes[..., 2:] < 32).all(-1)
    full = np.pi / 4 * np.prod(boxes[..., 2:] - boxes[..., :2], -1)
    hidden = within & (area < 0.85 * full)
    assert hidden[:, 0].any() and hidden[:, 1].any()
    assert not hidden.all(1).any()


def test_as_many_objects_as_there_are():
    seen = (drawn(SMALL, 400)["box_class"] >= 0).sum(1)
    assert np.abs(np.bincount(seen, minlength=4)[1:] / 400 - 1 / 3).max() < 0.1


@pytest.mark.slow
def test_parts_are_where_they_should_be():
    scenes_of_one = 0
    for n in range(128):
        scene = {entry: array[n] for entry, array in drawn(FINE, 128).items()}
        x0, y0, x1, y1 = scene["boxes"][0]
        if scene["box_class"][1] >= 0 or min(x0, y0) <= 0 or max(x1, y1) >= 96:
            continue
        scenes_of_one += 1
        inside, part = scene["instance_mask"] == 1, scene["part_mask"]
        depth = ndimage.distance_transform_edt(inside)
        rim = part == PARTS.index("rim")
        # The rim is a tenth of the radius, which is 22 to 36 pixels; it is wider where round parts meet.
        assert depth[rim].max() < 4.7 or CLASSES[scene["label"]] in ("flower", "heart")
        assert depth[inside & ~rim].min() > 1.2
        rows, columns = np.nonzero(inside)
        away = np.hypot(np.arange(96)[:, None] - rows.mean(), np.arange(96) - columns.mean())
        names = PARTS_OF[CLASSES[scene["label"]]]
        first, second = (away[part == PARTS.index(name)] for name in names)
        if names[0] == "core":
            assert first.max() < second.max() and first.mean() < second.mean()
        elif names[0] == "tip":
            assert first.max() > second.min() and first.mean() > second.mean()
    assert scenes_of_one > 20


# --- painting


@functools.cache
def painter():
    return jax.jit(functools.partial(painting.paint, size=48, shapes=tuple(range(10))))


def two_discs(**changes):
    """A layout of two discs that overlap, without the third object; changes are of objects, or of the layout."""
    scene = generator.layout(jax.random.key(2), objects=(2, 3), classes=10, bias=0.0, biased="colour")
    things = scene.objects._replace(
        exists=jnp.array([True, True, False]),
        label=jnp.array([0, 0, 0]),
        x=jnp.array([0.35, 0.55, 0.5]),
        y=jnp.array([0.5, 0.5, 0.2]),
        radius=jnp.array([0.25, 0.2, 0.2]),
        depth=jnp.array([0.5, 0.7, 0.1]),
    )
    of_things = {name: jnp.asarray(value) for name, value in changes.items() if name in things._fields}
    of_scene = {name: value for name, value in changes.items() if name in scene._fields}
    scene = jax.tree.map(jnp.asarray, scene._replace(objects=things._replace(**of_things), **of_scene))
    return jax.tree.map(np.asarray, painter()(scene))


@pytest.mark.slow
def test_the_smaller_depth_hides_the_larger():
    first, second = two_discs(), two_discs(depth=[0.7, 0.5, 0.1])
    assert set(np.unique(first["instance_mask"])) == {0, 1, 2}
    changed = first["instance_mask"] != second["instance_mask"]
    assert changed.sum() > 20
    assert (first["instance_mask"][changed] == 1).all() and (second["instance_mask"][changed] == 2).all()
    # 0.35 + 0.86 * 0.25 = 0.565 and 0.55 - 0.86 * 0.2 = 0.378, of 48 pixels.
    np.testing.assert_array_equal(first["boxes"][0], [6, 14, 27, 34])
    np.testing.assert_array_equal(second["boxes"][1], [18, 16, 35, 32])


@pytest.mark.slow
def test_what_does_not_exist_leaves_no_trace():
    elsewhere = two_discs(x=[0.35, 0.55, 0.1], y=[0.5, 0.5, 0.8])
    for entry, array in two_discs().items():
        np.testing.assert_array_equal(array, elsewhere[entry])


def test_the_ground_is_darker_in_shadows_and_nowhere_else():
    ground, scene = two_discs(exists=[False] * 3), two_discs(exists=[True, False, False], sun=np.array([0.6, 0.8]))
    assert (ground["instance_mask"] == 0).all()
    y, x = (np.mgrid[:48, :48] + 0.5) / 48
    distance = np.hypot(x - 0.35, y - 0.5) - 0.86 * 0.25
    outside = distance > 1 / 48
    darker = two_discs(exists=[False] * 3, sun=np.array([0.6, 0.8]))["image"].sum(-1) - scene["image"].sum(-1)
    assert darker[outside].min() > -1e-5
    np.testing.assert_allclose(darker[distance > 0.035 + 0.025 + 1e-3], 0, atol=1e-5)
    weight = darker * outside
    centre = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum() - [0.35, 0.5]
    assert centre @ [0.6, 0.8] > 0.1
    assert abs(centre @ [0.8, -0.6]) < 0.05


def test_the_light_falls_along_the_sun():
    none = {"exists": [False] * 3, "sun": np.array([0.6, 0.8])}
    even, sloped = two_discs(slope=0.0, **none)["image"], two_discs(slope=0.2, **none)["image"]
    y, x = (np.mgrid[:48, :48] + 0.5) / 48
    light = (1 - 0.4 * (0.6 * (x - 0.5) + 0.8 * (y - 0.5)))[..., None]
    np.testing.assert_allclose(sloped, np.minimum(even * light, 1), atol=1e-5)
    assert np.ptp(light) > 0.4


def test_an_outline_covers_its_pixels_in_part():
    # A disc of one tone on a ground of one tone, unlit: between the tones lie pixels on the outline alone.
    plain = {"exists": [True, False, False], "slope": 1.0, "sun": np.zeros(2)}  # a slope of 1 leaves no shadow
    scene = generator.layout(jax.random.key(2), objects=(2, 3), classes=10, bias=0.0, biased="colour")
    tones = jnp.stack([jnp.zeros(3), jnp.ones(3), jnp.ones(3), jnp.ones(3)])
    image = two_discs(surfaces=scene.surfaces._replace(first=tones, second=tones), **plain)["image"][..., 0]
    assert (image[0] == 0).all()
    area = (image >= 0.5).mean(), np.pi * (0.86 * 0.25) ** 2
    assert area[0] == pytest.approx(area[1], rel=0.03)
    assert 20 < ((image > 0) & (image < 0.82)).sum() < 70


def test_the_farthest_candidate_is_taken():
    candidates = jnp.array([[[0.5, 0.5], [0.1, 0.1]], [[0.5, 0.6], [1.0, 0.0]], [[0.9, 0.1], [0.0, 0.9]]])
    x, y = layout._places(candidates, jnp.array([0.0, 0.0, 0.0]))
    np.testing.assert_allclose(np.stack([x, y], -1), [(0.5, 0.5), (1.0, 0.0), (0.0, 0.9)])


# --- the distribution


def uniform(counts):
    """The counts are as likely as one in ten thousand draws from equal probabilities, by the chi-squared test."""
    return stats.chisquare(counts).pvalue > 1e-4


@pytest.fixture(scope="module")
def layouts():
    draw = functools.partial(generator.layout, objects=(1, 4), classes=10, bias=0.0, biased="colour")
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(draw))(jax.random.split(KEY, 4000)))


def test_classes_colours_and_textures_are_uniform_and_independent(layouts):
    labels, surfaces = layouts.objects.label, layouts.surfaces
    for k in range(4):
        assert uniform(np.bincount(labels[:, k], minlength=10))
    for names in (surfaces.colour, surfaces.texture):
        for k in range(5):
            assert uniform(np.bincount(names[:, k], minlength=10))
        for other in (labels[:, 0], names[:, 0], labels[:, 1]):
            assert uniform(np.bincount(names[:, 1] * 10 + other, minlength=100))
    assert uniform(np.bincount(surfaces.colour[:, 1] * 10 + surfaces.texture[:, 1], minlength=100))
    assert uniform(np.bincount(labels[:, 0] * 10 + labels[:, 1], minlength=100))


def test_numbers_and_places(layouts):
    things = layouts.objects
    number = things.exists.sum(1)
    assert (np.diff(things.exists.astype(int), axis=1) <= 0).all()
    assert uniform(np.bincount(number, minlength=5)[1:])
    assert uniform(np.bincount(things.depth.argmin(1), minlength=4))
    assert (things.radius[:, :1] > things.radius[:, 1:]).all()
    for place in (things.x, things.y):
        assert place.min() > 0 and place.max() < 1
        assert (np.minimum(place, 1 - place)[:, 0] >= 0.9 * things.radius[:, 0] - 1e-6).all()
    assert uniform(np.histogram(things.angle, 8, (0, 2 * np.pi))[0])
    assert uniform(np.histogram(np.arctan2(layouts.sun[:, 0], layouts.sun[:, 1]), 8, (-np.pi, np.pi))[0])
    np.testing.assert_allclose(np.hypot(*layouts.sun.T), 1, atol=1e-6)
    assert uniform(np.histogram(layouts.grain, 8, (0, 1))[0])


@pytest.mark.parametrize("biased", ["colour", "texture"])
@pytest.mark.parametrize("bias", [0.5, 1.0])
def test_bias_ties_one_of_them_to_the_class(biased, bias):
    draw = functools.partial(generator.layout, objects=(2, 2), classes=10, bias=bias, biased=biased)
    drawn = jax.jit(jax.vmap(draw))(jax.random.split(KEY, 2000))
    own = {
        name: np.asarray(getattr(drawn.surfaces, name)[:, 1:] == drawn.objects.label) for name in ("colour", "texture")
    }
    free = "texture" if biased == "colour" else "colour"
    assert own[biased].mean() == pytest.approx(bias + (1 - bias) / 10, abs=0.03 if bias < 1 else 0)
    assert own[free].mean() == pytest.approx(0.1, abs=0.025)
    assert uniform(np.bincount(getattr(drawn.surfaces, biased)[:, 0], minlength=10))


@pytest.mark.parametrize("bias", [0.5, 1.0])
def test_bias_ties_the_ground_to_the_label(bias):
    draw = functools.partial(generator.layout, objects=(2, 2), classes=10, bias=bias, biased="ground")
    drawn = jax.jit(jax.vmap(draw))(jax.random.split(KEY, 2000))
    label = np.asarray(drawn.objects.label[:, 0])
    colour, texture = (np.asarray(getattr(drawn.surfaces, name)) for name in ("colour", "texture"))
    for ground in (colour[:, 0], texture[:, 0]):
        assert np.mean(ground == label) == pytest.approx(bias + (1 - bias) / 10, abs=0.03 if bias < 1 else 0)
        assert uniform(np.bincount(ground, minlength=10))
    both = (colour[:, 0] == label) & (texture[:, 0] == label)
    assert both.mean() == pytest.approx(bias + (1 - bias) / 100, abs=0.03 if bias < 1 else 0)
    for object_ in (colour[:, 1], texture[:, 1], colour[:, 2]):
        assert np.mean(object_ == label) == pytest.approx(0.1, abs=0.025)


# --- the image shows what is true


def oklab(image):
    """The inverse of `oklch`, from sRGB, by the published matrices solved with NumPy."""
    linear = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    cones = (
        linear
        @ np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        ).T
    )
    return (
        np.cbrt(cones)
        @ np.array(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ]
        ).T
    )


@pytest.mark.slow
def test_objects_look_as_their_colour_is_called():
    batch = drawn(CLEAN, 200)
    right = []
    for n in range(200):
        inside = (batch["part_mask"][n] > PARTS.index("rim")) & (batch["instance_mask"][n] == 1)
        _, a, b = oklab(batch["image"][n][inside].astype(float)).mean(0)
        hue = np.degrees(np.arctan2(b, a))
        away = np.abs((hue - scenes.palette._CENTRES[:, 2] + 180) % 360 - 180)
        right.append(away.argmin() == batch["colour_mask"][n][inside][0])
    assert np.mean(right) > 0.95


@pytest.mark.slow
def test_noise_is_as_strong_as_it_says():
    grey = jnp.full((200, 200, 3), 0.5)
    out = np.asarray(scenes.sensor.sense(KEY, grey, jnp.float32(0.1)))
    assert out.mean() == pytest.approx(0.5, abs=0.001)
    assert out.std() == pytest.approx(0.1, abs=0.001)
    assert np.abs(np.corrcoef(out.reshape(-1, 3).T) - np.eye(3)).max() < 0.02
    beyond = np.abs(out - 0.5) > 0.2
    assert beyond.mean() == pytest.approx(0.0455, abs=0.005)  # as of normal numbers
    np.testing.assert_allclose(out * 255, np.round(out * 255), atol=1e-4)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(scenes.sensor.sense(KEY, grey, jnp.float32(0.1)), out)
    assert (scenes.sensor.sense(KEY, grey, jnp.float32(0)) == np.float32(128) / 255).all()
    bright = scenes.sensor.sense(KEY, jnp.ones((8, 8, 3)), jnp.float32(0.5))
    assert bright.max() == 1


def test_each_scene_has_its_own_noise():
    away = (drawn(SMALL)["image"] - drawn(CLEAN)["image"]).std((1, 2, 3))
    assert away.min() < 0.01 and 0.035 < away.max() < 0.051
    assert abs(away.mean() - 0.025) < 0.008


# --- outlines

GRID = (
    np.stack(np.meshgrid(np.linspace(-1.3, 1.3, 53), np.linspace(-1.3, 1.3, 53)), -1).reshape(-1, 2).astype(np.float32)
)


@functools.cache
def outlines(name):
    found = scenes.shapes.outline(jnp.int32(CLASSES.index(name)), *jnp.asarray(GRID).T)
    return [np.asarray(array, np.float64) for array in found]


def regular(radii, order):
    """The corners of a star-like polygon, the first on the y axis."""
    angles = np.arange(order * len(radii)) * 2 * np.pi / (order * len(radii))
    return np.resize(radii, len(angles))[:, None] * np.stack([np.sin(angles), np.cos(angles)], -1)


def turned(corners, turns=4):
    quarter = np.array([[0, -1], [1, 0]])  # clockwise
    return np.concatenate([np.array(corners) @ np.linalg.matrix_power(quarter, n) for n in range(turns)])


POLYGONS = {
    "square": np.array([(0.7, 0.7), (0.7, -0.7), (-0.7, -0.7), (-0.7, 0.7)]),
    "triangle": regular([1.0], 3),
    "star": regular([1.0, 0.47], 5),
    "cross": turned([(-0.32, 0.94), (0.32, 0.94), (0.32, 0.32)]),
    "arrow": np.array([(0.98, 0), (0, 0.82), (0, 0.3), (-0.95, 0.3), (-0.95, -0.3), (0, -0.3), (0, -0.82)]),
}


def polygon_distance(points, corners):
    """Signed distances by brute force: every edge, and the parity of crossings."""
    distance, inside = np.full(len(points), np.inf), np.zeros(len(points), bool)
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        distance = np.minimum(distance, np.linalg.norm(points - a - t[:, None] * (b - a), axis=1))
        crosses = (a[1] > points[:, 1]) != (b[1] > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            where = a[0] + (points[:, 1] - a[1]) * (b[0] - a[0]) / (b[1] - a[1])
        inside ^= crosses & (points[:, 0] < where)
    return np.where(inside, -distance, distance)


@pytest.mark.parametrize("name", POLYGONS)
def test_outlines_of_polygons_are_distances(name):
    np.testing.assert_allclose(outlines(name)[0], polygon_distance(GRID.astype(float), POLYGONS[name]), atol=2e-6)


def discs(*circles):
    """Distances to the circles (x, y, radius), one row each."""
    return np.stack([np.hypot(GRID[:, 0] - x, GRID[:, 1] - y) - radius for x, y, radius in circles])


def test_outlines_of_circles():
    rho = np.hypot(*GRID.T.astype(float))
    np.testing.assert_allclose(outlines("disc")[0], rho - 0.86, atol=1e-6)
    np.testing.assert_allclose(outlines("ring")[0], np.abs(rho - 0.7) - 0.25, atol=1e-6)
    petals = [(0.6 * np.sin(a), 0.6 * np.cos(a), 0.36) for a in 2 * np.pi / 5 * np.arange(5)]
    np.testing.assert_allclose(outlines("flower")[0], discs(*petals, (0, 0, 0.46)).min(0), atol=1e-6)
    whole, bite = discs((0, 0, 0.95), (0.45, 0, 0.74))
    np.testing.assert_allclose(outlines("crescent")[0], np.maximum(whole, -bite), atol=1e-6)


def test_the_heart_is_a_square_and_two_half_discs():
    x, y = np.abs(GRID[:, 0]), GRID[:, 1] + 0.1
    inside = (x + np.abs(y) < 1.06 / 2**0.5) | (np.hypot(x - 1.06 / 8**0.5, y - 1.06 / 8**0.5) < 0.53)
    np.testing.assert_array_equal(outlines("heart")[0] < 0, inside)


@pytest.mark.parametrize("name", CLASSES)
def test_outlines_are_bounds_on_distances(name):
    distance = outlines(name)[0]
    assert (distance[np.hypot(*GRID.T) > 1.001] > 0).all()
    gaps = np.abs(np.diff(distance.reshape(53, 53), axis=0)), np.abs(np.diff(distance.reshape(53, 53), axis=1))
    assert max(gap.max() for gap in gaps) <= 2.6 / 52 * 1.0001
    step = 1e-3
    x, y = jnp.asarray(GRID[np.abs(distance) < 0.1]).T
    at = functools.partial(scenes.shapes.outline, jnp.int32(CLASSES.index(name)))
    slope = jnp.hypot(
        (at(x + step, y)[0] - at(x - step, y)[0]) / (2 * step), (at(x, y + step)[0] - at(x, y - step)[0]) / (2 * step)
    )
    assert float(jnp.median(slope)) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", CLASSES)
def test_both_parts_are_seen(name):
    distance, seam = outlines(name)
    first = (distance < -0.1) & (seam < 0)
    second = (distance < -0.1) & (seam >= 0)
    assert second.sum() > 10
    assert (first.sum() > 5) == (name != "ring")


# --- textures


def texture(name, u, v, pixel=1e-6, seed=0):
    u, v = np.broadcast_arrays(np.float32(u), np.float32(v))
    kind, options = jnp.int32(TEXTURES.index(name)), {"pixel": jnp.float32(pixel), "seed": jnp.uint32(seed)}
    return np.asarray(scenes.textures.texture(kind, jnp.asarray(u), jnp.asarray(v), **options))


U, V = np.meshgrid(np.linspace(0.013, 2.013, 100, endpoint=False), np.linspace(0.0177, 2.0177, 100, endpoint=False))


def triangle(u):
    return np.abs(u - np.round(u))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", np.ones_like(U, bool)),
        ("stripes", np.abs(U % 1 - 0.5) < 0.25),
        ("checks", (np.abs(U % 1 - 0.5) < 0.25) ^ (np.abs(V % 1 - 0.5) > 0.25)),
        ("dots", np.hypot(triangle(U), triangle(V)) < 0.32),
        ("rings", np.abs(np.hypot(U, V) % 1 - 0.5) < 0.25),
        ("zigzag", np.abs((V + triangle(U)) % 1 - 0.5) < 0.25),
        ("grid", (triangle(U) > 0.12) & (triangle(V) > 0.12)),
        ("bricks", (triangle(2 * V) > 0.12) & (triangle(U + np.floor(2 * V) / 2) > 0.06)),
        ("waves", np.abs((V + 0.3 * (1 - np.cos(np.pi * U))) % 1 - 0.5) < 0.25),
    ],
)
def test_textures(name, expected):
    assert np.mean(texture(name, U, V) == expected) > (0.97 if name == "waves" else 0.9999)


def test_clouds_are_smooth_and_of_all_tones():
    clouds = texture("clouds", 4 * U, 4 * V, pixel=0.1)
    assert clouds.std() > 0.2
    assert np.abs(np.diff(clouds, axis=0)).max() < 0.5
    assert np.abs(np.diff(texture("clouds", U, V, pixel=0.1), axis=1)).max() < 0.12
    assert np.abs(np.corrcoef(clouds.ravel(), texture("clouds", 4 * U, 4 * V, 0.1, seed=9).ravel())[0, 1]) < 0.3
    np.testing.assert_array_equal(clouds, texture("clouds", 4 * U, 4 * V, pixel=0.1))
    below = texture("clouds", U - 9.5, V - 7.5, pixel=0.1)
    assert below.min() >= 0 and below.max() <= 1


@pytest.mark.parametrize("name", TEXTURES)
def test_textures_are_antialiased_over_a_pixel(name):
    soft = texture(name, U, V, pixel=0.08)
    assert soft.min() >= 0 and soft.max() <= 1
    assert (name == "plain") != ((soft > 0.02) & (soft < 0.98)).any()
    if name == "stripes":
        np.testing.assert_allclose(
            texture(name, [0.25, 0.23, 0.27, 0.21, 0.4], 0.0, 0.08), [0.5, 0.25, 0.75, 0, 1], atol=1e-5
        )


# --- colours


@pytest.mark.parametrize(
    ("lch", "rgb"),
    [
        ((1.0, 0.0, 0.0), (1, 1, 1)),
        ((0.0, 0.0, 0.0), (0, 0, 0)),
        # As CSS Color 4 converts them.
        ((0.627955, 0.257683, 29.2339), (1, 0, 0)),
        ((0.866440, 0.294827, 142.4953), (0, 1, 0)),
        ((0.452014, 0.313214, 264.0520), (0, 0, 1)),
        ((0.599871, 0.0, 0.0), (0.5019608, 0.5019608, 0.5019608)),
    ],
)
def test_oklch(lch, rgb):
    np.testing.assert_allclose(scenes.palette.oklch(*map(jnp.float32, lch)), rgb, atol=2e-3)


def test_named_hues_are_far_apart_and_within_srgb():
    light, chroma, hue = scenes.palette._CENTRES.T
    lab = np.stack([light, chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))], -1)
    np.testing.assert_allclose(oklab(np.asarray(scenes.palette.oklch(light, chroma, hue), float)), lab, atol=2e-3)
    gaps = np.abs((hue[:, None] - hue + 180) % 360 - 180) + 360 * np.eye(10)
    assert gaps.min() >= 25


def test_objects_stand_out_from_their_ground():
    variation = jnp.asarray(np.random.default_rng(0).uniform(size=(4, 400)), jnp.float32)
    colour, ground = jnp.arange(400) % 10, jnp.arange(400) >= 200
    first, second = (oklab(np.asarray(tone, float)) for tone in scenes.palette.tones(colour, variation, ground=ground))
    step = np.linalg.norm(first - second, axis=1)
    assert step[:200].min() > 0.08 and step[200:].min() > 0.03
    chroma = np.hypot(first[:, 1], first[:, 2])
    assert chroma[:200].min() > 0.09 > 0.065 > chroma[200:].max()
    light = first[200:, 0]
    assert ((light < 0.42) | (light > 0.84)).all()
    assert 0.3 < np.mean(light < 0.42) < 0.7


# --- data sets


def test_dataset_is_the_batch():
    dataset = SMALL.dataset(jax.random.key(0), 40, name="forty")
    assert (dataset.size, dataset.info.name, dataset.info.class_names) == (40, "forty", CLASSES)
    assert "Scenes(size=32" in dataset.info.source
    batch = drawn(SMALL)
    assert dataset.keys() == batch.keys()
    for entry in batch:
        small = entry == "image" or entry in MASKS
        assert dataset[entry].dtype == (np.uint8 if small else batch[entry].dtype)
        if entry != "image":
            np.testing.assert_array_equal(dataset[entry], batch[entry][:40])
    np.testing.assert_array_equal(jax.jit(data.to_float)(dataset["image"]), batch["image"][:40])
    assert dataset.info.fingerprint == SMALL.dataset(jax.random.key(0), 40).info.fingerprint
    assert dataset.info.fingerprint != SMALL.dataset(jax.random.key(1), 40).info.fingerprint


def test_load_scenes(monkeypatch):
    sizes = []

    def few(self, key, n):
        sizes.append((self, n))
        return dataset(SMALL, key, 16)

    dataset = Scenes.dataset
    monkeypatch.setattr(Scenes, "dataset", few)
    train, test = scenes.load_scenes(0)
    assert sizes == [(Scenes(), 8000), (Scenes(), 2000)]
    assert test.info.mean == train.info.mean
    assert test.info.fingerprint != train.info.fingerprint
    again, other = scenes.load_scenes(0)[0], scenes.load_scenes(1)[0]
    assert again.info.fingerprint == train.info.fingerprint != other.info.fingerprint


@pytest.fixture
def optimized():
    """Let XLA optimize again for one test of a module that uses `quick_compilation`."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_labels_can_be_learned():
    config = Scenes(size=32, objects=(1, 1))
    key_train, key_test, key = jax.random.split(KEY, 3)
    train, test = config.dataset(key_train, 4000), config.dataset(key_test, 500)
    net = L.Sequential(
        L.Conv(16, 3), L.BatchNorm(), jax.nn.relu, L.MaxPool(2),
        L.Conv(32, 3), L.BatchNorm(), jax.nn.relu, L.MaxPool(2),
        L.Conv(64, 3), L.BatchNorm(), jax.nn.relu, L.MaxPool(2),
        L.Conv(64, 3), L.BatchNorm(), jax.nn.relu, L.GlobalAvgPool(), L.Dense(10),
    )  # fmt: skip
    optimizer = optax.adamw(optax.cosine_onecycle_schedule(5 * 62, 0.01))
    result = training.fit(net, train, key=key, epochs=5, batch_size=64, optimizer=optimizer)
    accuracy = training.evaluate(net, result.state.params, result.state.model_state, test)["accuracy"]
    assert accuracy > 0.5  # chance is 0.1


# --- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 31}, "size in 32..128 pixels, got 31. Draw at"),
        ({"size": 129}, "size in 32..128 pixels, got 129."),
        ({"size": 64.0}, "size in 32..128 pixels, got 64.0."),
        ({"objects": (0, 3)}, "objects (low, high) with 1 <= low <= high <= 8, got (0, 3). Pass the"),
        ({"objects": (3, 2)}, "objects (low, high) with 1 <= low <= high <= 8, got (3, 2)."),
        ({"objects": (1, 9)}, "objects (low, high) with 1 <= low <= high <= 8, got (1, 9)."),
        ({"objects": (1, 2.0)}, "objects (low, high) with 1 <= low <= high <= 8, got (1, 2.0)."),
        ({"objects": 3}, "objects (low, high) with 1 <= low <= high <= 8, got 3."),
        ({"objects": (1, 2, 3)}, "objects (low, high) with 1 <= low <= high <= 8, got (1, 2, 3)."),
        ({"classes": ()}, f"different classes out of {CLASSES}, got (). Name each"),
        ({"classes": ("disc", "disc")}, f"different classes out of {CLASSES}, got ('disc', 'disc')."),
        ({"classes": ("disc", "cube")}, f"different classes out of {CLASSES}, got ('disc', 'cube')."),
        ({"classes": "disc"}, f"different classes out of {CLASSES}, got 'disc'."),
        ({"bias": -0.1}, "bias in [0, 1], got -0.1. Pass a"),
        ({"bias": 1.1}, "bias in [0, 1], got 1.1."),
        ({"bias": float("nan")}, "bias in [0, 1], got nan."),
        ({"biased": "shape"}, "biased as one of ('colour', 'texture', 'ground'), got 'shape'. Choose"),
        ({"noise": -0.1}, "noise in [0, 1], got -0.1. 1 is"),
        ({"noise": 2}, "noise in [0, 1], got 2."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match="^Scenes: expected " + re.escape(message)):
        Scenes(**options)


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([], ValueError, "indices (N,), N > 0, got shape (0,). Pass the numbers"),
        (3, ValueError, "indices (N,), N > 0, got shape ()."),
        ([[1, 2]], ValueError, "indices (N,), N > 0, got shape (1, 2)."),
        ([1.5], TypeError, "integer indices, got float64."),
        ([True], TypeError, "integer indices, got bool."),
        ([0, -1], ValueError, "indices in 0..2^31-1, got -1..0."),
        ([2**31, 7], ValueError, "indices in 0..2^31-1, got 7..2147483648."),
    ],
)
def test_bad_indices(indices, error, message):
    with pytest.raises(error, match="^batch: expected " + re.escape(message)):
        SMALL.batch(KEY, indices)


@pytest.mark.parametrize("n", [0, -3, 2.5])
def test_bad_numbers(n):
    with pytest.raises(ValueError, match=rf"^dataset: expected n as a positive int, got {n}\. Pass n"):
        SMALL.dataset(KEY, n)

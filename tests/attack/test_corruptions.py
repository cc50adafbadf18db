"""Common corruptions: each beside its formula, SciPy, PIL or Python's own modules, and what a report makes of them."""

import colorsys
import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxcnn import augment, data
from jaxcnn.attack import corruptions
from jaxcnn.attack.corruptions import CORRUPTIONS, FAMILIES, SEVERITIES, blur, errors, plasma, severity, table
from jaxcnn.attack.corruptions.frost import crystals
from jaxcnn.data.scenes import Scenes

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(3)
IMAGE = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.float32) / 255
BLACK, GREY = jnp.zeros((32, 32, 3)), jnp.full((32, 32, 1), 0.5)
every = pytest.mark.parametrize("name", list(CORRUPTIONS))


@pytest.fixture(scope="module")
def scenes():
    return Scenes(size=32).batch(jax.random.key(0), range(16))["image"]


# --- all of them


def test_the_table():
    assert len(CORRUPTIONS) == 15
    assert [name for kinds in FAMILIES.values() for name in kinds] == list(CORRUPTIONS)
    assert {name: len(kinds) for name, kinds in FAMILIES.items()} == {"noise": 3, "blur": 4, "weather": 4, "digital": 4}
    for name, fn in CORRUPTIONS.items():
        assert fn.__name__ == name
        assert getattr(corruptions, name) is fn
        assert list(inspect.signature(fn).parameters) == ["key", "image", "severity"]
        assert "Args:\n    key: a typed key." in fn.__doc__


@every
def test_images_stay_images(name):
    image = jax.random.uniform(jax.random.key(1), (13, 8, 1))
    fn = jax.jit(partial(CORRUPTIONS[name], severity=4))
    with jax.debug_key_reuse(True):
        out = fn(jax.random.key(3), image)
    assert (out.shape, out.dtype) == (image.shape, image.dtype)
    assert out.min() >= 0 and out.max() <= 1
    assert not np.array_equal(out, image)
    np.testing.assert_array_equal(fn(KEY, image), out)
    random = name in (*FAMILIES["noise"], "glass_blur", "motion_blur", "snow", "frost", "fog", "elastic_transform")
    assert np.array_equal(fn(jax.random.key(4), image), out) != random


@pytest.mark.parametrize("name", ["brightness", "gaussian_noise"])
def test_the_dtype_stays(name):
    half = CORRUPTIONS[name](KEY, IMAGE.astype(np.float16), 4)
    assert half.dtype == jnp.float16
    close(half.astype(np.float32), CORRUPTIONS[name](KEY, IMAGE, 4), atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["glass_blur", "fog", "jpeg_compression"])
def test_a_batch_is_its_images(name):
    images = jnp.asarray(IMAGE).reshape(4, 16, 16, 3)[:3]
    out = corruptions.corrupt(KEY, images, name, 2)
    keys = jax.random.split(KEY, 3)
    one = jax.jit(partial(CORRUPTIONS[name], severity=2))
    close(out, jnp.stack([one(k, x) for k, x in zip(keys, images, strict=True)]), atol=1.01 / 255)
    assert out.shape == images.shape and out.min() >= 0 and out.max() <= 1


@pytest.mark.slow
def test_any_number_of_leading_axes():
    images = jnp.asarray(IMAGE).reshape(4, 16, 16, 3)
    out = corruptions.corrupt(KEY, images, "gaussian_noise")
    np.testing.assert_array_equal(
        corruptions.corrupt(KEY, images.reshape(2, 2, 16, 16, 3), "gaussian_noise"), out.reshape(2, 2, 16, 16, 3)
    )
    single = corruptions.gaussian_noise(jax.random.split(KEY, 1)[0], images[0], 3)
    close(corruptions.corrupt(KEY, images[0], "gaussian_noise"), single, atol=1e-6)


@pytest.mark.slow
@every
def test_the_severer_the_farther(name, scenes):
    keys = jax.random.split(KEY, 16)
    found = table.corrupted(jnp.stack([keys] * 5), scenes, name=name, severities=SEVERITIES)
    away = np.sqrt(((found - scenes) ** 2).mean((1, 2, 3, 4)))
    if name in ("glass_blur", "frost", "elastic_transform"):  # of whose parameters some rise and some fall
        assert (np.diff(away) != 0).all(), away
    else:
        assert (np.diff(away) >= 0).all(), away
        assert away[4] > 1.2 * away[0]


@pytest.mark.slow
@every
def test_at_the_size_of_imagenet(name):
    image = jnp.asarray(Scenes(size=112).batch(jax.random.key(0), [3])["image"][0]).repeat(2, 0).repeat(2, 1)
    away = []
    for s in (1, 5):
        out = jax.jit(partial(CORRUPTIONS[name], severity=s))(KEY, image)
        assert out.shape == (224, 224, 3) and out.min() >= 0 and out.max() <= 1
        away.append(float(jnp.abs(out - image).mean()))
    assert away[1] > away[0] or name in ("elastic_transform",)


def test_parameters_between_the_two_sizes():
    assert severity.parameters(0.1, 0.3, 8) == severity.parameters(0.1, 0.3, 32) == (0.1,)
    assert severity.parameters(0.1, 0.3, 224) == severity.parameters(0.1, 0.3, 500) == (0.3,)
    middle = severity.parameters((1, 2), (3, 10), round((32 * 224) ** 0.5))
    close(middle, (2, 6), rtol=5e-3)
    for frame in ((32, 224), (224, 32)):  # the shorter side decides
        close(corruptions.brightness(KEY, jnp.zeros((*frame, 1)), 5), 0.3)


def even(value):
    """Return a function of the side of an image of one value."""
    return lambda side: jnp.full((side, side, 3), value)


def dot(side):
    return jnp.zeros((side, side, 1)).at[side // 2, side // 2].set(1)


def ramp(side):
    return jnp.broadcast_to(jnp.linspace(0, 1, side)[:, None, None], (side, side, 1))


def spread(y):
    """Return by how much a dot became darker."""
    return 1 / y[:, y.shape[1] // 2, y.shape[2] // 2].mean()


def trails(*pairs):
    """Return the same by hand, of trails of some radius and deviation."""
    return [np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2).sum() for radius, sigma in pairs]


def slopes(*pairs):
    """Return by hand how steep a ramp of slope 1 is after zooms that end somewhere, by some step."""
    return [np.mean([1, *(1 / np.arange(1, end, step))]) for end, step in pairs]


# An image, what to measure of it afterwards, how exactly, and what is to be found there with the parameters that the
# authors published for CIFAR-10-C, and for ImageNet-C.
EFFECTS = {
    "gaussian_noise": (
        even(0.5), lambda y: np.median(np.abs(y - 0.5)) / 0.6745, 0.03,
        (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38),
    ),
    "shot_noise": (even(0.1), lambda y: y.mean() / y.var(), 0.03, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "impulse_noise": (
        even(0.5), lambda y: (y != 0.5).mean(), 0.1, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27),
    ),
    "defocus_blur": (  # the points of a disc; below a radius of 1 what a Gaussian takes from its one point
        dot, spread, 1e-3,
        (*(1 + 2 * np.exp(-0.5 / np.square([0.4, 0.5, 0.6]))) ** 2, 5, 9), (29, 49, 113, 197, 317),
    ),
    "motion_blur": (
        dot, spread, 1e-3,
        trails((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)), trails((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": (
        ramp, np.ptp, 2e-4,
        slopes((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        slopes((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "brightness": (even(0.3), lambda y: y.mean() - 0.3, 1e-4, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (ramp, np.ptp, 1e-4, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "shot_noise")) for name in EFFECTS]
)
def test_parameters_are_the_published_ones_by_what_they_do(name):
    image, measure, rtol, small, large = EFFECTS[name]
    for side, expected in ((32, small), (224, large)):
        count = (224 // side) ** 2  # of as many pixels
        keys = jax.random.split(KEY, (5, count))
        found = table.corrupted(keys, jnp.stack([image(side)] * count), name=name, severities=SEVERITIES)
        close([measure(np.asarray(y)) for y in found], expected, rtol=rtol)


def test_an_example_keeps_what_else_it_holds():
    out = corruptions.contrast(KEY, {"image": IMAGE, "label": 3}, 1)
    assert out["label"] == 3
    close(out["image"], corruptions.contrast(KEY, IMAGE, 1))


# --- each


@pytest.mark.slow
def test_noise():
    np.testing.assert_array_equal(corruptions.gaussian_noise(KEY, IMAGE, 3), augment.noise(KEY, IMAGE, std=0.08))
    share = np.log(200 / 32) / np.log(7)
    rate = 75 * (1 - share) + 5 * share
    photons = rate * np.asarray(corruptions.shot_noise(KEY, jnp.full((200, 200, 1), 0.2), 4))
    close(photons[photons < rate], np.round(photons[photons < rate]), atol=1e-3)
    close([photons.mean(), photons.var()], [0.2 * rate] * 2, rtol=0.03)
    salted = np.asarray(corruptions.impulse_noise(KEY, jnp.full((32, 32, 3), 0.5), 5))
    assert set(np.unique(salted)) == {0, 0.5, 1}
    many = np.asarray(corruptions.corrupt(KEY, jnp.full((64, 32, 32, 3), 0.5), "impulse_noise", 5))
    close([(many == 0).mean(), (many == 1).mean()], [0.035, 0.035], rtol=0.05)
    assert ((many == 0.5).all(-1) | (many != 0.5).all(-1)).mean() < 0.9  # each channel by itself


@pytest.mark.parametrize(
    ("level", "kernel"),
    [
        (1, np.outer(*[np.exp(-0.5 * np.array([1, 0, 1]) / 0.4**2)] * 2)),
        (4, np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0.0]])),
        (5, np.ones((3, 3))),
    ],
)
def test_defocus_is_scipys_filter(level, kernel):
    out = corruptions.defocus_blur(KEY, IMAGE, level)
    expected = ndimage.correlate(IMAGE, (kernel / kernel.sum())[..., None], mode="mirror")
    close(out, expected, atol=2e-5)


def test_a_disc_has_the_points_within_its_radius():
    for radius, points in ((3, 29), (10, 317)):
        disc = blur._disc(radius, 0.01)
        assert (disc > 0).sum() == points
        close(disc[disc > 0], 1 / points, rtol=1e-5)
    close(blur._disc(10, 0.5).sum(), 1, rtol=1e-5)


@pytest.mark.slow
def test_glass_exchanges_pixels_one_after_another():
    image = np.arange(32 * 32 * 3, dtype=np.float32).reshape(32, 32, 3) / (32 * 32 * 3)
    out = corruptions.glass_blur(KEY, image, 1)  # with a blur of 0.05 pixels, which is none
    close(np.sort(out.ravel()), image.ravel(), atol=1e-6)
    key = jax.random.split(KEY, 3)[1]
    for reach, passes in ((1, 1), (2, 2)):
        order = np.asarray(blur._shuffled(key, (32, 32), reach, passes))
        places = [(h, w) for h in range(32 - reach, reach, -1) for w in range(32 - reach, reach, -1)] * passes
        moves = np.asarray(jax.random.randint(key, (len(places), 2), -reach, reach))
        assert set(np.unique(moves)) == set(range(-reach, reach))
        grid = np.arange(1024).reshape(32, 32)
        for (h, w), (down, right) in zip(places, moves, strict=True):
            grid[h, w], grid[h + down, w + right] = grid[h + down, w + right], grid[h, w]
        np.testing.assert_array_equal(order, grid.ravel())
        if (reach, passes) == (1, 1):
            close(out, image.reshape(-1, 3)[order].reshape(image.shape), atol=1e-6)


@pytest.mark.parametrize("degrees", [0, 90, 30, -45, -100])
def test_a_trail_by_hand(degrees):
    out = blur.trail(jnp.asarray(IMAGE), jnp.float32(degrees), radius=3.5, sigma=2.0)
    weights = np.exp(-(np.arange(9) ** 2) / 8)
    angle = np.deg2rad(degrees)
    expected = np.zeros_like(IMAGE)
    for k, weight in enumerate(weights / weights.sum()):
        down, right = (int(np.ceil(k * side - 0.5 - 1e-6)) for side in (np.sin(angle), np.cos(angle)))
        rows, columns = (np.clip(np.arange(32) + by, 0, 31) for by in (down, right))
        expected += weight * IMAGE[rows][:, columns]
    close(out, expected, atol=5e-4)  # the weights below 1e-4 are left out


@pytest.mark.slow
def test_motion_goes_within_45_degrees_of_the_rows():
    dot = jnp.zeros((31, 31, 1)).at[15, 15].set(1)
    keys = jax.random.split(KEY, 200)
    many = jax.vmap(partial(corruptions.motion_blur, image=dot, severity=5))(keys)[..., 0]
    down, right = ((many * (jnp.arange(31) - 15).reshape(shape)).sum((1, 2)) for shape in ((31, 1), (31,)))
    angle = np.rad2deg(np.arctan2(-down, -right))
    assert np.abs(angle).max() < 55  # whole pixels
    assert np.ptp(angle) > 80 and abs(angle.mean()) < 8


def test_zoom_is_the_mean_of_scipys():
    factors = np.arange(1, 1.16, 0.01)
    expected = IMAGE.astype(np.float64)
    for factor in factors:
        matrix, offset = (1 / factor, 1 / factor, 1), (15.5 - 15.5 / factor,) * 2 + (0,)
        expected = expected + ndimage.affine_transform(IMAGE, matrix, offset, order=1, mode="nearest")
    close(corruptions.zoom_blur(KEY, IMAGE, 3), expected / (1 + len(factors)), atol=1e-4)


@pytest.mark.slow
def test_snow_on_black():
    out = np.asarray(corruptions.corrupt(KEY, jnp.zeros((8, 32, 32, 3)), "snow", 1))
    close(out.min(), 0.05 * 0.5, atol=1e-6)  # what is between the flakes
    close(out, np.rot90(out, 2, (1, 2)), atol=1e-6)
    assert 0.01 < (out > 0.03).mean() < 0.5
    assert (np.asarray(corruptions.corrupt(KEY, IMAGE[None], "snow", 1)) >= IMAGE - 1e-6).all()


@pytest.mark.slow
def test_snow_whitens_by_the_grey_image():
    pink = jnp.broadcast_to(jnp.array([0.6, 0.2, 0.4]), (32, 32, 3))
    out = np.asarray(corruptions.snow(KEY, pink, 5))
    grey = 0.299 * 0.6 + 0.587 * 0.2 + 0.114 * 0.4
    bare = 0.8 * np.array([0.6, 0.2, 0.4]) + 0.2 * np.maximum([0.6, 0.2, 0.4], 1.5 * grey + 0.5)
    assert (out >= bare - 1e-6).all()
    close(out.min((0, 1)), bare, atol=0.1)
    layer = out - bare  # the flakes are white
    close(layer[(out < 1).all(-1)].std(-1), 0, atol=1e-5)


@pytest.mark.slow
def test_frost_is_added():
    found = np.asarray(corruptions.frost(KEY, BLACK, 5))
    ice = np.asarray(crystals(KEY, (32, 32)))
    close(found, 0.45 * ice[..., None] * [0.86, 0.94, 1.0], atol=1e-5)
    assert ice.min() >= 0 and ice.max() > 0.6 and 0.2 < ice.mean() < 0.6
    close(corruptions.frost(KEY, GREY, 5)[..., 0], np.clip(0.75 * 0.5 + 0.45 * ice, 0, 1), atol=1e-5)
    others = jnp.stack([crystals(k, (40, 20)) for k in jax.random.split(KEY, 3)])
    assert np.std(others, axis=0).mean() > 0.1


@pytest.mark.slow
def test_fog():
    image = BLACK.at[3, 4, 1].set(0.8)
    out = np.asarray(corruptions.fog(KEY, image, 4))  # thickness 1
    cloud = np.asarray(plasma.plasma(KEY, (32, 32), 2))
    close(out, (np.asarray(image) + cloud[..., None]) * 0.8 / 1.8, atol=1e-6)
    close(corruptions.fog(KEY, BLACK, 5), 0)


@pytest.mark.slow
def test_a_cloud():
    whole = np.asarray(plasma.plasma(KEY, (64, 64), 2.0))
    assert (whole.min(), whole.max()) == (0, 1)
    np.testing.assert_array_equal(plasma.plasma(KEY, (40, 33), 2.0), whole[:40, :33])
    assert np.abs(whole[:, 0] - whole[:, -1]).mean() < 2 * np.abs(np.diff(whole, axis=1)).mean()  # wrapped
    rough = [np.abs(np.diff(plasma.plasma(KEY, (64, 64), decay), axis=0)).mean() for decay in (1.4, 2.0)]
    assert rough[0] > 1.7 * rough[1]


def test_a_cloud_of_two_rounds_by_hand():
    first, second = jax.random.split(KEY, 2)
    a = np.asarray(jax.random.uniform(first, (3, 1, 1), minval=-1.0))[:, 0, 0]
    field = np.zeros((4, 4))
    field[2, 2] = a[0]
    field[0, 2], field[2, 0] = field[2, 2] * 2 / 4 + a[1], field[2, 2] * 2 / 4 + a[2]
    b = np.asarray(jax.random.uniform(second, (3, 2, 2), minval=-1.0)) / 9

    def at(i, j):
        return field[i % 4, j % 4]

    for i in range(2):
        for j in range(2):
            y, x = 2 * i + 1, 2 * j + 1
            field[y, x] = (at(y - 1, x - 1) + at(y - 1, x + 1) + at(y + 1, x - 1) + at(y + 1, x + 1)) / 4 + b[0, i, j]
    for i in range(2):
        for j in range(2):
            for (y, x), draw in (((2 * i, 2 * j + 1), b[1]), ((2 * i + 1, 2 * j), b[2])):
                field[y, x] = (at(y - 1, x) + at(y + 1, x) + at(y, x - 1) + at(y, x + 1)) / 4 + draw[i, j]
    close(plasma.plasma(KEY, (4, 4), 3.0), (field - field.min()) / np.ptp(field), atol=1e-6)


def test_brightness_adds_to_the_value():
    out = np.asarray(corruptions.brightness(KEY, IMAGE, 4))
    for pixel, lit in zip(IMAGE.reshape(-1, 3)[:200], out.reshape(-1, 3), strict=False):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel.tolist())
        close(lit, colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1)), atol=1e-5)
    close(corruptions.brightness(KEY, BLACK, 4), 0.2)
    close(corruptions.brightness(KEY, GREY, 5), augment.brightness(KEY, GREY, delta=(0.3, 0.3)), atol=1e-6)


def test_contrast():
    mean = IMAGE.mean((0, 1))
    close(corruptions.contrast(KEY, IMAGE, 5), mean + 0.15 * (IMAGE - mean), atol=1e-5)


def places(image_of):
    """Return from where each pixel of a moved image was fetched, (row, column)."""
    rows, columns = np.mgrid[:32, :32]
    x = np.stack([rows, columns, 0 * rows], -1).astype(np.float32) / 31
    return np.asarray(image_of(x))[..., :2] * 31


def test_elastic_of_severity_1_moves_three_corners():
    inner = np.s_[11:21]
    moved = []
    move = jax.jit(partial(corruptions.elastic_transform, severity=1))
    for key in jax.random.split(KEY, 20):
        source = places(partial(move, key))[inner, inner]
        to = np.mgrid[inner, inner].transpose(1, 2, 0).reshape(-1, 2)
        flat = np.concatenate([to, np.ones((len(to), 1))], 1)
        forth, *_ = np.linalg.lstsq(flat, source.reshape(-1, 2), rcond=None)
        close(flat @ forth, source.reshape(-1, 2), atol=1e-3)  # an affine map
        back = np.linalg.inv(np.concatenate([forth, [[0], [0], [1]]], 1))
        third = 32 / 3
        corners = np.array([(third, third), (third, -third), (-third, -third)]) + 15.5
        went = (np.concatenate([corners, np.ones((3, 1))], 1) @ back)[:, :2] - corners
        moved.append(went)
    moved = np.stack(moved)
    assert np.abs(moved).max() <= 0.08 * 32 * 1.01
    assert np.abs(moved).max() > 0.07 * 32 and abs(moved.mean()) < 0.4
    close(moved.std(), 0.08 * 32 / 3**0.5, rtol=0.15)


@pytest.mark.slow
def test_elastic_bends_at_severity_5():
    source = places(lambda x: corruptions.elastic_transform(KEY, x, 5))[8:24, 8:24]
    bent = np.diff(source, 2, axis=0)
    assert 0.05 < np.abs(bent).mean() < 1
    flat = corruptions.elastic_transform(KEY, GREY, 5)
    close(flat, 0.5, atol=1e-6)


@pytest.mark.parametrize("level", SEVERITIES)
def test_pixelate_is_pils_box(level):
    from PIL import Image

    cells = int(32 * (0.95, 0.9, 0.85, 0.75, 0.65)[level - 1])
    theirs = Image.fromarray(np.rint(255 * IMAGE).astype(np.uint8))
    theirs = theirs.resize((cells, cells), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
    close(corruptions.pixelate(KEY, IMAGE, level), np.asarray(theirs) / 255, atol=1.01 / 255)  # rounded twice


@pytest.mark.parametrize("level", SEVERITIES)
def test_pixelate_of_large_images_is_pils_box(level):
    from PIL import Image

    image = np.random.default_rng(2).integers(0, 256, (224, 230), np.uint8)
    cells = [int(n * (0.6, 0.5, 0.4, 0.3, 0.25)[level - 1]) for n in (230, 224)]
    theirs = Image.fromarray(image).resize(cells, Image.Resampling.BOX).resize((230, 224), Image.Resampling.BOX)
    ours = corruptions.pixelate(KEY, image[..., None].astype(np.float32) / 255, level)
    close(ours[..., 0], np.asarray(theirs) / 255, atol=1.01 / 255)  # rounded twice


@pytest.mark.slow
def test_jpeg():
    np.testing.assert_array_equal(corruptions.jpeg_compression(KEY, IMAGE, 2), augment.jpeg(KEY, IMAGE, quality=65))


# --- a report


def known(fn):
    """Return a classifier of the digits' images with closed answers."""
    return lambda x: jax.nn.one_hot(fn(x), 10)


@pytest.mark.slow
def test_a_report_is_what_corrupt_gives(digits):
    x, y = digits.x[:20], digits.y[:20]
    names = ("contrast", "gaussian_noise")
    found = corruptions.corruption_errors(KEY, digits.logits_fn, x, y, kinds=names, severities=(1, 5), batch_size=8)
    assert (found.kinds, found.severities, found.images) == (names, (1, 5), 20)
    assert found.clean == np.mean(digits.logits_fn(x).argmax(-1) == y) > 0.9
    for row, name in zip(found.accuracy, names, strict=True):
        key = jax.random.fold_in(KEY, list(CORRUPTIONS).index(name))
        for value, s in zip(row, (1, 5), strict=True):
            images = corruptions.corrupt(jax.random.fold_in(key, s), x, name, s)
            assert value == np.mean(digits.logits_fn(images).argmax(-1) == y)
    assert found.accuracy[1].min() < 1
    alone = corruptions.corruption_errors(KEY, digits.logits_fn, x, y, kinds="gaussian_noise")
    np.testing.assert_array_equal(alone.accuracy[0, [0, 4]], found.accuracy[1])
    assert alone.mean_error == pytest.approx(1 - alone.accuracy.mean())
    rows = found.table()
    assert rows[1]["corruption"] == "gaussian noise"
    assert rows[1]["5"] == round(100 * found.accuracy[1, 1], 1)
    assert rows[1]["mean"] == pytest.approx(100 * found.accuracy[1].mean(), abs=0.06)


@pytest.mark.slow
def test_the_net_is_one_program_and_each_kind_another(monkeypatch):
    traces, drawn = [], []

    def logits_fn(x):
        traces.append(x.shape)
        return jnp.stack([x.mean((1, 2, 3)), 0.3 + 0 * x[:, 0, 0, 0]], -1)

    x, y = jax.random.uniform(KEY, (50, 8, 8, 1)), jnp.zeros(50, int)
    names = ("brightness", "contrast")
    logits_fn = jax.tree_util.Partial(logits_fn)
    corruptions.corruption_errors(KEY, logits_fn, x[:16], y[:16], kinds=names, batch_size=16)
    once = len(traces)
    monkeypatch.setattr(errors, "corrupted", lambda *a, **k: drawn.append(k["name"]) or table.corrupted(*a, **k))
    corruptions.corruption_errors(KEY, logits_fn, x, y, kinds=names, batch_size=16)
    assert len(traces) == once
    assert drawn == [name for name in names for _ in range(4)]
    assert set(traces) == {(16, 8, 8, 1)}


@pytest.mark.slow
def test_lost_logits_are_wrong():
    found = corruptions.corruption_errors(
        KEY, lambda x: jnp.nan * known(lambda x: jnp.zeros(len(x), int))(x), GREY[None], 0, kinds="fog", severities=[1]
    )
    assert (found.clean, found.accuracy.tolist()) == (0, [[0]])


def report_of(accuracy, clean=1.0):
    return corruptions.CorruptionReport(("fog", "snow"), (1, 5), np.array(accuracy), clean, 10)


def test_mean_corruption_errors_by_hand():
    own, base = report_of([[0.9, 0.7], [0.8, 0.6]]), report_of([[0.8, 0.4], [0.9, 0.9]], clean=0.95)
    close(own.corruption_errors(base), [0.4 / 0.8, 0.6 / 0.2])
    assert own.mce(base) == pytest.approx((0.5 + 3) / 2)
    assert own.mce(own) == own.relative_mce(own) == pytest.approx(1)
    assert own.relative_mce(base) == pytest.approx((0.4 / 0.7 + 0.6 / 0.1) / 2)
    assert own.mean_error == pytest.approx(0.25)
    assert np.isnan(own.mce(report_of(np.ones((2, 2)))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: corruptions.corrupt(KEY, GREY, "rain"),
            r"^corrupt: expected name as one of \('gaussian_noise', .*got 'rain'",
        ),
        (lambda: corruptions.corrupt(KEY, GREY, "fog", 6), r"^corrupt: expected severity of at most 5, got 6\."),
        (lambda: corruptions.corrupt(KEY, GREY, "fog", 0), r"^corrupt: expected severity as a positive int, got 0\."),
        (
            lambda: corruptions.corrupt(KEY, GREY + 1, "fog"),
            r"^corrupt: expected images in \[0, 1\], got values from 1\.5 to",
        ),
        (
            lambda: corruptions.corrupt(KEY, GREY * jnp.nan, "fog"),
            r"^corrupt: expected images in \[0, 1\], got values from nan",
        ),
        (
            lambda: corruptions.corrupt(KEY, GREY[0], "fog"),
            r"^corrupt: expected images \(\.\.\., H, W, C\), got shape \(32, 1\)",
        ),
        (
            lambda: corruptions.corrupt(KEY, jnp.ones((2, 2, 2)), "fog"),
            r"^corrupt: expected an image of 1 or 3 channels",
        ),
        (lambda: corruptions.fog(KEY, jnp.ones((2, 2, 2)), 1), r"^fog: expected an image of 1 or 3 channels"),
        (lambda: corruptions.fog(KEY, GREY, 2.5), r"^fog: expected severity as a positive int, got 2\.5\."),
        (lambda: report_of([[1.0]]).mce(alone()), r"^corruption_errors: expected a baseline of the same kinds and"),
        (lambda: measure(GREY, 0), r"^corruption_errors: expected images \(N, H, W, C\), got shape \(32, 32, 1\)"),
        (lambda: measure(GREY[None], 10), r"^corruption_errors: expected y in 0\.\.9, got 10\."),
        (lambda: measure(GREY[None], 0, kinds=["rain"]), r"^corruption_errors: expected kinds out of \('gauss"),
        (lambda: measure(GREY[None], 0, kinds=[]), r"^corruption_errors: expected at least one kind, got \[\]\."),
        (lambda: measure(GREY[None], 0, severities=()), r"^corruption_errors: expected at least one severity, got"),
        (lambda: measure(GREY[None], 0, severities=(7,)), r"^corruption_errors: expected severity of at most 5, got 7"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def alone():
    return corruptions.CorruptionReport(("fog",), (1, 5), np.ones((1, 2)), 1.0, 10)


def measure(x, y, **options):
    return corruptions.corruption_errors(KEY, known(lambda x: jnp.zeros(len(x), int)), x, y, **options)


def test_refuses_what_is_no_float_or_no_key():
    with pytest.raises(TypeError, match=r"^corrupt: expected images of a floating dtype, got uint8\."):
        corruptions.corrupt(KEY, data.load("digits")[1]["image"][:2], "fog")
    with pytest.raises(TypeError, match=r"^corrupt: expected one PRNG key, got 0\."):
        corruptions.corrupt(0, GREY, "fog")


def test_corrupts_inside_of_a_program():
    out = jax.jit(lambda key, x: corruptions.corrupt(key, x, "contrast", 2))(KEY, GREY[None])
    close(out, GREY[None], atol=1e-6)


def test_black_and_white_are_in_range():
    image = jnp.round(jax.random.uniform(KEY, (8, 8, 1)))
    out = corruptions.corrupt(KEY, image, "contrast", 2)
    assert 0 < out.min() < out.max() < 1


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
def test_photons_are_counted_with_keys_of_any_kind(kind):
    image = jnp.full((32, 32, 1), 0.2)
    one, other = (corruptions.shot_noise(jax.random.key(seed, impl=kind), image, 4) for seed in (0, 1))
    counts = np.asarray(one) * 75  # of severity 4 and small images
    np.testing.assert_allclose(counts, counts.round(), atol=1e-4)
    assert abs(counts.mean() - 15) < 0.5
    assert (one != other).any()

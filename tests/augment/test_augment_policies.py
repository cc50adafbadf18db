"""Policies: every operation against torchvision, what is drawn, and that masks and boxes move along."""

import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from jaxcnn import augment
from jaxcnn.augment.operations import named_operations

pytestmark = pytest.mark.usefixtures("quick_compilation")
# The function has the name of its file.
RAND_AUGMENT = importlib.import_module("jaxcnn.augment.rand_augment")
AUGMIX = importlib.import_module("jaxcnn.augment.augmix")
KEY = jax.random.key(0)
IMAGE = np.random.default_rng(0).integers(0, 256, (16, 21, 3)).astype(np.float32) / 255
THEIR_NAMES = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "color": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
}
SPACES = {
    "RandAugment": (RAND_AUGMENT._STANDARD, 31),
    "TrivialAugmentWide": (RAND_AUGMENT._WIDE, 31),
    "AugMix": (AUGMIX._STRENGTHS, 10),
}


@pytest.mark.parametrize("policy", SPACES)
@pytest.mark.parametrize("name", THEIR_NAMES)
def test_operations_are_torchvisions(policy, name, by_torchvision):
    from torchvision.transforms import InterpolationMode, autoaugment

    strengths, bins = SPACES[policy]
    size = () if policy == "TrivialAugmentWide" else (IMAGE.shape[:2],)
    space = getattr(autoaugment, policy)()._augmentation_space(bins, *size)
    assert set(space) == set(THEIR_NAMES.values()) - ({"Identity"} if policy == "AugMix" else set())
    magnitudes, signed = space.get(THEIR_NAMES[name], (None, None))
    if magnitudes is None:
        assert (policy, name) == ("AugMix", "identity")
        return
    operation = jax.jit(named_operations("here", strengths, 0.0, 0)[name])
    whole = name in ("posterize", "solarize", "equalize")  # they are defined on 8 bits
    for at in (0, bins // 3, bins - 1):
        for sign in (1, -1) if signed else (1,):
            magnitude = sign * float(magnitudes[at]) if magnitudes.ndim else 0.0

            def theirs(tensor, magnitude=magnitude):
                # Without a fill: with one torchvision multiplies what lies within a pixel of the frame twice.
                return autoaugment._apply_op(tensor, THEIR_NAMES[name], magnitude, InterpolationMode.BILINEAR, None)

            image = np.round(255 * IMAGE).astype(np.uint8) if whole else IMAGE
            expected = by_torchvision(theirs, image) / (255 if whole else 1)
            ours = operation(jnp.float32(sign * at / (bins - 1)), IMAGE)
            np.testing.assert_allclose(ours, expected, atol=1e-3 if name in ("color", "contrast") else 1e-4)


def by_name(image, name, level):
    """Return what an operation of RandAugment does, by PIL alone."""
    from PIL import Image, ImageEnhance, ImageOps

    shift = [int(level * side * 150 / 331) for side in image.size]
    backwards = {
        "shear_x": (1, 0.3 * level, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, 0.3 * level, 1, 0),
        "translate_x": (1, 0, -shift[0], 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, -shift[1]),
    }
    enhancers = {"color": "Color", "contrast": "Contrast", "brightness": "Brightness", "sharpness": "Sharpness"}
    if name in backwards:
        return image.transform(image.size, Image.Transform.AFFINE, backwards[name], Image.Resampling.BILINEAR)
    if name == "rotate":
        return image.rotate(30 * level, Image.Resampling.BILINEAR)
    if name in enhancers:
        return getattr(ImageEnhance, enhancers[name])(image).enhance(1 + 0.9 * level)
    level = abs(level)
    options = {"posterize": (8 - round(4 * level),), "solarize": (255 * (1 - level),)}
    return image if name == "identity" else getattr(ImageOps, name)(image, *options.get(name, ()))


@pytest.mark.parametrize("name", THEIR_NAMES)
def test_operations_are_pils(name, by_pil):
    operation = jax.jit(named_operations("here", RAND_AUGMENT._STANDARD, 0.0, 0)[name])
    for level in (-0.9, 0.3):
        call = partial(by_name, name=name, level=level)
        inside = np.ones(IMAGE.shape[:2], bool)
        if name in ("shear_x", "shear_y", "rotate", "translate_x", "translate_y"):  # PIL has no blend at the frame
            inside = ndimage.binary_erosion(by_pil(call, np.ones_like(IMAGE)).all(-1), border_value=0)
            assert inside.sum() > 60
        ours = operation(jnp.float32(level), IMAGE)
        np.testing.assert_allclose(ours[inside], by_pil(call, IMAGE)[inside], atol=2.1 / 255)


@pytest.mark.slow
def test_operations_move_masks_boxes_and_keypoints():
    """A white square on black, its label, box and corners stay together."""
    image = jnp.zeros((40, 40, 3)).at[14:26, 16:30].set(1.0)
    square = jnp.array([16.0, 14.0, 30.0, 26.0])
    corners = square[jnp.array([[0, 1], [2, 1], [0, 3], [2, 3]])]
    example = {
        "image": image,
        "mask": image[..., 0].astype(jnp.int32),
        "boxes": square[None],
        "keypoints": jnp.concatenate([corners, corners.mean(0, keepdims=True)]),
        "label": jnp.int32(3),
    }
    for name, operation in named_operations("here", RAND_AUGMENT._STANDARD, 0.0, 7).items():
        for level in (-0.6, 0.6):
            out = jax.jit(operation)(jnp.float32(level), example)
            moves = name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
            if not moves:
                for entry in ("mask", "boxes", "keypoints"):
                    assert (out[entry] == example[entry]).all()
                continue
            assert (out["keypoints"] != example["keypoints"]).any()
            assert (out["mask"] == 7).any()
            for inside in (out["mask"] == 1, out["image"][..., 0] > 0.5):
                rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
                found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                np.testing.assert_allclose(out["boxes"][0], found, atol=1.2)
            x, y = np.floor(out["keypoints"][4]).astype(int)
            assert out["mask"][y, x] == 1
            assert out["label"] == 3


def stamping(monkeypatch, module, stamp) -> None:
    """Replace the n-th operation of a policy by stamp(n, level, example)."""
    names = list(module.named_operations("here", RAND_AUGMENT._STANDARD, 0.0, 0))
    stamps = {name: partial(stamp, number) for number, name in enumerate(names)}
    monkeypatch.setattr(module, "named_operations", lambda *_: stamps)


def logged(number, level, example):
    return {**example, "log": jnp.concatenate([example["log"][1:], jnp.array([[number, level]])])}


def log_of(fn, slots: int, count: int = 1500) -> np.ndarray:
    """Return the (number, level) of each operation, (count, slots, 2)."""
    batch = {"image": jnp.zeros((count, 1, 1, 3)), "log": jnp.full((count, slots, 2), -1.0)}
    return np.asarray(jax.jit(augment.batched(fn))(KEY, batch)["log"])


def test_rand_augment_draws_each_operation_equally_often_at_one_level(monkeypatch):
    stamping(monkeypatch, RAND_AUGMENT, logged)
    log = log_of(partial(augment.rand_augment, operations=3, magnitude=6, bins=11), 3)
    for slot in range(3):
        counts = np.bincount(log[:, slot, 0].astype(int), minlength=14)
        assert len(counts) == 14
        assert np.abs(counts / 1500 - 1 / 14).max() < 0.025
        assert abs((log[:, slot, 1] > 0).mean() - 0.5) < 0.05
    np.testing.assert_allclose(np.abs(log[..., 1]), 0.6, rtol=1e-6)
    flat = np.concatenate([log[..., 0], log[..., 1]], 1)
    assert np.abs(np.corrcoef(flat.T) - np.eye(6)).max() < 0.1


def test_trivial_augment_draws_every_level(monkeypatch):
    stamping(monkeypatch, RAND_AUGMENT, logged)
    log = log_of(partial(augment.trivial_augment, bins=5), 1)[:, 0]
    assert np.abs(np.bincount(log[:, 0].astype(int), minlength=14) / 1500 - 1 / 14).max() < 0.025
    levels, counts = np.unique(log[:, 1], return_counts=True)
    np.testing.assert_allclose(levels, np.arange(-4, 5) / 4)
    assert np.abs(counts / 1500 - np.where(levels == 0, 0.2, 0.1)).max() < 0.03
    assert np.abs(np.corrcoef(log.T)[0, 1]) < 0.1


@pytest.mark.slow
def test_rand_augment_applies_its_operations_one_after_another():
    keys = jax.random.split(KEY, 40)
    once = jax.jit(jax.vmap(partial(augment.rand_augment, operations=1), (0, None)))(keys, IMAGE)
    twice = jax.jit(jax.vmap(partial(augment.rand_augment, operations=2), (0, None)))(keys, IMAGE)
    operations = named_operations("here", RAND_AUGMENT._STANDARD, 0.0, 0).values()
    level = jnp.float32(0.3)
    all_once = [jax.jit(operation)(sign * level, IMAGE) for operation in operations for sign in (1, -1)]
    near = [min(float(jnp.abs(out - one).max()) for one in all_once) for out in once]
    assert max(near) < 1e-5
    assert len({int(np.argmin([jnp.abs(out - one).max() for one in all_once])) for out in once}) > 12
    assert np.mean([min(float(jnp.abs(out - one).max()) for one in all_once) > 1e-3 for out in twice]) > 0.6


@pytest.mark.slow
def test_augmix_of_equal_chains_is_the_operation(monkeypatch):
    """With operations that return black the mixture is (1 - m) x, whatever the weights of the chains."""
    black = {f"op{n}": lambda level, image: 0 * image for n in range(3)}
    monkeypatch.setattr(AUGMIX, "named_operations", lambda *_: {"identity": lambda level, image: image, **black})
    keys = jax.random.split(KEY, 300)
    for alpha in (1.0, 0.4):
        out = np.asarray(jax.jit(jax.vmap(partial(augment.augmix, alpha=alpha), (0, None)))(keys, IMAGE))
        share = (out / np.maximum(IMAGE, 1e-9))[:, IMAGE > 0.1]
        assert np.ptp(share, 1).max() < 1e-5
        m = 1 - share[:, 0]
        assert abs(m.mean() - 0.5) < 0.06
        assert abs(m.var() - 1 / (4 * (2 * alpha + 1))) < 0.02


@pytest.mark.slow
def test_augmix_mixes_chains_of_one_to_three_operations(monkeypatch):
    """Each operation halves the image: a chain of d shows as 1 / 2^d."""
    halve = {f"op{n}": lambda level, image: image / 2 for n in range(3)}
    monkeypatch.setattr(AUGMIX, "named_operations", lambda *_: {"identity": lambda level, image: image, **halve})
    monkeypatch.setattr(jax.nn, "sigmoid", jnp.ones_like)  # nothing of the unmixed image
    keys = jax.random.split(KEY, 400)
    white = jnp.ones((1, 1, 1))

    def depths(**options):
        out = np.asarray(jax.vmap(partial(augment.augmix, **options), (0, None))(keys, white)).ravel()
        return np.log2(1 / out)

    found = depths(width=1)
    np.testing.assert_allclose(found, np.round(found), atol=1e-5)
    assert np.abs(np.bincount(np.round(found).astype(int), minlength=4) / 400 - [0, 1 / 3, 1 / 3, 1 / 3]).max() < 0.08
    np.testing.assert_allclose(depths(width=2, depth=4), 4, atol=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_augmix_weighs_its_chains_at_random(monkeypatch, alpha):
    """Of two chains of one operation, where one returns black and the other white, the weight of white shows."""
    fns = {"identity": lambda level, x: x, "black": lambda level, x: 0 * x, "white": lambda level, x: 0 * x + 1}
    monkeypatch.setattr(AUGMIX, "named_operations", lambda *_: fns)
    monkeypatch.setattr(jax.nn, "sigmoid", jnp.ones_like)
    fn = partial(augment.augmix, width=2, depth=1, alpha=alpha)
    out = np.asarray(jax.vmap(fn, (0, None))(jax.random.split(KEY, 600), jnp.zeros((1, 1, 1)))).ravel()
    weight = out[(out > 1e-6) & (out < 1 - 1e-6)]
    assert abs(len(weight) / 600 - 0.5) < 0.06
    assert stats.kstest(weight, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_augmix_draws_the_same_in_double_precision():
    key, image = jax.random.key(0), np.random.default_rng(0).random((8, 8, 3), np.float32)
    expected = augment.augmix(key, image)
    with jax.enable_x64(True):
        found = augment.augmix(key, jnp.asarray(image))
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_augmix_draws_operations_levels_and_signs(monkeypatch):
    def stamp(number, level, image):
        return image.at[0, 0].set(jnp.array([number / 20, jnp.abs(level), (jnp.sign(level) + 1) / 4]))

    stamping(monkeypatch, AUGMIX, stamp)
    monkeypatch.setattr(jax.nn, "sigmoid", jnp.ones_like)  # nothing of the unmixed image
    seen = {}
    for all_operations, count in ((False, 9), (True, 13)):
        fn = partial(augment.augmix, width=1, depth=1, severity=4, all_operations=all_operations)
        out = np.asarray(jax.vmap(fn, (0, None))(jax.random.split(KEY, 800), jnp.zeros((1, 1, 3))))[:, 0, 0]
        numbers = np.bincount(np.round(20 * out[:, 0]).astype(int), minlength=14)
        seen[all_operations] = set(np.flatnonzero(numbers))
        assert len(seen[all_operations]) == count
        assert np.abs(numbers[numbers > 0] / 800 - 1 / count).max() < 0.05
        levels = np.bincount(np.round(9 * out[:, 1]).astype(int))
        assert np.abs(levels / 800 - 0.25).max() < 0.06
        signs = out[out[:, 1] > 0, 2]
        assert abs((signs > 0.4).mean() - 0.5) < 0.06
    names = list(THEIR_NAMES)
    assert {names[n] for n in seen[True] - seen[False]} == {"brightness", "color", "contrast", "sharpness"}
    assert 0 not in seen[True]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(augment.rand_augment, operations=0), r"^rand_augment: expected operations as a positive int, got 0\."),
        (partial(augment.rand_augment, magnitude=31), r"^rand_augment: expected magnitude in 0\.\.30, got 31\."),
        (partial(augment.rand_augment, magnitude=0.5), r"^rand_augment: expected magnitude in 0\.\.30, got 0\.5\."),
        (partial(augment.rand_augment, bins=1), r"^rand_augment: expected bins as an int >= 2, got 1\."),
        (partial(augment.rand_augment, fill=2), r"^rand_augment: expected fill in \[0, 1\], got 2\."),
        (partial(augment.rand_augment, mask_fill=0.5), r"^rand_augment: expected mask_fill to be an integer, got 0\.5"),
        (partial(augment.trivial_augment, bins=1), r"^trivial_augment: expected bins as an int >= 2, got 1\."),
        (partial(augment.trivial_augment, fill=-1), r"^trivial_augment: expected fill in \[0, 1\], got -1\."),
        (partial(augment.augmix, severity=11), r"^augmix: expected severity in 1\.\.10, got 11\."),
        (partial(augment.augmix, severity=0), r"^augmix: expected severity in 1\.\.10, got 0\."),
        (partial(augment.augmix, severity=True), r"^augmix: expected severity in 1\.\.10, got True\."),
        (partial(augment.augmix, width=0), r"^augmix: expected width as a positive int, got 0\."),
        (partial(augment.augmix, depth=0), r"^augmix: expected depth as a positive int, got 0\."),
        (partial(augment.augmix, alpha=0), r"^augmix: expected alpha above 0, got 0\."),
        (partial(augment.augmix, fill=2), r"^augmix: expected fill in \[0, 1\], got 2\."),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(KEY, IMAGE)


def test_bad_masks_are_told_under_the_policys_name():
    example = {"image": IMAGE, "mask": np.zeros((3, 3), int)}
    for name in ("rand_augment", "trivial_augment"):
        with pytest.raises(ValueError, match=rf"^{name}: expected mask of the image's shape \(16, 21\), got \(3, 3\)"):
            getattr(augment, name)(KEY, example)

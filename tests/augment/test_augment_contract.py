"""What every augmentation promises, over one table of them all."""

import collections
import functools
import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment

TABLE = {
    "shift": partial(augment.shift, max_shift=(1, 3), padding_mode="reflect"),
    "crop": partial(augment.crop, padding=2, fill=0.5),
    "random_resized_crop": partial(augment.random_resized_crop, area=(0.3, 1.0)),
    "flip": augment.flip,
    "vertical_flip": augment.vertical_flip,
    "rotate": partial(augment.rotate, degrees=40),
    "scale": partial(augment.scale, factor=(0.6, 1.5), padding_mode="reflect"),
    "shear": partial(augment.shear, degrees=(0, 20, -20, 0), fill=0.5),
    "affine": partial(augment.affine, degrees=(-10, 30), factor=(0.8, 1.2), max_shift=1.5, padding_mode="edge"),
    "perspective": partial(augment.perspective, padding_mode="edge"),
    "elastic": partial(augment.elastic, alpha=20, sigma=2, padding_mode="reflect"),
    "brightness": partial(augment.brightness, delta=0.7),
    "contrast": partial(augment.contrast, factor=(0.2, 3.0)),
    "gamma": partial(augment.gamma, exponent=(0.3, 3.0)),
    "solarize": partial(augment.solarize, threshold=(0.1, 0.9)),
    "saturation": partial(augment.saturation, factor=(0.0, 3.0)),
    "hue": partial(augment.hue, delta=0.5),
    "grayscale": partial(augment.grayscale, p=0.5),
    "channel_shuffle": augment.channel_shuffle,
    "colour_cast": partial(augment.colour_cast, delta=0.5),
    "pca_lighting": partial(augment.pca_lighting, std=1.0),
    "blur": augment.blur,
    "sharpen": partial(augment.sharpen, factor=(0.0, 3.0)),
    "noise": partial(augment.noise, std=0.2),
    "posterize": partial(augment.posterize, bits=(1, 4)),
    "jpeg": partial(augment.jpeg, quality=(5, 50)),
    "cutout": partial(augment.cutout, size=4, fill=0.5),
    "random_erasing": partial(augment.random_erasing, p=0.9, area=(0.1, 0.5), fill="random"),
    "grid_mask": partial(augment.grid_mask, period=(3, 6), fill=0.5),
    "rand_augment": augment.rand_augment,
    "trivial_augment": partial(augment.trivial_augment, fill=0.5),
    "augmix": augment.augmix,
    "composed": augment.compose(
        augment.flip, partial(augment.rotate, degrees=20), partial(augment.brightness, delta=0.3)
    ),
}
IDENTITIES = {
    "shift": partial(augment.shift, max_shift=0),
    "crop": augment.crop,
    "random_resized_crop": partial(augment.random_resized_crop, area=(1, 1), aspect=(11 / 8, 11 / 8)),
    "flip": partial(augment.flip, p=0),
    "vertical_flip": partial(augment.vertical_flip, p=0),
    "rotate": partial(augment.rotate, degrees=0),
    "scale": partial(augment.scale, factor=(1, 1)),
    "scale reflect": partial(augment.scale, factor=(1, 1), padding_mode="reflect"),
    "scale edge": partial(augment.scale, factor=(1, 1), padding_mode="edge"),
    "shear": partial(augment.shear, degrees=0),
    "affine": partial(augment.affine, fill=1.0),
    "perspective": partial(augment.perspective, distortion_scale=0),
    "elastic": partial(augment.elastic, alpha=0, fill=0.3),
    "brightness": partial(augment.brightness, delta=0),
    "contrast": partial(augment.contrast, factor=(1, 1)),
    "solarize": partial(augment.solarize, threshold=(1.1, 1.1)),
    "saturation": partial(augment.saturation, factor=(1, 1)),
    "grayscale": partial(augment.grayscale, p=0),
    "colour_cast": partial(augment.colour_cast, p=0),
    "pca_lighting": partial(augment.pca_lighting, std=0),
    "blur": partial(augment.blur, size=1),
    "sharpen": partial(augment.sharpen, factor=(1, 1)),
    "noise": partial(augment.noise, std=0),
    "random_erasing": partial(augment.random_erasing, p=0),
    "composed": augment.compose(),
}

# Of one image, with a key: not those that make a function of functions, take a batch or an example's entries, or draw
# nothing.
PUBLIC = [
    fn
    for fn in (getattr(augment, name) for name in augment.__all__)
    if inspect.signature(fn).parameters.keys() & {"key", "batch", "example"} == {"key"}
]
pytestmark = pytest.mark.usefixtures("quick_compilation")
every = pytest.mark.parametrize("name", TABLE)
dtypes = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
traces = collections.Counter()


@functools.cache
def jitted(name: str):
    """Return the batched function, compiled once for all tests that give it the same shapes."""

    def counted(key, batch):
        traces[name] += 1
        return augment.batched(TABLE[name])(key, batch)

    return jax.jit(counted)


def images(dtype=jnp.float32) -> jax.Array:
    return jax.random.uniform(jax.random.key(7), (16, 8, 11, 3)).astype(dtype) ** 3


def close(a, b):
    np.testing.assert_allclose(a, b, atol=2e-6, rtol=0)


@pytest.mark.parametrize("fn", PUBLIC, ids=lambda fn: fn.__name__)
def test_signature(fn):
    parameters = list(inspect.signature(fn).parameters.values())
    assert [p.name for p in parameters[:2]] == ["key", "image"]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[2:])
    with pytest.raises(TypeError, match="positional"):
        fn(jax.random.key(0), images()[0], 1)


def test_table_names_every_augmentation():
    assert TABLE.keys() == {fn.__name__ for fn in PUBLIC} | {"composed"}


@pytest.mark.slow
@every
def test_jit_and_vmap_equal_eager(name):
    key, batch = jax.random.key(2), images()
    out = jitted(name)(key, batch)
    keys = jax.random.split(key, len(batch))
    for n in range(2):
        close(out[n], TABLE[name](keys[n], batch[n]))


@every
@dtypes
def test_keeps_shape_and_dtype(name, dtype):
    spec = jax.ShapeDtypeStruct((5, 7, 3), dtype)
    out = jax.eval_shape(TABLE[name], jax.random.key(0), spec)
    assert (out.shape, out.dtype) == (spec.shape, spec.dtype)


@every
def test_the_key_decides(name):
    same = jnp.stack([images()[0]] * 16)
    draws = jitted(name)(jax.random.key(3), same)
    assert (draws == jitted(name)(jax.random.key(3), same)).all()
    assert (draws != draws[:1]).any()
    assert (draws != jitted(name)(jax.random.key(4), same)).any()


@every
def test_stays_in_range(name):
    out = jitted(name)(jax.random.key(5), jnp.round(images()))
    assert out.min() >= 0
    assert out.max() <= 1


@every
def test_one_trace_over_ten_calls(name):
    for step in range(10):
        jitted(name)(jax.random.key(step), images())
    assert traces[name] == 1


@every
def test_consumes_each_key_once_and_lowers_for_every_platform(name):
    with jax.debug_key_reuse(True):
        lifted = jax.jit(augment.batched(TABLE[name]))
        key = jax.eval_shape(lambda: jax.random.key(0))
        exported = jax.export.export(lifted, platforms=["cpu", "cuda", "tpu"])(key, images())
    assert exported.out_avals[0].shape == images().shape


@every
def test_gradient_is_finite(name):
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(TABLE[name](jax.random.key(6), x) ** 2)))(images()[0])
    assert jnp.isfinite(gradient).all()
    assert (gradient != 0).any() == (name not in ("posterize", "jpeg"))  # these round


@every
def test_example_keeps_its_other_entries(name):
    key = jax.random.key(8)
    example = {"image": images()[0], "label": jnp.int32(3), "name": "untouched"}
    out = TABLE[name](key, example)
    assert out.keys() == example.keys()
    assert out["label"] is example["label"]
    assert out["name"] is example["name"]
    assert (out["image"] == TABLE[name](key, images()[0])).all()
    assert (example["image"] == images()[0]).all()


@pytest.mark.parametrize("fn", IDENTITIES.values(), ids=IDENTITIES)
@dtypes
def test_no_strength_is_the_identity_bitwise(fn, dtype):
    batch = images(dtype)[:3]
    assert (jax.jit(augment.batched(fn))(jax.random.key(9), batch) == batch).all()


@pytest.mark.parametrize("name", [name for name in TABLE if name != "composed"])
def test_rejects_what_is_no_image(name):
    key, fn = jax.random.key(0), TABLE[name]
    with pytest.raises(
        TypeError, match=rf"^{name}: expected image of a floating dtype, got uint8\. .*jaxcnn\.data\.to_float.*\.$"
    ):
        fn(key, np.zeros((8, 11, 3), np.uint8))
    with pytest.raises(
        ValueError, match=rf"^{name}: expected one image \(H, W, C\), got shape \(2, 8, 11, 3\)\. .*batched.*\.$"
    ):
        fn(key, images()[:2])
    with pytest.raises(ValueError, match=rf'^{name}: expected an example with an "image" entry, got \[\'x\'\]\. .*\.$'):
        fn(key, {"x": images()[0]})

"""What all attributions of plain functions have in common."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import explain
from jaxcnn import functional as F
from jaxcnn.explain import attribution
from jaxcnn.layers import Dense, GlobalAvgPool, Sequential
from jaxcnn.variants import MANY_PIXELS, PIXELS, chunk_of, over_variants, total_over_variants

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(5)


PLACES = jax.random.normal(jax.random.key(0), (12, 12, 3, 6)) / 5
CLASSES = jax.random.normal(jax.random.key(1), (6, 5))


def small(x):
    """Return logits of images, quickly compiled."""
    return jnp.tanh(jnp.einsum("...hwc,hwcf->...f", x, PLACES)) @ CLASSES


def noisy(method, **options):
    return lambda logits_fn, x, target, key=KEY, **more: method(key, logits_fn, x, target, **options, **more)


def of_background(logits_fn, x, target, key=KEY, **more):
    shape = (3, *x.shape[-3:]) if x.ndim > 2 else (3, x.shape[-1])
    background = jax.random.uniform(jax.random.key(8), shape).astype(jnp.promote_types(x.dtype, jnp.bfloat16))
    return attribution.expected_gradients(key, logits_fn, x, target, background=background, samples=5, **more)


PLAIN = {
    "gradient": attribution.gradient,
    "gradient_x_input": attribution.gradient_x_input,
    "integrated_gradients": functools.partial(attribution.integrated_gradients, steps=5, baseline=[0.0, 0.5]),
    "occlusion": functools.partial(attribution.occlusion, window=4, stride=3),
}
RANDOM = {
    "expected_gradients": of_background,
    "rise": noisy(attribution.rise, masks=7, cells=3),
    "shapley_sampling": noisy(attribution.shapley_sampling, patch=6, permutations=3),
    "smoothgrad": noisy(attribution.smoothgrad, samples=5),
    "smoothgrad_squared": noisy(attribution.smoothgrad_squared, samples=5),
    "vargrad": noisy(attribution.vargrad, samples=5),
}
METHODS = PLAIN | RANDOM
CHUNKED = METHODS.keys() - {"gradient", "gradient_x_input"}
each = pytest.mark.parametrize("name", METHODS)


def test_the_table_has_all_of_them():
    """The other public names take the net, or no target, or a map that there is already."""
    taken = {name: set(inspect.signature(getattr(attribution, name)).parameters) for name in attribution.__all__}
    of_functions = {name for name, parameters in taken.items() if {"logits_fn", "target"} <= parameters}
    assert set(METHODS) == of_functions - {"completeness_error"}


@each
def test_maps_of_any_leading_axes(name, images, targets):
    method = METHODS[name]
    found = method(small, images, targets)
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    assert np.abs(found).max() > 0
    close(method(small, images[0], targets[0]), found[0], rtol=1e-4, atol=1e-6)
    more = method(small, images.reshape(2, 2, *images.shape[1:]), targets.reshape(2, 2))
    close(more.reshape(images.shape), found, rtol=1e-4, atol=1e-6)


@each
def test_inside_of_jit_vmap_and_grad(name, images, targets):
    explained = functools.partial(METHODS[name], small)

    @jax.jit
    @jax.vmap
    def maps_and_slopes(x, target):
        maps, pullback = jax.vjp(lambda x: explained(x, target), x)
        return maps, pullback(x)[0]

    maps, slopes = maps_and_slopes(images[:2], targets[:2])
    for one, x, target in zip(maps, images, targets, strict=False):
        close(one, explained(x, target), rtol=1e-4, atol=1e-6)
    assert np.isfinite(slopes).all()
    assert np.abs(slopes).max() > 0


@pytest.mark.parametrize("name", sorted(CHUNKED))
def test_chunks_change_memory_alone(name, images, targets):
    method = METHODS[name]
    found = method(small, images, targets)
    close(method(small, images, targets, chunk=3), found, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=rf"^{name}: expected chunk as a positive int, got 0\."):
        method(small, images, targets, chunk=0)


@pytest.mark.parametrize("name", RANDOM)
def test_keys_decide(name, images, targets):
    method = functools.partial(RANDOM[name], small, images, targets)
    assert (method() == method()).all()
    assert np.abs(method(key=jax.random.key(6)) - method()).max() > 0
    with pytest.raises(TypeError, match=rf"^{name}: expected one PRNG key, got 3\."):
        method(key=3)


@each
def test_one_trace_for_other_weights_images_and_targets(name, images, targets):
    calls = []

    def run(weights, x):
        calls.append(None)
        return jnp.tanh(x.mean((-3, -2)) @ weights)

    for number in (1, 2, 3):
        logits_fn = jax.tree_util.Partial(run, number * jnp.ones((3, 5)))
        METHODS[name](logits_fn, images / number, targets // number)
        if number == 1:
            first = len(calls)
    lost = jax.tree_util.Partial(run, jnp.nan * jnp.ones((3, 5)))
    with pytest.raises(ValueError, match=rf"^{name}: expected finite values in the map, got \d+ that are not\. "):
        METHODS[name](lost, images, targets)
    assert len(calls) == first


@each
def test_at_layers_with_maps_and_without(name, images, targets):
    net = Sequential(mix=Dense(4), mean=GlobalAvgPool(), hidden=Dense(4), act=F.tanh, head=Dense(5))
    params, state = net.init(KEY, images)
    inside, logits_fn = explain.at_layer(net, params, state, images, "mean")
    if name in ("occlusion", "rise", "shapley_sampling"):
        with pytest.raises(ValueError, match=rf"^{name}: expected x of shape \(\.\.\., H, W, C\), got \(4, 4\)\."):
            METHODS[name](logits_fn, inside, targets)
        inside, logits_fn = explain.at_layer(net, params, state, images, "mix")
    found = METHODS[name](logits_fn, inside, targets)
    assert found.shape == inside.shape
    assert np.abs(found).max() > 0


@each
def test_functions_of_the_outputs(name, images):
    difference = METHODS[name](small, images, lambda y: y[..., 1] - y[..., 2])
    assert np.abs(difference).max() > 0
    if name in ("gradient", "integrated_gradients", "occlusion", "smoothgrad"):  # linear in the score
        one, two = (METHODS[name](small, images, jnp.full(4, target)) for target in (1, 2))
        close(difference, one - two, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("name", ["integrated_gradients", "occlusion", "rise", "vargrad"])
def test_half_precision(name, dtype, images):
    weights = jnp.ones((3, 2), dtype)
    found = METHODS[name](lambda x: jnp.tanh(x.mean((-3, -2)) @ weights), images.astype(jnp.bfloat16), 1)
    assert found.dtype == jnp.bfloat16
    assert np.isfinite(found.astype(np.float32)).all()


@each
def test_refuses(name, images):
    with pytest.raises(ValueError, match=rf"^{name}: expected target in 0\.\.4, got 5\."):
        METHODS[name](small, images, 5)
    with pytest.raises(TypeError, match=rf"^{name}: expected x of a floating dtype, got uint8\."):
        METHODS[name](small, np.zeros((2, 12, 12, 3), np.uint8), 0)


@pytest.mark.parametrize(("count", "chunk"), [(7, 1), (7, 3), (7, 7), (7, 100), (6, 4), (1, 1)])
def test_all_variants_are_there_once(count, chunk):
    variants = {"a": jnp.arange(1.0, count + 1), "b": jnp.arange(count)}
    seen = []

    def fn(variant):
        jax.debug.callback(lambda b: seen.append(int(b)), variant["b"])
        return variant["a"] * jnp.ones(2), variant["b"]

    stacked, number = over_variants(fn, variants, chunk)
    close(stacked, np.arange(1, count + 1)[:, None] * np.ones(2))
    assert number.tolist() == list(range(count))
    jax.effects_barrier()
    assert len(seen) < count + -(-count // chunk)  # hardly any twice
    total, _ = total_over_variants(fn, variants, chunk)
    close(total, count * (count + 1) / 2 * np.ones(2))


def test_the_chunk_is_what_fits():
    assert chunk_of("test", 5, jnp.zeros((2, 4, 4, 3))) == 5
    most = PIXELS if jax.default_backend() == "cpu" else MANY_PIXELS
    assert chunk_of("test", None, jnp.zeros((2, 4, 4, 3))) == most // 32
    assert chunk_of("test", None, jax.ShapeDtypeStruct((4096, 256, 256, 3), jnp.float32)) == 1

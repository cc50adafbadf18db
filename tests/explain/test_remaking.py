"""Inversion, caricature, DeepDream and style: images remade from what a layer knows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import surgery
from jaxcnn.explain import maximization as mx
from jaxcnn.layers import Conv, Dense, Flatten, GlobalAvgPool, Sequential
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(0)
PLAIN = mx.Pixels(bounds="clip", deviation=0.0)  # which begins at 0.5


@pytest.fixture(scope="module")
def pictures():
    return jax.random.uniform(jax.random.key(3), (2, 12, 12, 3), minval=0.1, maxval=0.9)


def of(case):
    return case.net, case.params, case.state


@pytest.mark.slow
def test_the_first_layer_still_knows_the_image_and_the_last_does_not(pictures):
    case = CASES["plain"]
    first = mx.invert(KEY, *of(case), pictures, at="conv1", parameterization=mx.Pixels(), steps=500)
    last = mx.invert(KEY, *of(case), pictures, at="fc2", parameterization=mx.Pixels(), steps=500)
    assert first.image_error.max() < 0.05
    assert last.image_error.min() > 0.2
    assert first.code_error.max() < 0.05 and last.code_error.max() < 0.05
    assert first.history.shape == (500, 2)


def test_a_step_of_inversion_is_towards_the_code():
    """Of a layer that sees the first of two channels."""
    net, params = Sequential(conv=Conv(1, 1, use_bias=False)), {"conv": {"kernel": jnp.array([[[[1.0], [0.0]]]])}}
    x = jax.random.uniform(KEY, (2, 3, 4, 2), minval=0.2, maxval=0.8)
    options = {"at": "conv", "parameterization": PLAIN, "steps": 1, "optimizer": optax.sgd(0.5)}
    found = mx.invert(KEY, net, params, {}, x, prior=-0.1 * mx.SquaredNorm(), **options)
    seen = x[..., 0]
    power = (seen**2).sum((1, 2), keepdims=True)
    slopes = jnp.stack([2 * (seen - 0.5) / power, jnp.zeros_like(seen)], -1) - 0.1 * 2 * 0.5
    close(found.images, 0.5 + 0.5 * slopes, rtol=1e-5)
    apart = lambda a, b: jnp.sqrt(((a - b) ** 2).sum((1, 2)) / (b**2).sum((1, 2)))  # noqa: E731
    close(found.history[0], -(apart(0.5, seen) ** 2) - 0.1 * 24 * 0.25, rtol=1e-5)
    close(found.code_error, apart(found.images[..., 0], seen), rtol=1e-4)
    close(found.image_error, apart(*(images.reshape(2, 6, 4) for images in (found.images, x))), rtol=1e-4)


@pytest.mark.slow
def test_what_the_layer_cannot_see_is_left_to_the_prior(pictures):
    net = Sequential(conv=Conv(1, 1, use_bias=False), pool=GlobalAvgPool(), head=Dense(2))
    params, state = net.init(KEY, pictures)
    options = {"at": "conv", "steps": 300, "parameterization": mx.Pixels(deviation=1.0)}
    free = mx.invert(KEY, net, params, state, pictures, **options)
    smooth = mx.invert(KEY, net, params, state, pictures, prior=-0.01 * mx.TotalVariation(power=2), **options)
    roughness = mx.TotalVariation(power=2)
    rough = [roughness.scores(mx.objective.Seen(found.images, None, {})).mean() for found in (free, smooth)]
    assert rough[1] < 0.9 * rough[0]


def test_a_step_of_a_caricature_is_up_its_slope():
    net, params = Sequential(conv=Conv(2, 1, use_bias=False)), {"conv": {"kernel": jnp.eye(2)[None, None]}}
    x = jax.random.uniform(KEY, (2, 3, 4, 2), minval=0.2, maxval=0.8)

    def score(image, x):
        cosine = (image * x).sum(-1) / jnp.linalg.norm(image, axis=-1) / jnp.linalg.norm(x, axis=-1)
        return ((image * x).sum(-1) * cosine**2).mean() - 0.1 * (image**2).sum()

    grey = jnp.full(x.shape, 0.5)
    options = {"at": "conv", "power": 2.0, "transforms": (), "steps": 1, "optimizer": optax.sgd(0.5)}
    found = mx.caricature(KEY, net, params, {}, x, prior=-0.1 * mx.SquaredNorm(), parameterization=PLAIN, **options)
    close(found.images, grey + 0.5 * jax.vmap(jax.grad(score))(grey, x), rtol=1e-5)
    close(found.scores, jax.vmap(score)(found.images, x), rtol=1e-4)


@pytest.mark.slow
def test_a_caricature_points_along_the_activation_and_is_longer(pictures):
    case = CASES["plain"]
    found = mx.caricature(KEY, *of(case), pictures, at="conv2", steps=100, transforms=())
    wanted, got = (
        np.asarray(surgery.activations(*of(case), x, ["conv2"])[1]["conv2"]) for x in (pictures, found.images)
    )
    assert ((got * wanted).sum((1, 2, 3)) > 1.1 * (wanted**2).sum((1, 2, 3))).all()
    with pytest.raises(ValueError, match=r"^caricature: expected the path of a layer, got 'conv'\. Did you mean"):
        mx.caricature(KEY, *of(case), pictures, at="conv")
    with pytest.raises(ValueError, match=r"^caricature: expected power of at least 0, got -1"):
        mx.caricature(KEY, *of(case), pictures, at="conv2", power=-1.0)


def test_a_dream_has_more_of_what_the_layer_sees_and_is_still_the_image(pictures):
    case, objective = CASES["plain"], mx.WholeLayer("conv2")
    dreamt = mx.deep_dream(KEY, *of(case), pictures, objective, octaves=2, steps=10)
    assert dreamt.shape == pictures.shape
    assert dreamt.min() >= 0 and dreamt.max() <= 1
    before, after = ((surgery.activations(*of(case), x, ["conv2"])[1]["conv2"] ** 2).mean() for x in (pictures, dreamt))
    assert after > 1.2 * before
    assert np.corrcoef(dreamt.ravel(), pictures.ravel())[0, 1] > 0.5
    assert jnp.abs(dreamt - pictures).mean() < 2 * 10 * 0.01 + 1e-6


def test_what_an_octave_adds_is_carried_on_to_the_next():
    """Where every pixel has the same slope, each step is one of `step_size`."""
    net, params = Sequential(conv=Conv(1, 1, use_bias=False)), {"conv": {"kernel": jnp.ones((1, 1, 1, 1))}}
    x = jax.random.uniform(KEY, (6, 6, 1), minval=0.1, maxval=0.5)
    options = {"octaves": 2, "steps": 3, "step_size": 0.05}
    close(mx.deep_dream(KEY, net, params, {}, x, mx.Channel("conv", 0), **options), x + 2 * 3 * 0.05, rtol=1e-5)


@pytest.mark.slow
def test_one_step_of_a_dream_is_along_the_slope(pictures):
    case = CASES["plain"]
    score = lambda x: case.logits_fn(x)[..., 3].sum()  # noqa: E731
    slope = jax.grad(score)(pictures)
    wanted = pictures + 0.02 * slope / jnp.abs(slope).mean((1, 2, 3), keepdims=True)
    options = {"octaves": 1, "steps": 1, "step_size": 0.02}
    found = mx.deep_dream(KEY, *of(case), pictures, mx.ClassScore(3), jitter=0.0, **options)
    close(found, jnp.clip(wanted, 0, 1), atol=1e-4)
    lost = jax.tree.map(lambda p: p * jnp.nan, case.params)
    with pytest.raises(ValueError, match=r"^deep_dream: expected finite values in the images, got 864 that are not"):
        mx.deep_dream(KEY, case.net, lost, case.state, pictures, mx.ClassScore(3), jitter=0.0, **options)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32])
def test_where_nothing_slopes_a_dream_is_the_image(dtype):
    net = Sequential(flat=jnp.zeros_like, conv=Conv(2, 1), flatten=Flatten())
    x = jax.random.uniform(KEY, (6, 6, 1), jnp.float32).astype(dtype)
    params, state = net.init(KEY, x[None])
    close(mx.deep_dream(KEY, net, params, state, x, mx.WholeLayer("conv"), octaves=1, steps=2), x)


def test_jitter_is_undone():
    """Around a net that sees each pixel alone, it changes nothing; around another, what lies beyond the edges."""
    x = jax.random.uniform(KEY, (6, 6, 1), minval=0.2, maxval=0.8)

    def run(size, jitter):
        net = Sequential(conv=Conv(2, size))
        params, state = net.init(KEY, x[None])
        return mx.deep_dream(KEY, net, params, state, x, mx.WholeLayer("conv"), octaves=1, jitter=jitter)

    close(run(1, 0.0), run(1, 0.5), atol=1e-4)
    assert jnp.abs(run(3, 0.0) - run(3, 0.5)).max() > 1e-2


def test_what_style_transfer_maximises():
    net = Sequential(one=Conv(2, 1, use_bias=False), two=Conv(2, 1, use_bias=False))
    kernels = {"one": np.array([[1.0, 0.5], [0.0, 1.0]]), "two": np.array([[1.0, 0.0], [2.0, 1.0]])}
    params = {name: {"kernel": jnp.asarray(kernel, jnp.float32)[None, None]} for name, kernel in kernels.items()}
    content, style = (jax.random.uniform(jax.random.key(n), (4, 2 + n, 2), minval=0.1, maxval=0.9) for n in (1, 2))
    options = {"content_at": "two", "style_at": ["one", "two"], "style_weight": 3.0, "steps": 1}
    found = mx.style_transfer(KEY, net, params, {}, content, style, optimizer=optax.adam(0.5), **options)

    def layers(image):
        one = np.asarray(image).reshape(-1, 2) @ kernels["one"]
        return one, one @ kernels["two"]

    def score(image):
        apart = lambda a, b: ((a - b) ** 2).sum() / (b**2).sum()  # noqa: E731
        gram = lambda a: a.T @ a / len(a)  # noqa: E731
        textures = [apart(gram(a), gram(b)) for a, b in zip(layers(image), layers(style), strict=True)]
        return -apart(layers(image)[1], layers(content)[1]) - 3.0 * np.mean(textures)

    close(found.history[0], score(content), rtol=1e-4)
    close(found.scores, score(found.images), rtol=1e-4)


@pytest.mark.slow
def test_style_moves_grams_and_keeps_the_arrangement(pictures):
    case, options = CASES["plain"], {"content_at": "conv2", "style_at": ["conv1", "conv2"], "steps": 150}
    content = jnp.broadcast_to(jnp.linspace(0.2, 0.8, 12)[:, None, None], (12, 12, 3))
    style = pictures[0]
    found = mx.style_transfer(KEY, *of(case), content, style, style_weight=10.0, **options)
    assert found.images.shape == (12, 12, 3)
    assert found.history[0] < found.history[-1] - 0.1
    alone = mx.style_transfer(KEY, *of(case), content, style, style_weight=0.0, **options)
    close(alone.images, content, atol=0.05)
    wanted = surgery.activations(*of(case), style, ["conv1"])[1]["conv1"].reshape(-1, 8)
    grams = [surgery.activations(*of(case), x, ["conv1"])[1]["conv1"].reshape(-1, 8) for x in (content, found.images)]
    distance = [np.linalg.norm(g.T @ g - wanted.T @ wanted) for g in grams]
    assert distance[1] < 0.6 * distance[0]


@pytest.mark.slow
def test_one_trace_for_other_images(pictures):
    traces = []

    def traced(y):
        traces.append(None)
        return y

    net = Sequential(trace=traced, **CASES["plain"].net.layers)
    params, state = CASES["plain"].params, CASES["plain"].state
    for run in (
        lambda x: mx.invert(KEY, net, params, state, x, at="conv2", steps=2),
        lambda x: mx.deep_dream(KEY, net, params, state, x, mx.WholeLayer("conv2"), octaves=2, steps=2),
        lambda x: mx.caricature(KEY, net, params, state, x, at="conv2", steps=2, transforms=()),
    ):
        run(pictures)
        before = len(traces)
        run(1 - pictures)
        assert len(traces) - before <= 2  # the shapes of each octave are looked at before


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda net, x: mx.invert(KEY, *net, x, at="conv"),
            r"^invert: expected the path of a layer, got 'conv'\. Did",
        ),
        (lambda net, x: mx.invert(KEY, *net, 2 * x, at="conv1"), r"^invert: expected x in \[0, 1\], got values from"),
        (lambda net, x: mx.invert(KEY, *net, x, at="conv1", steps=0), r"^invert: expected steps as a positive int"),
        (
            lambda net, x: mx.deep_dream(KEY, *net, x - 1, mx.WholeLayer("conv1")),
            r"^deep_dream: expected x in \[0, 1\]",
        ),
        (
            lambda net, x: mx.deep_dream(KEY, *net, x, mx.WholeLayer("conv2"), octaves=12),
            r"^deep_dream: expected images that the net takes, got shape \(2, 0, 0, 3\)"
            r"|^deep_dream: expected activations \(2, '...'\), some for each image, at 'conv2'",
        ),
        (lambda net, x: mx.deep_dream(KEY, *net, x, mx.ClassScore(0)), r"^deep_dream: expected images that the net t"),
        (lambda net, x: mx.deep_dream(KEY, *net, x, mx.ClassScore(0), octave_scale=1), r"octave_scale above 1, got 1"),
        (lambda net, x: mx.deep_dream(KEY, *net, x, mx.ClassScore(0), step_size=0), r"step_size above 0, got 0"),
        (lambda net, x: mx.deep_dream(KEY, *net, x, mx.ClassScore(0), jitter=2), r"jitter in \[0, 1\], got 2"),
        (
            lambda net, x: mx.style_transfer(KEY, *net, x, x, content_at="conv1", style_at=[]),
            r"^style_transfer: expected at least one layer in style_at, got none",
        ),
        (
            lambda net, x: mx.style_transfer(KEY, *net, x, x, content_at="conv1", style_at=["conv7"]),
            r"^style_transfer: expected the path of a layer, got 'conv7'",
        ),
    ],
)
def test_refuses(pictures, run, message):
    with pytest.raises(ValueError, match=message):
        run(of(CASES["plain"]), pictures)

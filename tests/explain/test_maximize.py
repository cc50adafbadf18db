"""Maximisation: optima known in closed form, what each objective says of hand-made activations, one program for all."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import functional as F
from jaxcnn import surgery
from jaxcnn.explain import maximization as mx
from jaxcnn.explain.maximization.objective import Seen, settled
from jaxcnn.layers import Conv, Dense, Flatten, GlobalAvgPool, Sequential
from tests.small_nets import CASES, CLASSES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(0)
SHAPE = (3, 12, 12, 3)
PLAIN = mx.Pixels(bounds="clip", deviation=0.0)


def linear(kernel):
    """Return the net whose logits are the products of the images with the columns of a kernel."""
    return Sequential(flatten=Flatten(), head=Dense(kernel.shape[1], use_bias=False)), {"head": {"kernel": kernel}}


def seen(images, outputs=None, **found):
    return Seen(jnp.asarray(images), outputs, {name: jnp.asarray(value) for name, value in found.items()})


# Optima


def test_a_linear_score_less_a_squared_norm_is_largest_where_the_algebra_says():
    kernel = jax.random.normal(KEY, (12, 3))
    net, params = linear(kernel)
    weight = 8.0
    objective = mx.ClassScore(jnp.arange(3)) - weight * mx.SquaredNorm(0.5)
    options = {"shape": (3, 2, 2, 3), "parameterization": PLAIN, "transforms": ()}
    found = mx.maximize(KEY, net, params, {}, objective, steps=300, optimizer=optax.sgd(0.05), **options)
    best = 0.5 + np.asarray(kernel.T) / (2 * weight)
    assert best.min() > 0 and best.max() < 1
    close(found.images.reshape(3, 12), best, atol=1e-4)
    close(found.scores, (best * np.asarray(kernel.T)).sum(1) - weight * ((best - 0.5) ** 2).sum(1), rtol=1e-4)
    assert found.history.shape == (300, 3)
    close(found.history[-1], found.scores, rtol=1e-4)


@pytest.mark.parametrize("parameterization", [mx.Pixels(), mx.Fourier()])
def test_without_a_penalty_pixels_go_to_the_bounds(parameterization):
    kernel = jnp.where(jax.random.uniform(KEY, (16, 2)) > 0.5, 1.0, -1.0)
    net, params = linear(kernel)
    options = {"shape": (2, 4, 4, 1), "parameterization": parameterization, "transforms": ()}
    found = mx.maximize(KEY, net, params, {}, mx.ClassScore(jnp.arange(2)), steps=400, **options)
    assert ((found.images.reshape(2, 16) > 0.5) == (kernel.T > 0)).all()


@pytest.mark.slow
def test_one_step_is_one_step_up_the_slope():
    case = CASES["residual"]
    options = {"shape": SHAPE[1:], "parameterization": mx.Pixels(bounds="clip"), "transforms": ()}
    objective = mx.ClassScore(2)
    start = jax.random.uniform(KEY, SHAPE[1:], minval=0.2, maxval=0.8)
    found = mx.maximize(
        KEY, case.net, case.params, case.state, objective, steps=1, optimizer=optax.sgd(0.01), start=start, **options
    )
    slope = jax.grad(lambda x: case.logits_fn(x)[2])(start)
    close(found.images, start + 0.01 * slope, rtol=1e-4, atol=1e-6)
    close(found.history[0], case.logits_fn(start)[2], rtol=1e-4)
    close(found.scores, case.logits_fn(found.images)[2], rtol=1e-4)


@pytest.mark.slow
def test_every_class_of_a_net_and_of_a_function_is_reached():
    case = CASES["batchnorm"]
    objective = mx.ClassScore(jnp.arange(CLASSES))
    options = {"shape": (CLASSES, *SHAPE[1:]), "steps": 40, "transforms": ()}
    found = mx.maximize(KEY, case.net, case.params, case.state, objective, **options)
    logits = case.logits_fn(found.images)
    assert (found.scores > found.history[0] + 0.1).all()
    close(found.scores, jnp.diagonal(logits), rtol=1e-4)
    again = mx.maximize_function(KEY, case.logits_fn, objective, **options)
    close(again.images, found.images, atol=1e-3)


# Objectives


def test_total_variation_of_a_ramp():
    ramp = jnp.broadcast_to(jnp.arange(4.0)[:, None, None], (2, 4, 5, 3)) / 4
    close(mx.TotalVariation().scores(seen(ramp)), [3 * 5 * 3 / 4] * 2)
    close(mx.TotalVariation(power=2).scores(seen(ramp)), [3 * 5 * 3 / 16] * 2)
    close(mx.TotalVariation().scores(seen(jnp.swapaxes(ramp, 1, 2))), [3 * 5 * 3 / 4] * 2)
    close(mx.SquaredNorm(0.25).scores(seen(jnp.full((2, 2, 1), 0.75))), 1.0)


def test_objectives_read_what_they_say():
    found = jax.random.normal(KEY, (2, 3, 4, 5))
    images = jnp.zeros((2, 8, 8, 1))
    at = seen(images, found.mean((1, 2)), a=found, v=found[:, 0, 0])
    close(mx.ClassScore(jnp.array([1, 4])).scores(at), [found[0, ..., 1].mean(), found[1, ..., 4].mean()], rtol=1e-5)
    difference = (found[..., 0] - found[..., 1]).mean((1, 2))
    close(mx.ClassScore(lambda y: y[..., 0] - y[..., 1]).scores(at), difference, rtol=1e-4)
    log_p = jax.nn.log_softmax(found.mean((1, 2)))
    close(mx.LogProbability(jnp.array([1, 4])).scores(at), [log_p[0, 1], log_p[1, 4]], rtol=1e-5)
    close(mx.Channel("a", 2).scores(at), found[..., 2].mean((1, 2)), rtol=1e-5)
    close(mx.Channel("v", jnp.array([0, 3])).scores(at), [found[0, 0, 0, 0], found[1, 0, 0, 3]])
    close(mx.Unit("a", 2).scores(at), found[:, 1, 2, 2])
    close(mx.Unit("a", 2, (0, jnp.array([1, 3]))).scores(at), [found[0, 0, 1, 2], found[1, 0, 3, 2]])
    close(mx.WholeLayer("a").scores(at), (found**2).mean((1, 2, 3)), rtol=1e-5)
    v = jnp.array([1.0, -2.0, 0.0, 0.5, 0.0])
    close(mx.Direction("a", v).scores(at), (found @ v).mean((1, 2)), rtol=1e-4)
    cosine = (found @ v) / np.linalg.norm(found, axis=-1) / np.linalg.norm(v)
    close(mx.Direction("a", v, 2.0).scores(at), ((found @ v) * np.maximum(cosine, 0.1) ** 2).mean((1, 2)), rtol=1e-4)
    each = jnp.stack([v, 2 * v])
    close(mx.Direction("a", each).scores(at), (found @ v).mean((1, 2)) * np.array([1, 2]), rtol=1e-4)
    close(mx.Likeness("a", found, 0.0).scores(at), (found**2).sum(-1).mean((1, 2)), rtol=1e-4)
    close(mx.Match("a", found).scores(at), 0)
    close(mx.Match("a", 2 * found).scores(at), -0.25, rtol=1e-5)


def test_diversity_is_minus_the_cosine_of_gram_matrices():
    one = jnp.array([[[1.0, 0.0]], [[1.0, 0.0]]])  # two positions along the first channel, (2, 1, 2)
    other = jnp.array([[[0.0, 1.0]], [[0.0, 3.0]]])
    both = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    images = jnp.zeros((3, 4, 4, 1))
    found = mx.Diversity("a").scores(seen(images, a=jnp.stack([one, other, both])))
    half = 1 / np.sqrt(2)
    close(found, [-half / 2, -half / 2, -half], atol=1e-6)
    close(mx.Diversity("a").scores(seen(images, a=jnp.stack([one, one, 2 * one]))), -1, rtol=1e-5)
    groups = jnp.stack([jnp.stack([one, other]), jnp.stack([one, one])])
    close(mx.Diversity("a").scores(seen(jnp.zeros((2, 2, 4, 4, 1)), a=groups)), [[0, 0], [-1, -1]], atol=1e-5)


def test_gram_match():
    found = jax.random.normal(KEY, (2, 3, 4, 5))
    rows = np.asarray(found).reshape(2, 12, 5)
    gram = np.einsum("npi,npj->nij", rows, rows) / 12
    at = seen(jnp.zeros((2, 8, 8, 1)), a=found)
    close(mx.GramMatch("a", jnp.asarray(gram)).scores(at), 0, atol=1e-6)
    close(mx.GramMatch("a", jnp.asarray(2 * gram)).scores(at), -0.25, rtol=1e-4)


def test_sums_and_multiples():
    at = seen(jnp.full((2, 2, 2, 1), 0.5), jnp.array([[1.0, 2.0], [3.0, 5.0]]))
    score, norm = mx.ClassScore(1), mx.SquaredNorm()
    close((score - 0.5 * norm).scores(at), [1.5, 4.5])
    close((2 * score + norm + norm).scores(at), [6, 12])
    close((-score).scores(at), [-2, -5])
    close((score * jnp.array([1.0, 0.0])).scores(at), [2, 0])
    close((np.array([1.0, 3.0]) * score).scores(at), [2, 15])
    assert (mx.Channel("a", 0) + mx.Unit("b", 0) + mx.Diversity("a")).layers == ("a", "b")
    assert (norm + mx.Channel("a", 0)).reads_outputs is False
    assert (norm + 2 * score).reads_outputs is True
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = score + 1


@pytest.mark.slow
def test_diverse_images_are_more_diverse():
    case = CASES["plain"]
    kind, options = mx.Channel("conv2", 3), {"shape": (3, *SHAPE[1:]), "steps": 60, "transforms": ()}
    alone = mx.maximize(KEY, case.net, case.params, case.state, kind, **options)
    apart = mx.maximize(KEY, case.net, case.params, case.state, kind + 5 * mx.Diversity("conv2"), **options)
    _, found = surgery.activations(
        case.net, case.params, case.state, jnp.stack([alone.images, apart.images]), ["conv2"]
    )
    diversity = mx.Diversity("conv2").scores(seen(jnp.stack([alone.images, apart.images]), a=0, conv2=found["conv2"]))
    assert diversity[1].mean() > diversity[0].mean() + 0.05


# One program


def test_one_trace_for_all_classes_units_weights_and_keys():
    traces = []

    def traced(y):
        traces.append(None)
        return y

    case = CASES["plain"]
    net = Sequential(**case.net.layers, trace=traced)
    options = {"shape": SHAPE, "steps": 2, "transforms": ()}

    def run(key, objective, params=case.params):
        before = len(traces)
        mx.maximize(jax.random.key(key), net, params, case.state, objective, **options)
        return len(traces) - before

    # The first call looks at shapes as well, and so do later ones: once each.
    def make(n, w):
        unit = w * mx.Unit("conv2", n, (n, 1)) + mx.Channel("conv2", n) - w * mx.SquaredNorm(w)
        return mx.ClassScore(n) + unit

    assert run(0, make(0, 0.1)) > 1
    assert run(1, make(3, 0.2)) <= 1
    assert run(2, make(np.int64(2), np.float64(0.3)), jax.tree.map(lambda p: 2 * p, case.params)) <= 1


@pytest.mark.slow
def test_the_same_key_gives_the_same_bits_and_another_one_others():
    case = CASES["plain"]
    run = functools.partial(mx.maximize, net=case.net, params=case.params, state=case.state, shape=SHAPE, steps=5)
    one, same, other = (run(jax.random.key(k), objective=mx.ClassScore(jnp.arange(3))) for k in (1, 1, 2))
    np.testing.assert_array_equal(one.images, same.images)
    assert jnp.abs(one.images - other.images).max() > 1e-4


def test_transforms_are_applied_at_each_step_and_not_at_the_end():
    net, params = linear(jax.random.normal(KEY, (48, 2)))
    run = functools.partial(mx.maximize, KEY, net, params, {}, mx.ClassScore(1), shape=(4, 4, 3), steps=4)
    still, robust = run(transforms=()), run(transforms=(mx.Robustness(jitter=0.2),))
    assert jnp.abs(still.images - robust.images).max() > 1e-3
    close(robust.scores, robust.images.ravel() @ params["head"]["kernel"][:, 1], rtol=1e-4)
    black = run(transforms=(lambda key, image: 0 * image,))
    assert not black.history.any()
    close(black.scores, black.images.ravel() @ params["head"]["kernel"][:, 1], rtol=1e-4)


@pytest.mark.slow
def test_inner_objectives_take_images_of_any_size_and_run_no_more_than_they_need():
    case, calls = CASES["plain"], []

    def tail(y):
        calls.append(None)
        return y

    net = Sequential(**case.net.layers, tail=tail)
    found = mx.maximize(KEY, net, case.params, case.state, mx.Channel("conv2", 1), shape=(20, 17, 3), steps=3)
    assert found.images.shape == (20, 17, 3)
    assert not calls


@pytest.mark.slow
def test_inside_jit_vmap_and_grad():
    net = Sequential(flatten=Flatten(), head=Dense(CLASSES))
    params, _ = net.init(KEY, jnp.zeros((1, 2, 2, 3)))
    run = functools.partial(mx.maximize, shape=(2, 2, 3), steps=3, transforms=())

    @jax.jit
    def of(key, params, k):
        return run(key, net, params, {}, mx.ClassScore(k)).scores

    keys, ks = jax.random.split(KEY, 2), jnp.array([1, 2])
    lanes = jax.vmap(of, (0, None, 0))(keys, params, ks)
    close(lanes[1], of(keys[1], params, ks[1]), rtol=1e-4)
    slope = jax.grad(lambda params: of(KEY, params, 1))(params)
    close(slope["head"]["bias"], jax.nn.one_hot(1, CLASSES), atol=1e-4)


# Bad input


def bad(objective=None, **options):
    case = CASES["plain"]
    objective = mx.ClassScore(1) if objective is None else objective
    return mx.maximize(KEY, case.net, case.params, case.state, objective, **{"shape": SHAPE, "steps": 2} | options)


@pytest.mark.parametrize(
    ("objective", "error", "message"),
    [
        (mx.Channel("conv9", 0), ValueError, r"^maximize: expected the path of a layer, got 'conv9'\. Did you mean "),
        (mx.Channel("conv2", 12), ValueError, r"^maximize: expected a channel of 'conv2' in 0\.\.11, got 12\."),
        (mx.Channel("conv2", jnp.array([0, -1, 2])), ValueError, r"a channel of 'conv2' in 0\.\.11, got \[0, -1, 2\]"),
        (mx.Channel("conv2", jnp.arange(2)), ValueError, r"a channel of 'conv2' of a shape that broadcasts to \(3,\)"),
        (mx.Channel("conv2", 1.5), TypeError, r"^maximize: expected a channel of 'conv2' as an int"),
        (mx.Channel("conv2", "red"), TypeError, r"^maximize: expected a channel of 'conv2' as an int"),
        (mx.Unit("conv2", 0, (6, 0)), ValueError, r"^maximize: expected a row of 'conv2' in 0\.\.5, got 6"),
        (mx.Unit("fc1", 0), ValueError, r"^maximize: expected a map \(\.\.\., h, w, c\) at 'fc1', got \(3, 16\)"),
        (mx.ClassScore(5), ValueError, r"^maximize: expected target in 0\.\.4, got 5"),
        (mx.ClassScore(lambda y: y), ValueError, r"^maximize: expected a target that gives scores of shape \(3,\)"),
        (mx.Direction("conv2", jnp.ones(5)), ValueError, r"^maximize: expected a vector of 12 numbers, the channels"),
        (mx.Direction("conv2", jnp.ones(12), -1.0), ValueError, r"^maximize: expected power of at least 0, got -1"),
        (mx.TotalVariation(3), ValueError, r"^maximize: expected a total variation of power 1 or 2, got 3"),
        (jnp.ones(4) * mx.ClassScore(1), ValueError, r"^maximize: expected weight of a shape that broadcasts to \(3,"),
        (mx.Match("conv2", jnp.ones((2, 6, 6, 12))), ValueError, r"^maximize: expected a code of 'conv2' of a shape"),
        (mx.Likeness("conv2", jnp.ones((5, 12))), ValueError, r"^maximize: expected an activation of 'conv2' of a"),
        (mx.GramMatch("conv2", jnp.ones((5, 5))), ValueError, r"^maximize: expected a Gram matrix of 'conv2' of a"),
        (3, TypeError, r"^maximize: expected an objective, got 3"),
    ],
)  # fmt: skip
def test_refuses_objectives(objective, error, message):
    with pytest.raises(error, match=message):
        bad(objective)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, r"^maximize: expected steps as a positive int, got 0"),
        ({"shape": (12, 3)}, ValueError, r"^maximize: expected a shape \(\.\.\., H, W, C\) of images with a pixel"),
        ({"shape": (3, 0, 12, 3)}, ValueError, r"^maximize: expected a shape \(\.\.\., H, W, C\) of images with a pix"),
        ({"shape": (3, 16, 12, 3)}, ValueError, r"^maximize: expected images that the net takes, got shape \(3, 16"),
        ({"parameterization": 3}, TypeError, r"^maximize: expected a parameterization, got 3"),
        ({"optimizer": 0.1}, TypeError, r"^maximize: expected an optimizer of optax, got 0\.1"),
        ({"transforms": [3]}, TypeError, r"^maximize: expected transforms as a sequence of functions"),
        ({"start": jnp.full(SHAPE, 2.0)}, ValueError, r"^maximize: expected start in \[0, 1\], got values from 2 to 2"),
        ({"start": jnp.zeros((2, 12, 12, 3))}, ValueError, r"^maximize: expected start of a shape that broadcasts to"),
        ({"optimizer": optax.sgd(jnp.nan), "transforms": ()}, ValueError, r"^maximize: expected finite scores, got"),
    ],
)  # fmt: skip
def test_refuses_options(options, error, message):
    with pytest.raises(error, match=message):
        bad(**options)


def test_refuses_what_cannot_be_seen():
    case = CASES["plain"]
    with pytest.raises(ValueError, match=r"^maximize: expected two images or more for them to be diverse"):
        bad(mx.Diversity("conv2"), shape=SHAPE[1:])
    with pytest.raises(
        ValueError, match=r"^maximize_function: expected an objective of outputs and images, got one th"
    ):
        mx.maximize_function(KEY, case.logits_fn, mx.Channel("conv2", 0), shape=SHAPE)
    with pytest.raises(TypeError, match=r"^maximize_function: expected logits_fn as a function of images, got 3"):
        mx.maximize_function(KEY, 3, mx.ClassScore(0), shape=SHAPE)
    with pytest.raises(TypeError, match=r"^maximize: expected a layer, got 3"):
        mx.maximize(KEY, 3, {}, {}, mx.ClassScore(0), shape=SHAPE)
    with pytest.raises(TypeError, match=r"^maximize: expected one PRNG key, got 0"):
        mx.maximize(0, case.net, case.params, case.state, mx.ClassScore(0), shape=SHAPE)
    with pytest.raises(TypeError, match=r"^looking: expected an objective, got 'x'"):
        settled("looking", "x")


@pytest.mark.slow
def test_a_layer_that_is_a_function_and_one_inside_a_block():
    case = CASES["residual"]
    for at in ("act1", "block1/branch/act"):
        options = {"shape": SHAPE, "steps": 10, "transforms": ()}
        found = mx.maximize(KEY, case.net, case.params, case.state, mx.Channel(at, 2), **options)
        _, inside = surgery.activations(case.net, case.params, case.state, found.images, [at])
        close(found.scores, inside[at].reshape(3, -1, 8)[..., 2].mean(1), rtol=1e-4)


def test_nets_of_one_channel_and_one_pixel():
    net = Sequential(conv=Conv(4, 1), act=F.tanh, pool=GlobalAvgPool())
    params, state = net.init(KEY, jax.ShapeDtypeStruct((1, 1, 1, 1), jnp.float32))
    found = mx.maximize(KEY, net, params, state, mx.ClassScore(jnp.arange(4)), shape=(4, 1, 1, 1), transforms=())
    sign = np.sign(params["conv"]["kernel"][0, 0, 0])
    assert ((found.images.ravel() > 0.5) == (sign > 0)).all()

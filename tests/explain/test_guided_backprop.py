"""Guided backpropagation and deconvolutional nets: by hand, on every rectifier there is, beside captum."""

import functools
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import surgery, training
from jaxcnn.explain.attribution.gradient import gradient
from jaxcnn.explain.attribution.guided_backprop import _run, deconvnet, guided_backprop, with_rectifier
from jaxcnn.explain.inner import at_layer
from jaxcnn.explain.score import prepared, score_gradient
from jaxcnn.layers import Auxiliary, Conv, Dense, Flatten, Gate, GlobalAvgPool, Layer, MaxPool, Residual, Sequential
from tests.explain.peers import captum
from tests.small_nets import CASES
from tests.torch_twins import array, tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
METHODS = {guided_backprop: F.guided_relu, deconvnet: F.deconv_relu}


@pytest.mark.parametrize(
    ("above", "plain", "guided", "deconv"),
    [
        ((1.0, 1.0), (1, 1), (1, 1), (2, 0)),
        ((1.0, -1.0), (1, 1), (1, 1), (1, 1)),
        ((-1.0, 1.0), (-1, -1), (0, 0), (1, -1)),
    ],
)
def test_by_hand(above, plain, guided, deconv):
    # z = (3, -1), so the second unit is off.
    net = Sequential(flatten=Flatten(), below=Dense(2, use_bias=False), act=F.relu, above=Dense(1, use_bias=False))
    params = {"below": {"kernel": jnp.array([[1.0, 1], [1, -1]])}, "above": {"kernel": jnp.array(above)[:, None]}}
    x = jnp.array([[[1.0, 2.0]]])
    close(jax.grad(lambda x: net.apply(params, {}, x, train=False)[0][0])(x)[0, 0], plain)
    close(guided_backprop(net, params, {}, x, 0)[0, 0], guided)
    close(deconvnet(net, params, {}, x, 0)[0, 0], deconv)


def test_the_switches_of_max_pooling_by_hand():
    # The maxima are where 3 and 5 are; the signal of both is 1, whatever the rectifier before saw.
    net = Sequential(act=F.relu, pool=MaxPool(2), flatten=Flatten(), sum=Dense(1, use_bias=False))
    params = {"sum": {"kernel": jnp.ones((2, 1))}}
    x = jnp.array([[1.0, 2, 5, 4], [3, 0, 1, 1]])[..., None]
    expected = jnp.array([[0.0, 0, 1, 0], [1, 0, 0, 0]])[..., None]
    close(deconvnet(net, params, {}, x, 0), expected)
    close(guided_backprop(net, params, {}, x, 0), expected)


RECTIFIERS = {
    "functional.relu": F.relu,
    "jax.nn.relu": jax.nn.relu,
    "flax": nn.relu,
    "maximum(z, 0)": lambda z: jnp.maximum(z, 0),
    "maximum(0, z)": lambda z: jnp.maximum(0.0, z),
    "maximum of zeros": lambda z: jnp.maximum(z, jnp.zeros_like(z)),
    "maximum of an array": lambda z: jnp.maximum(z, jnp.zeros(())),
    "lax.max": lambda z: jax.lax.max(z, 0.0),
    "relu6": F.relu6,
    "jax.nn.relu6": jax.nn.relu6,
    "clip": lambda z: jnp.clip(z, 0, 1e9),
    "clip without a top": lambda z: jnp.clip(z, 0),
    "clamp": lambda z: jax.lax.clamp(0.0, z, 1e9),
    "jit": jax.jit(lambda z: jax.nn.relu(z)),
    "checkpoint": jax.checkpoint(lambda z: jax.nn.relu(z)),
    "map": lambda z: jax.lax.map(jax.nn.relu, z),
    "scan": lambda z: jax.lax.scan(lambda c, row: (c + 1, jnp.maximum(row, 0)), 0, z)[1],
    "cond": lambda z: jax.lax.cond(jnp.sum(z) > -1e9, jax.nn.relu, jnp.negative, z),
    "vmap": jax.vmap(jax.vmap(F.relu)),
    "one's own custom_jvp": None,
    "inside of a function": lambda z: (2 * jax.nn.relu(z) + 0.0) / 2,
    "printed": lambda z: (jax.debug.callback(lambda mean: None, z.mean()), jax.nn.relu(z))[1],
}


@jax.custom_jvp
def _own(z):
    return jnp.maximum(z, 0)


_own.defjvp(lambda primals, tangents: (_own(*primals), tangents[0] * (primals[0] > 0)))
RECTIFIERS["one's own custom_jvp"] = _own


Z = jax.random.normal(jax.random.key(0), (3, 4, 5))
ABOVE = jax.random.normal(jax.random.key(1), Z.shape)


@pytest.mark.parametrize("name", RECTIFIERS)
def test_every_way_to_write_a_rectifier_is_seen(name):
    def below(rectifier):
        return jax.vjp(with_rectifier(RECTIFIERS[name], rectifier), Z)[1](ABOVE)[0]

    close(with_rectifier(RECTIFIERS[name], F.guided_relu)(Z), jnp.maximum(Z, 0))
    close(below(F.guided_relu), jnp.where(Z > 0, jnp.maximum(ABOVE, 0), 0))
    close(below(F.deconv_relu), jnp.maximum(ABOVE, 0))


NORMS = {
    "flax, layers": nn.LayerNorm(),
    "flax, groups": nn.GroupNorm(2, group_size=None),
    "divided": lambda z: (
        z / jnp.sqrt(jnp.maximum(jnp.mean(z**2, -1, keepdims=True) - z.mean(-1, keepdims=True) ** 2, 0) + 1e-3)
    ),
    "in a jit": jax.jit(lambda z: z * jax.lax.rsqrt(jnp.maximum(z.var(-1, keepdims=True), 0.0) + 1e-3)),
    "clipped": lambda z: z * jax.lax.rsqrt(jnp.clip(z.var(-1, keepdims=True), 0) + 1e-3),
    "a root that gets its axis back": lambda z: z / jnp.sqrt(jnp.maximum(z.var(-1), 0) + 1e-3)[..., None],
    "a number beside the root": lambda z: z / (jnp.sqrt(jnp.maximum(z.var(-1, keepdims=True), 0)) + 1e-3),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_variance_that_is_kept_from_falling_below_0_is_no_unit(name):
    norm = NORMS[name]
    if isinstance(norm, nn.Module):
        norm = functools.partial(norm.apply, norm.init(jax.random.key(0), Z[..., :4]))
    weights = jax.random.normal(jax.random.key(2), (4, 4))
    net = lambda rectifier: lambda z: norm(rectifier(norm(z[..., :4] @ weights)) @ weights)  # noqa: E731
    below = lambda fn: jax.vjp(fn, Z)[1](ABOVE[..., :4])[0]  # noqa: E731
    close(below(with_rectifier(net(jax.nn.relu), F.guided_relu)), below(net(F.guided_relu)), rtol=1e-4, atol=1e-6)


def test_a_root_of_a_rectifier_is_one():
    fn = lambda z: jnp.sqrt(jax.nn.relu(z) + 1e-3)  # noqa: E731
    guided = lambda z: jnp.sqrt(F.guided_relu(z) + 1e-3)  # noqa: E731
    close(jax.vjp(with_rectifier(fn, F.guided_relu), Z)[1](ABOVE)[0], jax.vjp(guided, Z)[1](ABOVE)[0], rtol=1e-5)


@dataclass(frozen=True)
class _Own(Layer):
    """A layer of a user, which computes its rectifier itself."""

    def init(self, key, spec):
        return Conv(4).init(key, spec)

    def apply(self, params, state, x, *, train, key=None):
        y, _ = Conv(4).apply(params, {}, x, train=train)
        return jnp.maximum(y, 0), state


@pytest.fixture(scope="module")
def wrapped(images):
    """Return the guided gradient of a net whose rectifiers can be replaced, its state, and that net in other forms."""
    gate = Gate(Sequential(pool=GlobalAvgPool(), reduce=Dense(3), act=F.relu, expand=Dense(4), gate=F.sigmoid))
    branch = Sequential(conv=Conv(4), act=F.relu, gate=gate)
    plain = Sequential(
        conv=Sequential(conv=Conv(4), act=F.relu),
        block=Residual(branch),
        act=F.relu,
        pool=GlobalAvgPool(),
        head=Dense(5),
    )
    params, state = plain.init(jax.random.key(1), images)
    own = Sequential(**{**plain.layers, "conv": _Own()})
    auxiliary = Auxiliary({"aux": "block"}, **plain.layers, aux=Sequential(pool=GlobalAvgPool(), head=Dense(5)))
    beside, _ = auxiliary.init(jax.random.key(2), images)
    guided = surgery.replace(plain, {F.relu: F.guided_relu})
    expected = gradient(training.predictor(guided, params, state), images, 2)
    return (
        expected,
        state,
        {
            "as it is": (plain, params),
            "frozen": (surgery.freeze(plain, ["block", "conv/act"]), params),
            "rematerialized": (surgery.rematerialize(plain, ["block", "conv"]), params),
            "edited": (surgery.edit(plain, {"block/branch/act": lambda y: y}), params),
            "auxiliary": (auxiliary, beside | params),
            "a user's layer": (own, params | {"conv": params["conv"]["conv"]}),
        },
    )


@pytest.mark.parametrize("name", ["as it is", "frozen", "rematerialized", "edited", "auxiliary", "a user's layer"])
def test_rectifiers_are_seen_inside_of_all_layers(name, images, wrapped):
    expected, state, nets = wrapped
    net, params = nets[name]
    close(guided_backprop(net, params, state, images, 2), expected, rtol=1e-5, atol=1e-7)


def test_at_an_inner_layer(images):
    case = CASES["residual"]
    inside, rest = at_layer(case.net, case.params, case.state, images, "act1")
    _, guided = at_layer(surgery.replace(case.net, {F.relu: F.guided_relu}), case.params, case.state, images, "act1")
    close(gradient(with_rectifier(rest, F.guided_relu), inside, 2), gradient(guided, inside, 2), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_nets_of_other_libraries(images):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, relu=nn.relu):
            x = relu(nn.Conv(4, (3, 3))(x))
            return nn.Dense(3)(relu(nn.Conv(4, (3, 3))(x)).mean((-3, -2)))

    net = Net()
    weights = net.init(jax.random.key(0), images)
    guided = with_rectifier(lambda x: net.apply(weights, x), F.guided_relu)
    close(guided(images), net.apply(weights, images), rtol=1e-6)
    _, found = score_gradient(*prepared("test", guided, images, 1))
    _, expected = score_gradient(*prepared("test", lambda x: net.apply(weights, x, F.guided_relu), images, 1))
    close(found, expected, rtol=1e-5, atol=1e-7)


OTHERS = [
    F.softplus, F.hard_sigmoid, F.hard_silu, F.gelu, F.elu, F.silu, F.hard_tanh, F.leaky_relu, F.sigmoid,
    jax.nn.logsumexp, lambda z: jnp.maximum(z, 0.1), lambda z: F.max_pool(z, 2), lambda z: jnp.max(z, -1),
    lambda z: jnp.clip(z, -1, 1),
    lambda z: F.batch_norm(z, None, None, F.BatchStats(jnp.zeros(3), jnp.ones(3)), train=False)[0],
    lambda z: F.group_norm(z, groups=3), F.local_contrast_norm,
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_rectifier_keeps_its_gradient(other, images):
    def of(fn):
        return jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(3 * fn(x)))))(images - 0.5)

    close(of(with_rectifier(other, F.guided_relu)), of(other), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of the peer's
@pytest.mark.parametrize("method", METHODS)
def test_agrees_with_captum(case, images, targets, method):
    theirs = {guided_backprop: captum().attr.GuidedBackprop, deconvnet: captum().attr.Deconvolution}[method]
    import torch

    expected = array(theirs(twin(case.name)).attribute(tensor(images), torch.tensor(np.asarray(targets)).long()))
    found = method(case.net, case.params, case.state, images, targets)
    close(found, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
def test_one_image_a_batch_and_vmap_are_alike(method, images, targets):
    case = CASES["residual"]

    def run(x, target):
        return method(case.net, case.params, case.state, x, target)

    expected = run(images, targets)
    assert expected.shape == images.shape
    close(run(images[2], int(targets[2])), expected[2], rtol=1e-4, atol=1e-6)
    close(jax.jit(jax.vmap(run))(images, targets), expected, rtol=1e-4, atol=1e-6)


def test_one_program_for_other_weights_images_and_targets(images):
    case = CASES["plain"]
    before = _run._cache_size()
    guided_backprop(case.net, case.params, case.state, images, 0)
    after = _run._cache_size()
    guided_backprop(case.net, jax.tree.map(lambda p: 2 * p, case.params), case.state, images / 2, 4)
    assert _run._cache_size() == after <= before + 1
    with pytest.raises(ValueError, match=r"^guided_backprop: expected finite values in the map, got \d+ that are not"):
        guided_backprop(case.net, jax.tree.map(lambda p: p * jnp.nan, case.params), case.state, images, 0)


def test_refuses_bad_input(images):
    case = CASES["plain"]
    with pytest.raises(ValueError, match=r"^guided_backprop: expected target in 0\.\.4, got 7"):
        guided_backprop(case.net, case.params, case.state, images, 7)
    with pytest.raises(TypeError, match=r"^deconvnet: expected x of a floating dtype"):
        deconvnet(case.net, case.params, case.state, np.zeros((2, 12, 12, 3), np.uint8), 1)
    with pytest.raises(TypeError, match=r"^with_rectifier: expected rectifier as a function, got 3"):
        with_rectifier(case.logits_fn, 3)
    with pytest.raises(TypeError, match=r"^with_rectifier: expected logits_fn as a function, got 'net'"):
        with_rectifier("net", F.guided_relu)

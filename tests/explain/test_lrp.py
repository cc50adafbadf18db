"""Layer-wise relevance propagation: by hand, what it conserves, beside zennit and captum, and what is refused."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import surgery
from jaxcnn.explain.attribution.lrp import _run, lrp
from jaxcnn.explain.inner import at_layer
from jaxcnn.layers import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    Gate,
    GlobalAvgPool,
    LayerNorm,
    MaxPool,
    Normalize,
    Residual,
    Sequential,
)
from tests.explain.peers import captum, zennit
from tests.small_nets import CASES, SPEC
from tests.torch_twins import array, tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
TWO = Sequential(flatten=Flatten(), below=Dense(2), act=F.relu, above=Dense(1, use_bias=False))
X = jnp.array([[[1.0, 2.0]]])


def _two(bias):
    below = {"kernel": jnp.array([[1.0, 1], [1, -1]]), "bias": jnp.array(bias)}
    return {"below": below, "above": {"kernel": jnp.ones((2, 1))}}


@pytest.mark.parametrize(
    ("bias", "epsilon", "expected"),
    [
        ((0.0, 0.0), 1e-6, (1, 2)),  # z = (3, -1): all is due to the first unit
        ((1.0, 0.0), 1e-6, (1, 2)),  # z = (4, -1): one of four is due to the bias
        ((0.0, 0.0), 1.0, (0.5625, 1.125)),  # 3 -> 3 * 3 / 4 -> 2.25 / 4 each
        ((0.0, 2.0), 1e-6, (2, 0)),  # z = (3, 1), the second 1 - 2 + 2
    ],
)
def test_epsilon_by_hand(bias, epsilon, expected):
    close(lrp(TWO, _two(bias), {}, X, 0, epsilon=epsilon)[0, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "bias", "expected"),
    [
        ((2.0, 1.0), 0.0, (1, 0)),  # z = 2 - 1, of which 2 is positive
        ((2.0, 1.0), 1.0, (4 / 3, 0)),  # z = 2, two thirds of which are the first one's
        ((2.0, 1.0), -0.5, (0.5, 0)),
        ((2.0, -1.0), 0.0, (2, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_z_plus_by_hand(x, bias, expected, kind):
    last = Dense(1) if kind == "dense" else Sequential(conv=Conv(1, 1), flatten=Flatten())
    net = Sequential(flatten=Flatten(), last=last) if kind == "dense" else Sequential(last=last)
    weights = {"kernel": jnp.array([[1.0], [-1.0]]).reshape((2, 1) if kind == "dense" else (1, 1, 2, 1))}
    weights["bias"] = jnp.array([bias])
    params = {"last": weights if kind == "dense" else {"conv": weights}}
    x = jnp.array(x)[None, None]
    close(lrp(net, params, {}, x, 0, rule="z_plus")[0, 0], expected, rtol=1e-5)
    composite = lrp(net, params, {}, x, 0, rule="composite")
    close(composite, lrp(net, params, {}, x, 0, rule="z_plus" if kind == "conv" else "epsilon"))


def test_the_first_layers_rules_by_hand():
    net = Sequential(conv=Conv(1, (1, 2), padding="VALID"), flatten=Flatten())
    params = {"conv": {"kernel": jnp.array([1.0, -2]).reshape(1, 2, 1, 1), "bias": jnp.array([3.0])}}
    x = jnp.array([0.5, 1.0]).reshape(1, 2, 1)
    score = 0.5 - 2 + 3
    close(lrp(net, params, {}, x, 0, first="flat").ravel(), [score / 2, score / 2], rtol=1e-5)
    # a w - 0 max(w, 0) - 1 min(w, 0) = (0.5, -2 + 2)
    close(lrp(net, params, {}, x, 0, first="box").ravel(), [score, 0], rtol=1e-5, atol=1e-6)
    # Behind a normalisation that takes pixels to -1..1: (0 + 1, -2 + 2), of the score 0 - 2 + 3
    behind = Sequential(normalize=Normalize(0.5, 0.5), **net.layers)
    close(lrp(behind, params, {}, x, 0, first="box").ravel(), [1, 0], rtol=1e-5, atol=1e-6)


def test_sums_means_maxima_and_gates_by_hand():
    x = jnp.array([[1.0, 2], [3, 4]])[..., None]
    head = {"flatten": Flatten(), "head": Dense(1, use_bias=False)}
    one = {"head": {"kernel": jnp.ones((1, 1))}}
    close(lrp(Sequential(pool=MaxPool(2), **head), one, {}, x, 0)[..., 0], [[0, 0], [0, 4]], rtol=1e-5)
    close(lrp(Sequential(pool=AvgPool(2), **head), one, {}, x, 0)[..., 0], x[..., 0] / 4, rtol=1e-5)
    four = {"head": {"kernel": jnp.ones((4, 1))}}
    close(lrp(Sequential(block=Residual(lambda v: 3 * v), **head), four, {}, x, 0), 4 * x, rtol=1e-5)
    gate = Gate(Sequential(pool=GlobalAvgPool(), gate=F.sigmoid))
    close(lrp(Sequential(gate=gate, **head), four, {}, x, 0), x * jax.nn.sigmoid(2.5), rtol=1e-5)
    close(lrp(Sequential(gate=Gate(F.sigmoid), **head), four, {}, x, 0), x * jax.nn.sigmoid(x), rtol=1e-5)
    # Of a + b = 1 + 3, c in a net that sees c = relu(-x) too: nothing.
    both = Sequential(both=Concat(a=F.relu, b=lambda v: F.relu(-v)), flatten=Flatten(), head=Dense(1, use_bias=False))
    eight = {"head": {"kernel": jnp.ones((8, 1))}}
    close(lrp(both, eight, {}, x, 0), x, rtol=1e-5)


def test_normalize_hands_on_relevance_to_black_pixels():
    net = Sequential(normalize=Normalize(0.5, 0.25), flatten=Flatten(), head=Dense(1, use_bias=False))
    params = {"head": {"kernel": jnp.array([[1.0], [3.0]])}}
    close(lrp(net, params, {}, jnp.array([0.0, 1.0])[None, :, None], 0).ravel(), [-2, 6], rtol=1e-5)


def _without_biases(case):
    """Return a net's weights with nothing that is added."""

    def none(path, leaf):
        names = jax.tree_util.keystr(path)
        return jnp.zeros_like(leaf) if "bias" in names or "mean" in names else leaf

    return (jax.tree_util.tree_map_with_path(none, tree) for tree in (case.params, case.state))


@pytest.mark.parametrize(
    ("name", "rule", "first"),
    [
        ("plain", "epsilon", "alike"),
        ("plain", "z_plus", "alike"),
        ("batchnorm", "composite", "flat"),
        ("residual", "epsilon", "alike"),
        ("residual", "composite", "box"),
    ],
)
def test_relevance_is_conserved_without_biases(name, images, targets, rule, first):
    case = CASES[name]
    params, state = _without_biases(case)
    scores = jnp.take_along_axis(case.net.apply(params, state, images, train=False)[0], targets[:, None], -1)[:, 0]
    found = lrp(case.net, params, state, images, targets, rule=rule, first=first)
    assert found.shape == images.shape
    close(jnp.sum(found, (1, 2, 3)), scores, rtol=1e-3, atol=1e-3 * float(jnp.abs(scores).max()))


ACTIVATIONS = [F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.hard_silu, F.softplus, F.tanh, F.sigmoid]
ACTIVATIONS += [lambda z: z * jax.nn.sigmoid(z), lambda z: jax.nn.gelu(z, approximate=False), jax.nn.mish]
ACTIVATIONS += [lambda z: jnp.where(z > 0, z, 0.1 * z), jnp.abs, jax.checkpoint(F.relu), jax.jit(F.selu)]


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_activations_hand_on_what_they_get(act, images):
    # Pixels all by themselves, so that each one's relevance is what its own activations get.
    net = Sequential(conv=Conv(1, 1, use_bias=False), act=act, flatten=Flatten(), head=Dense(1, use_bias=False))
    x = jnp.linspace(-2.0, 2.0, 8).reshape(2, 4, 1)
    params = {"conv": {"kernel": jnp.full((1, 1, 1, 1), 1.5)}, "head": {"kernel": jnp.arange(1.0, 9)[:, None]}}
    expected = act(1.5 * x) * jnp.arange(1.0, 9).reshape(x.shape)
    close(lrp(net, params, {}, x, 0), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "norm", [LayerNorm(use_bias=False), lambda z: F.group_norm(z, groups=2), F.local_response_norm]
)
def test_norms_conserve(norm, images):
    net = Sequential(conv=Conv(4, use_bias=False), norm=norm, pool=GlobalAvgPool(), head=Dense(3, use_bias=False))
    params, state = net.init(jax.random.key(3), images)
    scores = net.apply(params, state, images, train=False)[0][:, 1]
    close(jnp.sum(lrp(net, params, state, images, 1), (1, 2, 3)), scores, rtol=2e-3, atol=1e-4)


def test_attention_conserves(images):
    def attention(z):
        flat = z.reshape(*z.shape[:-3], -1, z.shape[-1])
        weights = jax.nn.softmax(flat @ jnp.swapaxes(flat, -1, -2) / 4, -1)
        return (weights @ flat).reshape(z.shape)

    net = Sequential(conv=Conv(4, use_bias=False), act=attention, pool=GlobalAvgPool(), head=Dense(3, use_bias=False))
    params, state = net.init(jax.random.key(3), images)
    scores = net.apply(params, state, images, train=False)[0][:, 1]
    found = lrp(net, params, state, images, 1)
    assert jnp.isfinite(found).all()
    close(jnp.sum(found, (1, 2, 3)), scores, rtol=2e-3, atol=1e-3)


def test_relevance_of_an_inner_layer(images, targets):
    case, rule = CASES["residual"], "composite"
    params, state = _without_biases(case)
    scores = jnp.take_along_axis(case.net.apply(params, state, images, train=False)[0], targets[:, None], -1)[:, 0]
    found = lrp(case.net, params, state, images, targets, rule=rule, at="act2")
    assert found.shape == (4, 12, 12, 8)
    close(jnp.sum(found, (1, 2, 3)), scores, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match=r"^lrp: expected the path of a layer, got 'act9'"):
        lrp(case.net, params, state, images, targets, at="act9")


def test_relevance_on_either_side_of_a_batch_norm(images, targets):
    case = CASES["batchnorm"]
    inside, rest = at_layer(case.net, case.params, case.state, images, "bn1")
    slope = jax.grad(lambda y: jnp.take_along_axis(rest(y), targets[:, None], -1).sum())(inside)
    found = lrp(case.net, case.params, case.state, images, targets, at="bn1")
    close(found, slope * inside, rtol=1e-3, atol=1e-5)  # of nets that rectify, by the epsilon rule
    # To what comes before, a norm that is not folded hands on what it gets.
    close(lrp(case.net, case.params, case.state, images, targets, at="conv1"), found, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_batch_norm_that_cannot_be_folded_is_an_affine_layer(images):
    net = Sequential(bn=BatchNorm(), act=F.relu, conv=Conv(4), bn2=BatchNorm(), pool=GlobalAvgPool(), head=Dense(3))
    params, state = net.init(jax.random.key(3), images)
    found = lrp(net, params, state, images, 1)
    expected = images * jax.grad(lambda x: net.apply(params, state, x, train=False)[0][:, 1].sum())(images)
    close(found, expected, rtol=1e-3, atol=1e-5)  # of ReLU nets the epsilon rule is gradient times input
    wrapped = surgery.rematerialize(net, ["conv"])
    close(lrp(wrapped, params, state, images, 1), found, rtol=1e-4, atol=1e-6)


def test_epsilon_is_gradient_times_input_of_nets_that_rectify(case, images, targets):
    slope = jax.grad(lambda x: jnp.take_along_axis(case.logits_fn(x), targets[:, None], -1).sum())(images)
    found = lrp(case.net, case.params, case.state, images, targets, epsilon=1e-9)
    close(found, images * slope, rtol=1e-3, atol=1e-4 * float(abs(found).max()))


def _summing(net, layer, call):
    """Return the twin with its sums as modules."""
    net = copy.deepcopy(net)
    for block in net.children():
        if type(block).__name__ == "Block":
            block.sum = layer()
            block.forward = lambda x, block=block: call(block.sum, block.branch(x), x)
    return net


@pytest.mark.parametrize("composite", ["EpsilonPlus", "EpsilonPlusFlat", "epsilon", "box"])
def test_agrees_with_zennit(case, images, targets, composite):
    composites, sums = zennit().composites, zennit().layer.Sum
    import torch
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import LayerMapComposite, SpecialFirstLayerMapComposite, layer_map_base
    from zennit.rules import Epsilon, ZBox
    from zennit.types import Convolution, Linear

    options = {"canonizers": [SequentialMergeBatchNorm()]}
    if composite == "epsilon":
        made = LayerMapComposite([*layer_map_base(), (Convolution, Epsilon()), (Linear, Epsilon())], **options)
        ours = {"rule": "epsilon"}
    elif composite == "box":
        plus = composites.EpsilonPlus().layer_map
        made = SpecialFirstLayerMapComposite(plus, [(Convolution, ZBox(low=0.0, high=1.0))], **options)
        ours = {"rule": "composite", "first": "box"}
    else:
        made = getattr(composites, composite)(**options)
        ours = {"rule": "composite", "first": "flat" if "Flat" in composite else "alike"}
    net = _summing(twin(case.name), sums, lambda s, a, b: s(torch.stack([a, b], -1)))
    chosen = torch.nn.functional.one_hot(torch.tensor(np.asarray(targets)).long(), 5)
    with Gradient(model=net, composite=made) as attributor:
        _, relevance = attributor(tensor(images), lambda output: output * chosen)
    expected = array(relevance)
    found = lrp(case.net, case.params, case.state, images, targets, **ours)
    close(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())


@pytest.mark.filterwarnings("ignore")  # of the peer's
@pytest.mark.parametrize(
    ("name", "rule"), [("plain", "epsilon"), ("batchnorm", "epsilon"), ("residual", "epsilon"), ("plain", "composite")]
)
def test_agrees_with_captum(images, targets, name, rule):
    """With "composite" of the plain net alone: batch norms are not folded there."""
    attr, case = captum().attr, CASES[name]
    import torch
    from captum.attr._utils.custom_modules import Addition_Module
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

    net = _summing(twin(name), Addition_Module, lambda s, a, b: s(a, b))
    for path, part in list(net.named_modules()):
        if isinstance(part, torch.nn.MaxPool2d):  # behind which captum's relevance is neither zennit's nor ours
            setattr(net, path, torch.nn.AvgPool2d(2))
        if isinstance(part, torch.nn.Flatten):
            part.rule = EpsilonRule()
        if isinstance(part, torch.nn.Conv2d) and rule == "composite":
            part.rule = Alpha1_Beta0_Rule(set_bias_to_zero=True)  # where zennit and we keep the positive biases
            torch.nn.init.zeros_(part.bias)
    expected = array(attr.LRP(net).attribute(tensor(images), torch.tensor(np.asarray(targets)).long()))
    ours = case.net if case.name == "residual" else surgery.replace(case.net, {MaxPool(2): AvgPool(2)})
    zeros = {"conv1", "conv2"} if rule == "composite" else ()
    params = {n: p | {"bias": 0 * p["bias"]} if n in zeros else p for n, p in case.params.items()}
    found = lrp(ours, params, case.state, images, targets, rule=rule, epsilon=1e-9)
    close(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())


@pytest.mark.slow
def test_one_image_a_batch_and_vmap_are_alike(images, targets):
    case = CASES["residual"]

    def run(x, target):
        return lrp(case.net, case.params, case.state, x, target, rule="composite")

    expected = run(images, targets)
    close(run(images[2], int(targets[2])), expected[2], rtol=1e-3, atol=1e-5)
    close(jax.jit(jax.vmap(run))(images, targets), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_one_program_for_other_weights_images_targets_and_epsilons(images):
    case = CASES["plain"]
    before = _run._cache_size()
    lrp(case.net, case.params, case.state, images, 0, epsilon=1e-3)
    lrp(case.net, jax.tree.map(lambda p: 2 * p, case.params), case.state, images / 2, 4, epsilon=1e-4)
    assert _run._cache_size() <= before + 1
    with pytest.raises(ValueError, match=r"^lrp: expected finite values in the map, got \d+ that are not\. Look"):
        lrp(case.net, jax.tree.map(lambda p: p * jnp.nan, case.params), case.state, images, 0)


def test_refuses_what_it_has_no_rule_for():
    net = Sequential(conv=Conv(3), order=lambda z: jnp.sort(z, -1), flatten=Flatten(), head=Dense(2))
    params, state = net.init(jax.random.key(0), SPEC)
    message = r"^lrp: expected a net of which every equation has a rule, got 'sort' in 'order'\. Choose another"
    with pytest.raises(ValueError, match=message):
        lrp(net, params, state, jnp.ones(SPEC.shape), 0)


@pytest.mark.parametrize("first", ["flat", "box"])
def test_refuses_rules_for_pixels_where_weights_see_none(first):
    net = Sequential(pool=AvgPool(2), conv=Conv(3), flatten=Flatten(), head=Dense(2))
    params, state = net.init(jax.random.key(0), SPEC)
    message = rf"^lrp: expected first=\"alike\" for a net whose weights do not see the image, got '{first}'\. What"
    with pytest.raises(ValueError, match=message):
        lrp(net, params, state, jnp.ones(SPEC.shape), 0, first=first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "gamma"}, r"^lrp: expected rule as one of \('epsilon', 'z_plus', 'composite'\), got 'gamma'"),
        ({"first": "last"}, r"^lrp: expected first as one of \('alike', 'flat', 'box'\), got 'last'"),
        ({"epsilon": 0.0}, r"^lrp: expected epsilon > 0, got 0\.0"),
        ({"first": "box", "at": "act1"}, r"^lrp: expected no inner layer with first=\"box\", .*, got 'act1'\. Leave"),
    ],
)
def test_refuses_options(images, options, message):
    case = CASES["plain"]
    with pytest.raises(ValueError, match=message):
        lrp(case.net, case.params, case.state, images, 0, **options)
    with pytest.raises(ValueError, match=r"^lrp: expected x in \[0, 1\], got values from .* to 2[0-9.]*\. Divide"):
        lrp(case.net, case.params, case.state, 255 * images / 100, 0, first="box")

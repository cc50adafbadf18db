"""DeepLIFT: by hand, complete, beside captum, and what is refused."""

import copy
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import surgery
from jaxcnn.explain.attribution.deeplift import _run, deeplift
from jaxcnn.layers import Conv, Dense, Flatten, Gate, GlobalAvgPool, LayerNorm, MaxPool, Residual, Sequential
from tests.explain.peers import captum
from tests.small_nets import CASES, SPEC
from tests.torch_twins import array, tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        ((0.0, 0.0), (1, 2)),  # z = (3, -1), of the baseline (0, 0): slopes 1 and 0
        ((1.0, -3.0), (0, -1)),  # (-2, 4): slopes 3 / 5 and 4 / 5, so m = (1.4, -0.2)
        ((2.0, 1.0), (-1.5, 0.5)),  # (3, 1): where both are 3 the slope is the derivative, 1; else 1 / 2
    ],
)
def test_by_hand(baseline, expected):
    net = Sequential(flatten=Flatten(), below=Dense(2, use_bias=False), act=F.relu, above=Dense(1, use_bias=False))
    params = {"below": {"kernel": jnp.array([[1.0, 1], [1, -1]])}, "above": {"kernel": jnp.ones((2, 1))}}
    x = jnp.array([[[1.0, 2.0]]])
    close(deeplift(net, params, {}, x, 0, baseline=jnp.array(baseline))[0, 0], expected, rtol=1e-6, atol=1e-6)


def test_maxima_and_products_by_hand():
    x = jnp.array([[1.0, 5], [3, 4]])[..., None]
    head = {"flatten": Flatten(), "head": Dense(1, use_bias=False)}
    one = {"head": {"kernel": jnp.ones((1, 1))}}
    pool = Sequential(pool=MaxPool(2), **head)
    close(deeplift(pool, one, {}, x, 0)[..., 0], [[0, 5], [0, 0]])
    # The baseline's maximum, 7, is where x has 3: the difference of -2 is due to that pixel.
    base = jnp.array([[1.0, 1], [7, 1]])[..., None]
    close(deeplift(pool, one, {}, x, 0, baseline=base)[..., 0], [[0, 0], [-2, 0]])
    four = {"head": {"kernel": jnp.ones((4, 1))}}
    square = Sequential(gate=Gate(lambda v: v), **head)
    close(deeplift(square, four, {}, x, 0, baseline=base), x**2 - base**2, rtol=1e-5)


def _smooth(images):
    """Return a net of all kinds of things."""
    gate = Gate(Sequential(pool=GlobalAvgPool(), reduce=Dense(3), act=F.silu, expand=Dense(4), gate=F.hard_sigmoid))
    net = Sequential(
        conv=Conv(4), norm=LayerNorm(), act=F.gelu, pool=MaxPool(3, stride=2, padding=1),
        block=Residual(Sequential(conv=Conv(4), act=F.elu, gate=gate)), response=F.local_response_norm,
        where=lambda z: jnp.where(z > 0, z, 0.2 * z), soft=F.softplus, absolute=jnp.abs,
        most=lambda z: jnp.maximum(z, z[..., ::-1]), least=lambda z: jnp.minimum(z, 1.1 - z),
        group=lambda z: F.group_norm(z, groups=2), checkpoint=jax.checkpoint(F.tanh),
        largest=lambda z: jnp.max(z, (-3, -2)), head=Dense(5), probabilities=lambda y: jax.nn.softmax(y, -1),
    )  # fmt: skip
    params, state = net.init(jax.random.key(4), images)
    draw = np.random.default_rng(3)  # biases, too: of black images a layer norm would divide by nearly nothing
    return net, jax.tree.map(lambda p: p + draw.normal(0, 0.2, p.shape).astype(np.float32), params), state


def _squared(outputs):
    return outputs[..., 1] ** 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "baseline"),
    [
        *((name, base) for name in CASES for base in ("zero", "image")),
        ("smooth", "zero"),
    ],
)
def test_shares_sum_to_the_difference_of_the_scores(name, baseline, images, targets):
    net, params, state = _smooth(images) if name == "smooth" else CASES[name][1:]
    base = {"zero": 0.0, "image": jax.random.uniform(jax.random.key(5), images.shape[1:])}[baseline]

    def scores(x):
        return jnp.take_along_axis(net.apply(params, state, x, train=False)[0], targets[:, None], -1)[:, 0]

    found = deeplift(net, params, state, images, targets, baseline=base)
    assert found.shape == images.shape
    difference = scores(images) - scores(jnp.broadcast_to(base, images.shape))
    close(jnp.sum(found, (1, 2, 3)), difference, rtol=1e-4, atol=1e-5)
    twice = deeplift(net, params, state, images, _squared, baseline=base)
    ends = [
        net.apply(params, state, x, train=False)[0][:, 1] ** 2 for x in (images, jnp.broadcast_to(base, images.shape))
    ]
    close(jnp.sum(twice, (1, 2, 3)), ends[0] - ends[1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_of_a_linear_net_it_is_gradient_times_difference(images):
    net = Sequential(conv=Conv(4), pool=GlobalAvgPool(), head=Dense(3))
    params, state = net.init(jax.random.key(0), images)
    slope = jax.grad(lambda x: net.apply(params, state, x, train=False)[0][:, 1].sum())(images)
    close(deeplift(net, params, state, images, 1, baseline=0.25), slope * (images - 0.25), rtol=1e-4, atol=1e-7)


@pytest.mark.filterwarnings("ignore")  # of the peer's
@pytest.mark.parametrize("baseline", ["zero", "image"])
def test_agrees_with_captum(case, images, targets, baseline):
    attr = captum().attr
    import torch

    base = 0 * images if baseline == "zero" else jax.random.uniform(jax.random.key(5), images.shape)
    wanted = torch.tensor(np.asarray(targets)).long()
    expected = array(attr.DeepLift(_apart(twin(case.name))).attribute(tensor(images), tensor(base), wanted))
    found = deeplift(case.net, case.params, case.state, images, targets, baseline=base)
    close(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())


def _apart(net):
    """Return the twin with a copy between rectifiers and what follows.

    Of two nonlinear modules in a row captum 0.9 takes the derivative of the second as it is, and the shares do not add
    up: its hooks of both sit on one tensor, and that of the first comes first.
    """
    from torch import nn

    class Copy(nn.Module):
        def forward(self, x):
            return x.clone()

    parts = [(name, copy.deepcopy(part)) for name, part in net.named_children()]
    return nn.Sequential(OrderedDict(pair for n, p in parts for pair in ((n, p), (f"{n}_copied", Copy())))).eval()


def test_wrappers_change_nothing(images, targets):
    case = CASES["residual"]
    expected = deeplift(case.net, case.params, case.state, images, targets)
    wrapped = surgery.rematerialize(surgery.freeze(case.net, ["block1"]), ["block2"])
    close(deeplift(wrapped, case.params, case.state, images, targets), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_one_image_a_batch_and_vmap_are_alike(images, targets):
    case = CASES["residual"]

    def run(x, target):
        return deeplift(case.net, case.params, case.state, x, target, baseline=0.5)

    expected = run(images, targets)
    close(run(images[2], int(targets[2])), expected[2], rtol=1e-3, atol=1e-5)
    close(jax.jit(jax.vmap(run))(images, targets), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_one_program_for_other_weights_images_targets_and_baselines(images):
    case = CASES["plain"]
    before = _run._cache_size()
    deeplift(case.net, case.params, case.state, images, 0, baseline=0.5)
    after = _run._cache_size()
    deeplift(case.net, jax.tree.map(lambda p: 2 * p, case.params), case.state, images / 2, 4, baseline=0.1)
    assert _run._cache_size() == after <= before + 1
    with pytest.raises(ValueError, match=r"^deeplift: expected finite values in the map, got \d+ that are not\. Look"):
        deeplift(case.net, jax.tree.map(lambda p: p * jnp.nan, case.params), case.state, images, 0)


def test_refuses_bad_input(images):
    case = CASES["plain"]
    with pytest.raises(ValueError, match=r'^deeplift: expected baseline as a number, an .*"blur", got .*\(3, 1\)'):
        deeplift(case.net, case.params, case.state, images, 0, baseline=jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"^deeplift: expected baseline as a number, .* got 'black'"):
        deeplift(case.net, case.params, case.state, images, 0, baseline="black")
    net = Sequential(conv=Conv(3), order=lambda z: jnp.sort(z, -1), flatten=Flatten(), head=Dense(2))
    params, state = net.init(jax.random.key(0), SPEC)
    message = r"^deeplift: expected a net of which every equation has a rule, got 'sort' in 'order'\. Choose"
    with pytest.raises(ValueError, match=message):
        deeplift(net, params, state, jnp.ones(SPEC.shape), 0)

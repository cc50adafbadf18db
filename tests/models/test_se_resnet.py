"""Squeeze-and-excitation against its equations, the paper's counts and timm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import initialization, models, summarize
from jaxcnn.layers import Conv, Gate
from jaxcnn.models.se_resnet import squeeze_excite
from tests.models.measures import deviations
from tests.models.parity import check_same_net, randomised
from tests.torch_nets import timm, torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
SPEC = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
COSTS = [
    # timm's seresnet18; by hand: resnet18 and two blocks a stage of 2 C R + C + R, C = 64, 128, 256, 512 and R = 8, 8,
    # 16, 32, which multiply 2 C R times.
    ("se_resnet18", 11_689_512 + 90_112, 1_814_073_344 + 2 * (2 * 512 + 2 * 1024 + 2 * 4096 + 2 * 16_384)),
    # Hu et al. 2018, section 4: 2 / r sum N C^2 = 2.5 million more than resnet50, each used once an image, and biases,
    # which the paper leaves out: timm's seresnet50 has 28,088,024.
    pytest.param("se_resnet50", 25_557_032 + 2_514_944 + 16_048, 4_089_184_256 + 2_514_944, marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters", "multiply_adds"), COSTS)
def test_costs(name, parameters, multiply_adds):
    found = summarize(models.create(name, 1000), SPEC)
    assert (found.parameters, found.multiply_adds) == (parameters, multiply_adds)


@pytest.mark.slow
def test_squeeze_and_excitation_is_the_papers():
    gate = squeeze_excite(6, 4)
    x = np.random.default_rng(0).standard_normal((2, 5, 3, 6)).astype(np.float32)
    params, state = gate.init(jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    y, _ = gate.apply(params, state, x, train=False)
    first, second = params["branch"]["reduce"], params["branch"]["expand"]
    z = np.maximum(x.mean((1, 2)) @ first["kernel"][0, 0] + first["bias"], 0)
    factors = 1 / (1 + np.exp(-(z @ second["kernel"][0, 0] + second["bias"])))
    np.testing.assert_allclose(y, x * factors[:, None, None], rtol=1e-5)


def test_other_nonlinearities():
    gate = squeeze_excite(6, 4, act=F.silu, gate=F.hard_sigmoid)
    assert (gate.branch["act"], gate.branch["gate"]) == (F.silu, F.hard_sigmoid)
    assert gate.branch["reduce"] == Conv(4, 1)


def test_branches_end_with_a_gate():
    net = models.create("se_resnet50")
    parts = net["stage1"]["block1"]["residual"].branch.layers
    assert list(parts)[-2:] == ["norm3", "se"]
    assert isinstance(parts["se"], Gate)
    assert [net[f"stage{i}"]["block1"]["residual"].branch["se"].branch["reduce"].features for i in (1, 2, 3, 4)] == [
        16,
        32,
        64,
        128,
    ]
    assert models.se_resnet(18, reduction=4)["stage1"]["block1"]["residual"].branch["se"] == squeeze_excite(64, 16)
    # A description of fewer than eight units is too short.
    assert models.create("se_resnet18")["stage1"]["block1"]["residual"].branch["se"] == squeeze_excite(64, 8)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [10, pytest.param(18, marks=pytest.mark.slow)])
def test_signals_neither_vanish_nor_explode_at_the_start(depth):
    found = deviations(models.se_resnet(depth, width=8, small_images=True))
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.slow
def test_branches_may_start_at_zero():
    # The gate's last kernel would leave half of what the branch gives.
    net = models.se_resnet(10, width=8, small_images=True)
    spec = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    params, state = jax.jit(lambda key: net.init(key, spec))(jax.random.key(0))
    params = initialization.zero_residuals(net, params)
    branch = net["stage1"]["block1"]["residual"].branch
    parts = (tree["stage1"]["block1"]["residual"]["branch"] for tree in (params, state))
    y = jax.jit(lambda p, s: branch.apply(p, s, jnp.ones((1, 8, 8, 8)), train=False)[0])(*parts)
    assert not y.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 20}, r"^se_resnet: expected depth as one of \[10, .*\], got 20\."),
        ({"reduction": 0}, r"^se_resnet: expected reduction as a positive int, got 0\."),
        ({"width": -1}, r"^se_resnet: expected width as a positive int, got -1\."),
        ({"num_classes": 0}, r"^se_resnet: expected num_classes as a positive int, got 0\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        models.se_resnet(**{"depth": 18, **options})


@pytest.mark.parametrize("counts", [(0, 4), (4, 0)])
def test_bad_counts(counts):
    with pytest.raises(ValueError, match=r"^squeeze_excite: expected (features|reduced) as a positive int, got 0\."):
        squeeze_excite(*counts)


def test_the_same_gate_as_torchvision():
    torch = pytest.importorskip("torch")
    theirs = randomised(torchvision().ops.SqueezeExcitation(6, 4))
    x = np.random.default_rng(0).standard_normal((2, 5, 3, 6)).astype(np.float32)
    kernels = {name: value.detach().numpy() for name, value in theirs.state_dict().items()}
    parts = {"reduce": "fc1", "expand": "fc2"}
    params = {
        ours: {"kernel": kernels[f"{other}.weight"].transpose(2, 3, 1, 0), "bias": kernels[f"{other}.bias"]}
        for ours, other in parts.items()
    }
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy().transpose(0, 2, 3, 1)
    y, _ = squeeze_excite(6, 4).apply({"branch": params}, {}, x, train=False)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("depth", "block"), [(10, "BasicBlock"), (14, "Bottleneck")])
def test_the_same_logits_as_the_smallest_of_timm(depth, block):
    resnet = timm().models.resnet
    theirs = resnet.ResNet(getattr(resnet, block), [1, 1, 1, 1], num_classes=7, block_args={"attn_layer": "se"})
    check_same_net(models.se_resnet(depth, 7), theirs, layout="timm")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "theirs"), [("se_resnet18", "seresnet18"), ("se_resnet50", "seresnet50")])
def test_the_same_logits(name, theirs):
    check_same_net(models.create(name, 7), timm().create_model(theirs, num_classes=7), layout="timm")

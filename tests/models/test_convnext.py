"""ConvNeXt against the paper's tables, torchvision and timm."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import interop, models, summarize, surgery
from jaxcnn.initializers import Normal
from jaxcnn.layers import Conv, DepthwiseConv, LayerNorm
from jaxcnn.models.convnext import exact_gelu
from tests.models.drawn import redrawn
from tests.models.measures import deviations
from tests.models.parity import check_same_net
from tests.torch_nets import timm, torchvision

pytestmark = pytest.mark.usefixtures("quick_compilation")
slow = pytest.mark.slow


@functools.cache
def costs(name):
    return summarize(models.create(name, 1000), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "giga"),
    [  # torchvision's num_params and GFLOPS for 1000 classes; Liu et al. 2022, table 1: 29, 50, 89 M, 4.5, 8.7, 15.4 G
        ("convnext_tiny", 28_589_128, 4.456),
        pytest.param("convnext_small", 50_223_688, 8.684, marks=slow),
        pytest.param("convnext_base", 88_591_464, 15.355, marks=slow),
    ],
)
def test_costs(name, parameters, giga):
    found = costs(name)
    assert (found.parameters, round(found.multiply_adds / 1e9, 3)) == (parameters, giga)


@pytest.mark.slow
def test_stages_are_those_of_the_papers_table_9():
    assert {row.path: row.output[1:] for row in costs("convnext_tiny").rows if "/" not in row.path} == {
        "stem": (56, 56, 96),
        "stage1": (56, 56, 96),
        "stage2": (28, 28, 192),
        "stage3": (14, 14, 384),
        "stage4": (7, 7, 768),
        "pool": (768,),
        "norm": (768,),
        "head": (1000,),
    }


def test_blocks():
    net = models.convnext(drop_path=0.17)
    assert [len([name for name in net[f"stage{i}"].layers if "block" in name]) for i in (1, 2, 3, 4)] == [3, 3, 9, 3]
    branch = net["stage2"]["block1"].branch
    assert list(branch.layers) == ["depthwise", "norm", "expand", "act", "project", "scale", "drop"]
    assert branch["depthwise"] == DepthwiseConv(7, padding=3, kernel_init=Normal(0.02))
    assert (branch["expand"].features, branch["project"].features) == (768, 192)
    assert branch["norm"] == LayerNorm(eps=1e-6)
    assert list(net["stage2"]["downsample"].layers) == ["norm", "conv"]
    rates = [
        block.branch["drop"].rate
        for stage in net[1:5]
        for name, block in stage.layers.items()
        if name.startswith("block")
    ]
    assert rates == pytest.approx(np.linspace(0, 0.17, 18))


@pytest.mark.slow
def test_a_net_starts_as_its_stem_and_what_lies_between_stages():
    # Touvron et al. 2021, section 2: with factors near 0 every block is the identity.
    net = models.convnext(width=8, blocks=(1, 1), small_images=True)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 3)), jnp.float32)
    at = ["stem", "stage1", "stage2/downsample", "stage2"]
    run = jax.jit(lambda key: surgery.activations(net, *net.init(key, x), x, at)[1])
    found = run(jax.random.key(0))
    np.testing.assert_allclose(found["stage1"], found["stem"], atol=1e-5)
    np.testing.assert_allclose(found["stage2"], found["stage2/downsample"], atol=1e-5)


def test_other_plans():
    net = models.convnext(width=4, blocks=(1, 2, 1), small_images=True)
    assert list(net.layers) == ["stem", "stage1", "stage2", "stage3", "pool", "norm", "head"]
    assert net["stem"]["conv"] == Conv(4, padding=1, kernel_init=Normal(0.02))
    assert models.convnext(blocks=(1,))["stage1"]["block1"].branch["drop"].rate == 0
    assert models.create("convnext_base") == models.convnext(width=128, blocks=(3, 3, 27, 3), drop_path=0.5)


def test_gelu_is_the_exact_one():
    # Phi(1) = 0.8413447461
    assert float(exact_gelu(jnp.float32(1))) == pytest.approx(0.8413447, abs=1e-6)


@pytest.mark.slow
def test_signals_neither_vanish_nor_explode_at_the_start():
    found = deviations(models.convnext(width=16, blocks=(1, 1, 1, 1)))
    assert {path: sd for path, sd in found.items() if not 0.05 < sd < 20} == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, r"^convnext: expected width as a positive int, got 0\."),
        ({"blocks": ()}, r"^convnext: expected blocks as a number for each stage, got \(\)\. Pass \(3, 3, 9, 3\)"),
        ({"blocks": 3}, r"^convnext: expected blocks as a number for each stage, got 3\."),
        ({"blocks": (3, 0)}, r"^convnext: expected blocks as a positive int, got 0\."),
        ({"drop_path": -0.1}, r"^convnext: expected drop_path in \[0, 1\], got -0\.1\. It is a rate"),
        ({"num_classes": 0}, r"^convnext: expected num_classes as a positive int, got 0\."),
        ({"small_images": 1}, r"^convnext: expected small_images as a Python bool, got 1\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.convnext(**options)


def test_the_factors_are_arrays_of_pytorchs_own():
    net = models.convnext(width=2, blocks=(1, 1))
    spec = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    params, state = jax.tree.map(lambda a: np.ones(a.shape, a.dtype), jax.eval_shape(net.init, jax.random.key(0), spec))
    theirs = interop.torch.state_dict(net, params, state, spec=spec)
    assert theirs["features.3.0.layer_scale"].shape == (4, 1, 1)
    assert theirs["features.3.0.block.5.bias"].shape == (4,)
    theirs = interop.torch.state_dict(net, params, state, layout="timm", spec=spec)
    assert theirs["stages.1.blocks.0.gamma"].shape == (4,)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_same_logits_as_small_ones(library):
    net = models.convnext(7, width=8, blocks=(1, 2, 1, 1))
    if library == "timm":
        theirs = timm().models.ConvNeXt(depths=(1, 2, 1, 1), dims=(8, 16, 32, 64), num_classes=7)
    else:
        nets = torchvision().models.convnext
        plan = zip((8, 16, 32, 64), (16, 32, 64, None), (1, 2, 1, 1), strict=True)
        theirs = nets.ConvNeXt([nets.CNBlockConfig(*stage) for stage in plan], num_classes=7)
    check_same_net(net, redrawn(theirs), layout=library, size=64)


@slow
@pytest.mark.parametrize("name", ["convnext_tiny", "convnext_small", "convnext_base"])
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_same_logits(library, name):
    theirs = getattr(torchvision().models if library == "torchvision" else timm().models, name)(num_classes=7)
    check_same_net(models.create(name, 7), redrawn(theirs), layout=library, size=64)

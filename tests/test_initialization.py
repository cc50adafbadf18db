"""Initial values from images or of whole nets: unit variance, whitening, kernels drawn anew, zero branches."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import fingerprint, initialization, initializers, surgery
from jaxcnn import functional as F
from jaxcnn.initializers import Constant, Dirac, Normal
from jaxcnn.layers import (
    BatchNorm,
    ChannelChunk,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Normalize,
    Residual,
    Sequential,
)
from jaxcnn.models.cifar_resnet import cifar_resnet

pytestmark = pytest.mark.usefixtures("quick_compilation")
key = jax.random.key(0)
SPEC = jax.ShapeDtypeStruct((8, 6, 6, 3), jnp.float32)
X = jnp.asarray(np.random.default_rng(0).uniform(size=SPEC.shape), jnp.float32)
# Composites in each other, biases, batch norm, dropout, and kernels far from any good scale.
NESTED = Sequential(
    normalize=Normalize(0.5, 0.3),
    stem=Conv(8, kernel_init=Normal(3.0), bias_init=Constant(0.2)),
    act=F.relu,
    block=Residual(
        Sequential(
            fork=Concat(a=Conv(4, 1), b=Sequential(Conv(6, stride=1), F.tanh, Conv(4, groups=2, use_bias=False))),
            norm=BatchNorm(),
            drop=Dropout(0.5),
            last=Conv(5),
        ),
        shortcut=Conv(5, 1, kernel_init=Normal(1e-3)),
    ),
    inner=Residual(Sequential(conv=Conv(5), inside=Residual(Sequential(Conv(5), F.gelu)), out=Conv(5))),
    flat=Flatten(),
    head=Dense(7),
)
KERNELS = [
    "stem", "block/branch/fork/a", "block/branch/fork/b/conv1", "block/branch/fork/b/conv2", "block/branch/last",
    "block/shortcut", "inner/branch/conv", "inner/branch/inside/branch/conv1", "inner/branch/out", "head",
]  # fmt: skip


def variances(net, params, state, x, at):
    _, found = surgery.activations(net, params, state, x, at)
    return {path: float(jnp.var(y)) for path, y in found.items()}


def at_path(params, path):
    for name in path.split("/"):
        params = params[name]
    return params


def owned(params, path):
    for name in path.split("/"):
        params = params.get(name, {})
    return params


def changed(before, after):
    """Return the paths of the leaves that are not the same."""
    flat = [jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (before, after)]
    pairs = zip(*flat, strict=True)
    return {"/".join(k.key for k in path) for (path, a), (_, b) in pairs if not np.array_equal(a, b)}


def one_layer_at_a_time(net, params, state, x, tolerance):
    """Return what the paper's algorithm does, a forward pass of the whole net for each division."""
    for path in KERNELS:
        for _ in range(10):
            variance = variances(net, params, state, x, [path])[path]
            if abs(variance - 1) <= tolerance:
                break
            params = jax.tree.map(lambda a: a, params)
            at_path(params, path)["kernel"] /= np.sqrt(variance)
    return params


@dataclass(frozen=True)
class Pair(Layer):
    """Two dense maps in a row, one layer."""

    def init(self, key, spec):
        return {
            "first": Dense(4).init(key, spec)[0],
            "second": Dense(3).init(key, jax.ShapeDtypeStruct((1, 4), spec.dtype))[0],
        }, {}

    def apply(self, params, state, x, *, train, key=None):
        between, _ = Dense(4).apply(params["first"], {}, x, train=train)
        return Dense(3).apply(params["second"], state, between, train=train)


# Layer-sequential unit variance


def test_kernels_in_a_row_share_the_division():
    net = Sequential(pair=Pair())
    params, state = net.init(key, SPEC)
    scaled = initialization.lsuv(net, params, state, X)
    np.testing.assert_allclose(variances(net, scaled, state, X, ["pair"])["pair"], 1, rtol=1e-4)
    assert changed(params, scaled) == {"pair/first/kernel", "pair/second/kernel"}
    ratios = [np.mean(scaled["pair"][n]["kernel"] / params["pair"][n]["kernel"]) for n in ("first", "second")]
    np.testing.assert_allclose(*ratios, rtol=1e-5)


@pytest.mark.slow
def test_every_kernel_gives_unit_variance_and_nothing_else_changes():
    params, state = NESTED.init(key, SPEC)
    scaled = initialization.lsuv(NESTED, params, state, X)
    assert all(abs(v - 1) <= 0.011 for v in variances(NESTED, scaled, state, X, KERNELS).values())
    assert changed(params, scaled) == {f"{path}/kernel" for path in KERNELS}
    for path in KERNELS:  # a kernel keeps its direction
        before, after = (np.asarray(at_path(tree, path)["kernel"]).ravel() for tree in (params, scaled))
        assert np.dot(before, after) / np.linalg.norm(before) / np.linalg.norm(after) > 0.99999


@pytest.mark.slow
def test_does_what_the_papers_algorithm_does():
    params, state = NESTED.init(key, SPEC)
    expected = one_layer_at_a_time(NESTED, params, state, X, 0.01)
    scaled = initialization.lsuv(NESTED, params, state, X)
    for a, b in zip(jax.tree.leaves(scaled), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3)


@pytest.mark.slow
def test_twice_is_once_and_the_arguments_stay_as_they_are():
    params, state = NESTED.init(key, SPEC)
    before = fingerprint((params, state))
    once = initialization.lsuv(NESTED, params, state, X)
    assert fingerprint((params, state)) == before
    assert fingerprint(initialization.lsuv(NESTED, once, state, X)) == fingerprint(once)


@pytest.mark.slow
def test_a_wide_tolerance_leaves_what_is_within_it():
    params, state = NESTED.init(key, SPEC)
    now = variances(NESTED, params, state, X, KERNELS)
    loose = initialization.lsuv(NESTED, params, state, X, tolerance=0.99)
    assert abs(now["block/shortcut"] - 1) > 0.99
    assert "block/shortcut/kernel" in changed(params, loose)
    assert len(changed(params, loose)) < len(KERNELS)
    assert changed(params, initialization.lsuv(NESTED, params, state, X, tolerance=1e9)) == set()


def test_biases_take_several_divisions_and_those_that_vary_too_much_an_end():
    # Biases of variance 0.36, which no division changes.
    net = Sequential(conv=Conv(2, bias_init=lambda key, shape, dtype: jnp.array([-0.6, 0.6], dtype)))
    params, state = net.init(key, SPEC)
    one = variances(net, initialization.lsuv(net, params, state, X, max_divisions=1), state, X, ["conv"])["conv"]
    many = variances(net, initialization.lsuv(net, params, state, X), state, X, ["conv"])["conv"]
    assert abs(one - 1) > 0.02
    assert abs(many - 1) <= 0.011
    wild = {"conv": {**params["conv"], "bias": 10 * params["conv"]["bias"]}}
    stopped = initialization.lsuv(net, wild, state, X)
    assert np.isfinite(stopped["conv"]["kernel"]).all()


def test_a_constant_output_leaves_the_kernel():
    net = Sequential(dead=Conv(3), act=F.relu, head=Conv(2))
    params, state = net.init(key, SPEC)
    params["dead"]["kernel"] = jnp.zeros_like(params["dead"]["kernel"])
    scaled = initialization.lsuv(net, params, state, X)
    assert changed(params, scaled) == set()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(scaled))


@pytest.mark.parametrize("net", [Conv(4), Dense(3), Sequential(), Sequential(Conv(4), Conv(4)), Residual(Conv(3))])
def test_any_layer_is_a_net(net):
    params, state = net.init(key, SPEC)
    scaled = initialization.lsuv(net, params, state, X)
    assert jax.tree.structure(scaled) == jax.tree.structure(params)
    if isinstance(net, Conv | Dense):
        np.testing.assert_allclose(np.var(net.apply(scaled, state, X, train=False)[0]), 1, rtol=1e-4)


@pytest.mark.slow
def test_an_edited_net_and_bfloat16():
    net = surgery.edit(Sequential(conv=Conv(4), act=F.relu, head=Dense(3)), {"conv": lambda y: 2 * y})
    params, state = net.init(key, SPEC)
    scaled = initialization.lsuv(net, params, state, X)
    np.testing.assert_allclose(variances(net, scaled, state, X, ["conv"])["conv"], 1, rtol=1e-4)
    half = initialization.lsuv(net, params, state, X.astype(jnp.bfloat16))
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(half["conv"]["kernel"], scaled["conv"]["kernel"], rtol=0.01)
    # The variance is not rounded to bfloat16, in which the next number below 1 is 0.996.
    for seed in range(3):
        params, _ = net.init(jax.random.key(seed), SPEC)
        half = initialization.lsuv(net, params, state, X.astype(jnp.bfloat16), tolerance=1e-3)
        y, _ = net.apply(half, state, X.astype(jnp.bfloat16), train=False)
        np.testing.assert_allclose(jnp.var(y.astype(jnp.float32)), 1, atol=1.1e-3)


@pytest.mark.slow
def test_jit_and_vmap():
    net = Sequential(conv=Conv(4, bias_init=Normal(0.3)), act=F.relu, head=Dense(3))
    lanes = [net.init(jax.random.key(seed), SPEC)[0] for seed in range(2)]
    alone = [initialization.lsuv(net, params, {}, X) for params in lanes]

    @jax.jit
    @jax.vmap
    def together(params):
        return initialization.lsuv(net, params, {}, X)

    stacked, expected = (jax.tree.map(lambda *a: jnp.stack(a), *each) for each in (lanes, alone))
    for a, b in zip(jax.tree.leaves(together(stacked)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3)


@pytest.mark.slow
def test_the_net_of_a_paper():
    net = cifar_resnet(8, width=4)
    spec = jax.ShapeDtypeStruct((4, 8, 8, 3), jnp.float32)
    params, state = net.init(key, spec)
    x = jax.random.uniform(key, spec.shape)
    convs = [path for path in surgery.paths(net) if "kernel" in owned(params, path)]
    scaled = initialization.lsuv(net, params, state, x)
    assert len(convs) == 8
    assert all(abs(v - 1) <= 0.011 for v in variances(net, scaled, state, x, convs).values())


@pytest.mark.slow
def test_bad_options_and_composites_that_hide_their_parts():
    params, state = NESTED.init(key, SPEC)
    for options, message in (
        ({"tolerance": 0.0}, r"^lsuv: expected tolerance > 0, got 0\.0\. "),
        ({"max_divisions": 0}, r"^lsuv: expected max_divisions as a positive int, got 0\. "),
    ):
        with pytest.raises(ValueError, match=message):
            initialization.lsuv(NESTED, params, state, X, **options)

    class Hidden(Residual):
        def apply(self, params, state, x, *, train, key=None):
            return super().apply(params, state, x, train=train, key=key)[0], {}

    net = Hidden(Conv(3))
    with pytest.raises(ValueError, match=r"^lsuv: expected .* composites that return the state of their parts by name"):
        initialization.lsuv(net, *net.init(key, SPEC), X)


# Kernels drawn another way


def test_another_kernel_init_at_any_depth():
    net = Sequential(
        conv=Conv(4, stride=2, bias_init=Constant(0.5)),
        block=Residual(Sequential(a=Conv(4), n=BatchNorm(), c=Concat(b=Sequential(d=Conv(4))))),
        head=Dense(3),
    )
    orthogonal = initializers.orthogonal
    changed_net = initialization.with_kernel_init(net, orthogonal)
    assert changed_net == Sequential(
        conv=Conv(4, stride=2, bias_init=Constant(0.5), kernel_init=orthogonal),
        block=Residual(
            Sequential(
                a=Conv(4, kernel_init=orthogonal),
                n=BatchNorm(),
                c=Concat(b=Sequential(d=Conv(4, kernel_init=orthogonal))),
            )
        ),
        head=Dense(3, kernel_init=orthogonal),
    )
    assert initialization.with_kernel_init(Conv(4), orthogonal) == Conv(4, kernel_init=orthogonal)
    frozen = surgery.freeze(net, ["conv", "block"])
    assert initialization.with_kernel_init(frozen, orthogonal) == surgery.freeze(changed_net, ["conv", "block"])
    with pytest.raises(
        ValueError, match=r"^with_kernel_init: expected a net of layers with a kernel_init, got Sequent"
    ):
        initialization.with_kernel_init(Sequential(BatchNorm()), orthogonal)
    with pytest.raises(TypeError, match=r"^Conv: expected kernel_init as a function"):
        initialization.with_kernel_init(Conv(4), 0.1)


# Branches that start at zero


def block(*branch: Layer, shortcut=None) -> Sequential:
    return Sequential(block=Residual(Sequential(*branch), shortcut))


@pytest.mark.parametrize(
    ("net", "zeroed"),
    [
        (block(Conv(3), BatchNorm(), F.relu, Conv(3), BatchNorm()), {"block/branch/batchnorm2/scale"}),
        (block(Conv(3), BatchNorm(), F.relu, Conv(3), BatchNorm(), F.gelu), {"block/branch/batchnorm2/scale"}),
        (block(BatchNorm(), F.relu, Conv(3)), {"block/branch/conv1/kernel"}),
        (
            Sequential(stem=Conv(3), block=Residual(Concat(a=Conv(1), b=Sequential(Conv(2, 1), BatchNorm())))),
            {"block/branch/a/kernel", "block/branch/b/batchnorm1/scale"},
        ),
        (
            block(Residual(Sequential(Conv(3), BatchNorm())), Conv(3), shortcut=Conv(3, 1)),
            {"block/branch/residual1/branch/batchnorm1/scale", "block/branch/conv1/kernel"},
        ),
        (surgery.edit(block(Conv(3)), {"block": F.tanh}), {"block/branch/conv1/kernel"}),
        (block(Conv(3), Pair()), {"block/branch/pair1/second/kernel"}),
    ],
    ids=["Goyal", "activation after", "preactivation", "concat", "nested", "edited", "two kernels"],
)
def test_each_block_starts_as_its_shortcut(net, zeroed):
    params, state = net.init(key, SPEC)
    params["block"] = jax.tree.map(lambda a: a, params["block"])
    zero = initialization.zero_residuals(net, params)
    assert changed(params, zero) == zeroed
    for path in zeroed:
        assert not np.any(at_path(zero, path))
    for train in (True, False):
        tapped = ["block/branch"]
        _, found = surgery.activations(net, zero, state, X, tapped, train=train)
        np.testing.assert_array_equal(found["block/branch"], 0)
    # Gradients reach what was set to zero.
    gradients = jax.grad(lambda p: jnp.sum(net.apply(p, state, X, train=True)[0] ** 3))(zero)
    assert any(np.any(at_path(gradients, path)) for path in zeroed)


def test_a_norm_that_starts_at_zero_makes_its_block_the_shortcut():
    net = block(Conv(3), BatchNorm(), F.relu, Conv(3), BatchNorm(scale_init=initializers.zeros))
    params, state = net.init(key, SPEC)
    assert changed(params, initialization.zero_residuals(net, params)) == set()
    np.testing.assert_array_equal(net.apply(params, state, X, train=True)[0], X)
    drawn = block(Conv(3), BatchNorm(scale_init=Normal(1.0)))
    zero = initialization.zero_residuals(drawn, drawn.init(key, SPEC)[0])
    np.testing.assert_array_equal(at_path(zero, "block/branch/batchnorm1/scale"), np.zeros(3))


def test_a_resnet_starts_as_a_shallow_net():
    net = cifar_resnet(8, width=4)
    spec = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
    params, _ = jax.eval_shape(net.init, key, spec)
    params = jax.tree.map(lambda a: np.ones(a.shape, np.float32), params)
    zero = initialization.zero_residuals(net, params)
    expected = {f"stage{s}/block1/residual/branch/norm2/scale" for s in (1, 2, 3)}
    assert changed(params, zero) == expected


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Sequential(Conv(3)), r"^zero_residuals: expected a net with Residual layers, got Sequential\. "),
        (
            block(F.relu),
            r"^zero_residuals: expected branches whose last layer .* has a scale or a kernel, got Sequential",
        ),
        (
            block(Conv(3), BatchNorm(use_scale=False)),
            r"^zero_residuals: expected branches whose last layer .* has a scale or a kernel, got BatchNorm\(use_",
        ),
        (
            block(Residual(Conv(3))),
            r"^zero_residuals: expected branches whose last layer .* has a scale or a kernel, got Residual",
        ),
        (
            block(Concat(left=ChannelChunk(0, 3), right=Conv(2))),
            r"^zero_residuals: expected branches whose last layer .* has a scale or a kernel, got ChannelChunk",
        ),
    ],
    ids=["none", "no parameters", "no scale", "ends with a block", "a part passes"],
)
def test_branches_that_cannot_be_zero(net, message):
    params, _ = net.init(key, SPEC)
    with pytest.raises(ValueError, match=message):
        initialization.zero_residuals(net, params)


def test_a_net_that_starts_as_the_identity():
    net = Sequential(
        conv=Conv(3, kernel_init=Dirac()), block=Residual(Sequential(Conv(3), BatchNorm())), p=GlobalAvgPool()
    )
    params, state = net.init(key, SPEC)
    y, _ = net.apply(initialization.zero_residuals(net, params), state, X, train=False)
    np.testing.assert_allclose(y, X.mean((1, 2)), rtol=1e-5)


def photographs(seed=0, shape=(40, 9, 8, 3)):
    """Return images whose pixels depend on their neighbours, with a mean that is not zero."""
    noise = np.random.default_rng(seed).normal(size=(*shape[:-3], shape[-3] + 2, shape[-2] + 2, shape[-1]))
    smooth = sum(noise[..., u : u + shape[-3], v : v + shape[-2], :] for u in range(3) for v in range(3)) / 3
    return jnp.asarray(0.7 + smooth @ np.array([[1, 0.6, 0.2], [0, 0.8, 0.3], [0, 0, 0.5]]), jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "eps"), [(2, 5e-4), ((3, 1), 0.1)])
def test_whitened_responses_are_uncorrelated(size, eps):
    x = photographs()
    kernel = initialization.patch_whitening(x, size, eps=eps)
    half = kernel.shape[-1] // 2
    assert half == math.prod(kernel.shape[:3])
    np.testing.assert_array_equal(kernel[..., half:], -kernel[..., :half])
    y = np.asarray(F.conv(x, kernel[..., :half], padding="VALID"), np.float64).reshape(-1, half)
    covariance = np.cov(y, rowvar=False, bias=True)
    # d / (d + eps) on the diagonal, d found from it, largest first.
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3
    assert (np.diag(covariance) <= 1 + 1e-4).all()
    assert (np.diff(np.diag(covariance)) <= 1e-5).all()
    if eps == 5e-4:
        np.testing.assert_allclose(covariance, np.eye(half), atol=0.1)


@pytest.mark.slow
def test_whitening_against_numpy_and_its_signs():
    x = photographs(1)
    with jax.enable_x64(True):
        kernel = np.asarray(initialization.patch_whitening(np.asarray(x, np.float64), 2, eps=1e-3))
        assert kernel.dtype == np.float64
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(x, np.float64), (2, 2), axis=(1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 12)
    variances, vectors = np.linalg.eigh(np.cov(patches, rowvar=False, bias=True))
    expected = vectors[:, ::-1] / np.sqrt(variances[::-1] + 1e-3)
    flat = kernel.reshape(12, 24)[:, :12]
    np.testing.assert_allclose(np.abs(flat), np.abs(expected), atol=1e-6)
    for column in flat.T:
        assert column[np.abs(column) >= np.abs(column).max() / 2][0] > 0
    np.testing.assert_allclose(initialization.patch_whitening(x, 2, eps=1e-3), kernel, atol=2e-3)


@pytest.mark.slow
def test_whitening_takes_any_leading_axes_dtypes_and_images_without_variance():
    x = photographs(2, (6, 5, 5, 3))
    kernel = initialization.patch_whitening(x)
    assert (kernel.shape, kernel.dtype) == ((2, 2, 3, 24), jnp.float32)
    np.testing.assert_array_equal(initialization.patch_whitening(x.reshape(2, 3, 5, 5, 3)), kernel)
    np.testing.assert_allclose(jax.jit(initialization.patch_whitening)(x), kernel, atol=1e-3)
    assert initialization.patch_whitening(x[0]).shape == (2, 2, 3, 24)
    assert initialization.patch_whitening(x.astype(jnp.bfloat16)).dtype == jnp.float32
    twice = jnp.concatenate([x, x], axis=-1)  # as many directions without variance, some a little below 0 by rounding
    assert np.isfinite(initialization.patch_whitening(twice, eps=1e-12)).all()
    flat = np.asarray(initialization.patch_whitening(jnp.full((3, 4, 4, 1), 0.3), 2, eps=0.01))
    assert np.isfinite(flat).all()
    np.testing.assert_allclose((flat**2).sum((0, 1, 2)), 100, rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.ones((4, 4), np.float32), {}, ValueError, r"expected images of shape \(\.\.\., H, W, C\), got \(4, 4\)\. "),
        (np.ones((2, 4, 4, 3), np.uint8), {}, TypeError, r"expected x of a floating dtype, got uint8\. "),
        (np.ones((2, 4, 4, 3), np.float32), {"kernel_size": 0}, ValueError, r"expected kernel_size as a positive int"),
        (
            np.ones((2, 4, 2, 3), np.float32),
            {"kernel_size": 3},
            ValueError,
            r"expected images of at least 3x3 pixels, ",
        ),
        (np.ones((0, 4, 4, 3), np.float32), {}, ValueError, r"expected at least one image, got \(0, 4, 4, 3\)\. Pass"),
        (np.ones((2, 4, 4, 3), np.float32), {"eps": 0.0}, ValueError, r"expected eps > 0, got 0\.0\. 5e-4 is usual"),
    ],
)
def test_whitening_rejects(x, options, error, message):
    with pytest.raises(error, match=f"^patch_whitening: {message}"):
        initialization.patch_whitening(x, **options)

"""Initial values that need images or the whole net: `jaxcnn.initializers` fills one array and sees its shape alone.

net = initialization.with_kernel_init(net, initializers.orthogonal)
params, state = net.init(key, train.spec)
params = initialization.lsuv(net, params, state, images)
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.checking import expect, expect_count, number, scalar, shown
from jaxcnn.functional.primitives.taps import taps
from jaxcnn.functional.window import Size, images, pair
from jaxcnn.initializers import Initializer
from jaxcnn.layers.composition import Concat, Residual, Sequential
from jaxcnn.layers.gate import Gate
from jaxcnn.layers.layer import Layer, Module, Params, State, apply, expect_arrays, expect_net, expect_spec, show
from jaxcnn.surgery import replace
from jaxcnn.surgery.tree import children_of, unwrapped

__all__ = ["lsuv", "patch_whitening", "with_kernel_init", "zero_residuals"]


def lsuv(
    net: Layer, params: Params, state: State, x: jax.Array, *, tolerance: float = 0.01, max_divisions: int = 10
) -> Params:
    """Return the parameters with each kernel scaled so that its layer's outputs on x have variance 1.

    Layer by layer, inputs before outputs: kernel <- kernel / std(y), y the layer's output over all images, pixels and
    channels, until |Var(y) - 1| <= tolerance. One division does it for layers without bias (or with bias 0). The
    paper starts from orthogonal kernels: `with_kernel_init(net, initializers.orthogonal)`.

    All of it is one forward pass, pure under `jit` and `vmap`. Doing it twice changes nothing the second time.

    Args:
        net: a layer; params, state: as from its `init`. Dropout and batch norm act as in inference.
        x: a batch of inputs, some hundreds of images of the training set.
        tolerance: how far from 1 a variance may stay, > 0.
        max_divisions: of one kernel. A layer whose output is constant, that standardizes its kernel, or whose biases
            alone vary more than 1, does not reach 1.

    Returns:
        Parameters of the same structure; all but leaves called `kernel` are as they were.

    Raises:
        ValueError: options out of range; a composite layer that does not return the state of its parts by name.

    Source: Mishkin and Matas 2016, algorithm 1; the variance is the whole output's, as there.
    """
    fix = "0.01 is one per cent of variance."
    expect_net("lsuv", net)
    expect_arrays("lsuv", "params", params)
    expect_arrays("lsuv", "state", state)
    expect_spec("lsuv", x)
    tolerance = number("lsuv", "tolerance > 0", tolerance, lambda t: t > 0, fix)
    max_divisions = expect_count("lsuv", "max_divisions", max_divisions, most=10**6)
    watched = replace(net, {layer: _UnitVariance(layer, tolerance, max_divisions) for layer in _leaves(net)})
    # What the wrapped layers return as state are their parameters: the state of the net is then the net's.
    scaled = jax.jit(lambda p, s, x: apply(watched, p, s, x, train=False)[1])(params, state, x)
    expect(
        jax.tree.structure(scaled) == jax.tree.structure(params),
        "lsuv",
        "layers with parameters that are no composites, and composites that return the state of their parts by name",
        "others",
        "See how Residual.apply hands on what its parts return.",
    )
    return scaled


def patch_whitening(x: jax.Array, kernel_size: Size = 2, *, eps: float = 5e-4) -> jax.Array:
    """Return a first kernel whose responses to these images are uncorrelated, and its negation.

    With V diag(d) V^T the covariance of the kh x kw patches of x, output i < n is v_i / sqrt(d_i + eps), and output
    n + i the negation of output i, so that a ReLU keeps both signs: the first n responses have covariance
    diag(d / (d + eps)), nearly the identity. `params["conv1"]["kernel"] = patch_whitening(...)` puts it into a net
    whose first layer is `Conv(2 * n, kernel_size, padding="VALID")`.

    The largest variance comes first. Of both signs of an eigenvector that one is taken whose first entry (row by row,
    channels fastest) of at least half the largest magnitude is positive.

    Args:
        x: images (..., H, W, C), floating, as the layer will see them (normalised): some thousands for a stable
            result. Memory: kh * kw times that of x.
        kernel_size: pixels, one int or (vertical, horizontal).
        eps: added to the variances, > 0, so that directions without any are not blown up.

    Returns:
        (kh, kw, C, 2 n), n = kh * kw * C, of x's dtype but at least float32.

    Raises:
        ValueError: wrong rank, images smaller than the patch or none at all, eps that is not positive.
        TypeError: x is not floating.

    Source: the whitening layer of Jordan's airbench (2024), after Page 2019 (How to train your ResNet 8); there the
    patches' mean, near zero in normalised images, is not subtracted, and the smallest variance comes first.
    """
    x = images("patch_whitening", x)
    kh, kw = pair("patch_whitening", "kernel_size", kernel_size)
    height, width, channels = x.shape[-3:]
    fix = "Use a smaller kernel or larger images."
    expect(height >= kh and width >= kw, "patch_whitening", f"images of at least {kh}x{kw} pixels", x.shape, fix)
    expect(x.size > 0, "patch_whitening", "at least one image", x.shape, "Pass some of the training images.")
    eps = scalar("patch_whitening", "eps > 0", eps, lambda e: e > 0, "5e-4 is usual.")
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(-1, height, width, channels)
    rows, columns = height - kh + 1, width - kw + 1
    patches = jnp.concatenate(list(taps(wide, (kh, kw), (1, 1))), axis=-1)
    patches = patches.reshape(len(wide), rows * columns, kh * kw * channels)
    patches -= patches.mean(axis=(0, 1))
    # Image by image and then the mean of all: sums of millions of numbers would lose digits in float32.
    products = jnp.einsum("npi,npj->nij", patches, patches, precision=lax.Precision.HIGHEST)
    variances, vectors = jnp.linalg.eigh(products.mean(axis=0) / (rows * columns))
    variances, vectors = jnp.maximum(variances[::-1], 0), vectors[:, ::-1]
    large = jnp.abs(vectors) >= jnp.abs(vectors).max(axis=0) / 2
    leading = jnp.take_along_axis(vectors, jnp.argmax(large, axis=0)[None], axis=0)
    half = (vectors * jnp.sign(leading) / jnp.sqrt(variances + eps)).reshape(kh, kw, channels, -1)
    return jnp.concatenate([half, -half], axis=-1)


def with_kernel_init(net: Layer, initializer: Initializer) -> Any:
    """Return the net with this `kernel_init` in every layer that has one, at any depth; its `init` then draws by it.

    Args:
        net: a layer.
        initializer: one of `jaxcnn.initializers`.

    Returns:
        A net with the same names.

    Raises:
        ValueError: no layer has a `kernel_init`. TypeError: no initializer.
    """
    expect_net("with_kernel_init", net)
    layers: list[Any] = [layer for layer in map(unwrapped, _leaves(net)) if hasattr(layer, "kernel_init")]
    fix = "Pass a net with convolutions or dense layers."
    expect(bool(layers), "with_kernel_init", "a net of layers with a kernel_init", type(net).__name__, fix)
    return replace(net, {layer: dataclasses.replace(layer, kernel_init=initializer) for layer in layers})


def zero_residuals(net: Layer, params: Params) -> Params:
    """Return the parameters under which every residual branch starts at zero, and each block as its shortcut.

    The last layer with parameters of each branch gets scale 0 where it is a normalization (Goyal et al.), else kernel
    0 (Zhang et al., for branches that end with a convolution). Gradients reach it at once, and the layers before it
    from the second step on; but not through a ReLU at the end of the branch, whose derivative at 0 is 0. What follows
    has to make zero of zero, as a sigmoid does not.

    Args:
        net: a layer with `Residual` layers, at any depth.
        params: its parameters, as from `init`: biases are 0 there and stay as they are.

    Returns:
        Parameters of the same structure.

    Raises:
        ValueError: no residual layer; a branch whose last layer, or a part beside it, has neither scale nor kernel.

    Source: Goyal et al. 2017, section 5.1; Zhang, Dauphin and Ma 2019 (Fixup), section 3.
    """
    where, found = "zero_residuals", 0

    def walk(module: Module, params: Params) -> Params:
        nonlocal found
        inner = unwrapped(module)
        children = inner.children() if isinstance(inner, Layer) else {}
        if not children:
            return params
        fix = "Pass the params that init returned for this net."
        expect(isinstance(params, Mapping), where, "params as nested dicts", shown(params), fix, TypeError)
        parts = {name: walk(child, params.get(name, {})) for name, child in children.items()}
        if isinstance(inner, Residual):
            found += 1
            parts["branch"] = _zeroed(inner.branch, parts["branch"])
        return {**params, **{name: part for name, part in parts.items() if name in params}}

    expect_net(where, net)
    expect_arrays(where, "params", params)
    params = walk(net, params)
    expect(found > 0, "zero_residuals", "a net with Residual layers", type(net).__name__, "Others have no branches.")
    return params


def _zeroed(module: Module, params: Params) -> Params:
    """Return parameters under which the module gives zero."""
    inner = unwrapped(module)
    children = inner.children() if isinstance(inner, Sequential | Concat) else {}
    # What a gate weighs is zero where its input is.
    owners = [name for name, child in children.items() if name in params and not isinstance(unwrapped(child), Gate)]
    if owners:
        last = owners[-1:] if isinstance(inner, Sequential) else list(children)  # of parts side by side each counts
        return {**params, **{name: _zeroed(children[name], params.get(name, {})) for name in last}}
    # Not a composite: of several kernels in a row one is enough, and with two the gradients of both would be zero.
    found = [] if isinstance(inner, Residual | Gate) else _paths(params, "scale") or _paths(params, "kernel")
    expect(
        bool(found),
        "zero_residuals",
        "branches whose last layer with parameters has a scale or a kernel",
        show(inner),
        "Let the normalization have a scale, or end the branch with a convolution.",
    )
    return jax.tree.map_with_path(lambda path, leaf: jnp.zeros_like(leaf) if path == found[-1] else leaf, params)


@dataclass(frozen=True)
class _UnitVariance(Layer):
    """A layer that scales its kernels by what comes out, and returns its parameters as its state."""

    inner: Layer
    tolerance: float
    max_divisions: int

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        def output(params: Params) -> jax.Array:
            return self.inner.apply(params, state, x, train=train)[0]

        def off(carry: tuple) -> jax.Array:
            divisions, _, y = carry
            return (divisions < self.max_divisions) & (jnp.abs(_variance(y) - 1) > self.tolerance)

        def divide(carry: tuple) -> tuple:
            divisions, params, y = carry
            variance = _variance(y)
            # Kernels in a row share the division.
            factor = jnp.where(variance > 0, variance, 1) ** (-0.5 / len(kernels))
            params = jax.tree.map_with_path(
                lambda path, leaf: (leaf * factor).astype(leaf.dtype) if path in kernels else leaf, params
            )
            return divisions + 1, params, output(params)

        kernels = _paths(params, "kernel")
        if not kernels:
            return output(params), params
        _, params, y = lax.while_loop(off, divide, (0, params, output(params)))
        return y, params


def _variance(y: jax.Array) -> jax.Array:
    return jnp.var(y, dtype=jnp.promote_types(y.dtype, jnp.float32))


def _paths(params: Params, name: str) -> list[tuple]:
    """Return the paths of the leaves called `name`."""
    paths = [path for path, _ in jax.tree.leaves_with_path(params)]
    return [path for path in paths if path and getattr(path[-1], "key", None) == name]


def _leaves(module: Module) -> set[Layer]:
    """Return the layers that are not made of others, as the net holds them: with what surgery has put around them."""
    if not isinstance(unwrapped(module), Layer):
        return set()
    children = children_of(module)
    return set().union(*map(_leaves, children.values())) if children else {module}  # pyrefly: ignore

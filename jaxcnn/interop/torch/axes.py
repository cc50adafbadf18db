"""The same numbers with other axes first.

PyTorch has kernels (C_out, C_in / groups, kh, kw), dense layers (out, in) and flattens (C, H, W); jaxcnn has
(kh, kw, C_in / groups, C_out), (in, out) and (H, W, C).
"""

from typing import Any

import jax
import numpy as np

from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.layers.auxiliary import Auxiliary
from jaxcnn.layers.composition import Sequential
from jaxcnn.layers.layer import Layer, Module, Spec, apply, init
from jaxcnn.layers.linear import Dense, Flatten
from jaxcnn.layers.transposed import ConvTranspose
from jaxcnn.surgery.tree import children_of, unwrapped

__all__ = ["flattened", "from_torch", "module_at", "to_torch"]


def from_torch(array: np.ndarray, leaf: str, flat: Any, shape: tuple[int, ...], module: Module) -> np.ndarray | None:
    """Return the array with our axes, a view where there can be one, or None where it does not have our shape."""
    if leaf == "kernel":
        # A convolution as large as the image is a dense layer after flattening.
        if flat and array.ndim >= 2 and np.prod(array.shape[1:]) == np.prod(flat):
            height, width, channels = flat
            array = array.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(len(array), np.prod(flat))
        if isinstance(module, ConvTranspose) and array.ndim == 4:
            array = _regrouped(array[:, :, ::-1, ::-1], module.groups).transpose(2, 3, 0, 1)
        else:
            array = array.transpose(*range(2, array.ndim), 1, 0) if array.ndim >= 2 else array
    elif _is_vector(flat, module) and array.size == np.prod(flat):
        height, width, channels = flat
        array = array.reshape(channels, height, width).transpose(1, 2, 0).reshape(-1)
    if array.shape != shape and [n for n in array.shape if n > 1] == [n for n in shape if n > 1]:
        array = array.reshape(shape)  # a 1x1 convolution is a dense layer, and the reverse
    return array if array.shape == shape else None


def to_torch(array: np.ndarray, leaf: str, flat: Any, module: Module, *, conv: bool = False) -> np.ndarray:
    """Return the array with PyTorch's axes; the kernel of a dense layer as that of a convolution if `conv`."""
    if leaf == "kernel":
        if isinstance(module, ConvTranspose):
            array = _regrouped(array.transpose(3, 2, 0, 1), module.groups).transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        else:
            array = array.transpose(-1, -2, *range(array.ndim - 2))
        if flat:
            array = array.reshape(-1, *flat).transpose(0, 3, 1, 2)
            array = array if conv else array.reshape(len(array), -1)
        elif conv:
            array = array[:, :, None, None]
    elif _is_vector(flat, module) and array.size == np.prod(flat):
        array = array.reshape(flat).transpose(2, 0, 1).reshape(-1)
    return np.ascontiguousarray(array)


def _is_vector(flat: Any, module: Module) -> bool:
    """Return whether the layer has a number for each entry of what was flattened: batch norm, and no dense layer."""
    return bool(flat) and not isinstance(module, Dense)


def _regrouped(array: np.ndarray, groups: int) -> np.ndarray:
    """Return (g a, b, ...) as (a, g b, ...): PyTorch counts the groups of a transposed convolution among its inputs."""
    split = array.reshape(groups, -1, *array.shape[1:])
    return split.swapaxes(0, 1).reshape(split.shape[1], -1, *array.shape[2:])


def module_at(net: Layer, path: str) -> Module:
    """Return the layer at a path, without what surgery has put around it."""
    module: Any = unwrapped(net)
    for name in path.split("/") if path else ():
        module = unwrapped(children_of(module).get(name, module))
    return module


def flattened(net: Module, spec: Spec) -> dict[str, tuple[int, int, int]]:
    """Return the (H, W, C) of what was flattened and is taken by a layer with arrays, up to a dense one, by path.

    Raises:
        ValueError: what was flattened goes through branches side by side, in which its order is lost sight of.
    """
    found: dict[str, tuple[int, int, int]] = {}

    def walk(module: Module, prefix: str, spec: Any, flat: Any) -> tuple[Any, Any]:
        inner = unwrapped(module)
        if isinstance(inner, Sequential):
            for name, child in inner.layers.items():
                spec, flat = walk(child, f"{prefix}{name}/", spec, flat)
            return spec, flat
        if isinstance(inner, Auxiliary):
            for head, _ in inner.taps:
                walk(inner.up_to(head), prefix, spec, flat)
            return walk(inner.main, prefix, spec, flat)
        children = children_of(inner)
        if children:
            left = [walk(child, f"{prefix}{name}/", spec, None)[1] for name, child in children.items()]
            where, fix = "interop.torch", "Flatten after them, or load the weights of the parts before alone."
            expect(not flat and not any(left), where, "branches of images", f"flattened ones in {prefix[:-1]!r}", fix)
        elif (inner is F.flatten or isinstance(inner, Flatten)) and len(spec.shape) == 4:
            flat = spec.shape[1:]
        params, state = jax.eval_shape(lambda: init(module, jax.random.key(0), spec))
        if flat and params:
            found[prefix[:-1]] = flat
            flat = None if isinstance(inner, Dense) else flat
        return jax.eval_shape(lambda p, s, x: apply(module, p, s, x, train=False)[0], params, state, spec), flat

    walk(net, "", spec, None)
    return found

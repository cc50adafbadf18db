"""What the playground shows of an image: functions of a net and an image that return what JSON can hold.

Pictures are data URIs of PNG files, with a pixel for each number; values are on the scale `largest`: from 0, or, where
a picture is `signed`, from -largest.
"""

import base64
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.attributions import Method, attributions
from experiments.apparatus.explanation import SHOWN
from jaxcnn import attack, surgery
from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_choice, expect_count, number
from jaxcnn.data.dataset import to_float
from jaxcnn.data.plain_png import to_plain_png
from jaxcnn.explain.inner import layer_shapes
from jaxcnn.functional.window import resolve_padding
from jaxcnn.interop.model import Model
from jaxcnn.layers import Conv, DepthwiseConv, StandardizedConv
from jaxcnn.layers.layer import Layer, Module, Params, State, apply
from jaxcnn.report.embed import data_uri
from jaxcnn.report.tiles import in_colours
from jaxcnn.surgery.tree import leaf_paths, modules, unwrapped, wrap_at
from jaxcnn.training import predictor

__all__ = [
    "MOST_EPSILON",
    "Subject",
    "about",
    "answer",
    "attacked",
    "attribution",
    "encoded",
    "layers",
    "pixel",
    "subject",
    "terms",
]

MOST_EPSILON = 0.5  # of full scale
STEPS = 20  # of PGD
MOST_MAPS = 64  # of a layer that are shown, and
MOST_PIXELS = 2**16  # of all of these together
PERCENTILE = 99.0  # of the magnitudes of an attribution: what has the full colour
FED = "fed"  # the place in front of a layer, where its input is read


@dataclass(frozen=True)
class Subject:
    """A net, and what is asked of it again and again.

    `net`: the model's, in which the inputs of convolutions can be read. `shapes`: of what its layers give for one
    image, (h, w, c), or (n,). `convolutions`: by path.
    """

    model: Model
    net: Layer
    shapes: Mapping[str, tuple[int, ...]]
    convolutions: Mapping[str, Any]
    methods: Mapping[str, Method]
    key: jax.Array

    @property
    def weights(self) -> tuple[Layer, Params, State]:
        """What explanations take."""
        return self.model.net, self.model.params, self.model.state


def subject(model: Model, seed: int = 0) -> Subject:
    """Return what the other functions take of a model of square images, grey or in colour.

    Raises:
        ValueError: a model of other images.
    """
    height, width, channels = model.spec.shape[1:]
    fix = "Images could neither be drawn nor read for it."
    expect(height == width and channels in (1, 3), "playground", "a model of square images", model.spec.shape, fix)
    weights = model.net, model.params, model.state
    x = jnp.zeros((1, height, width, channels))
    leaves = {path: unwrapped(modules(model.net)[path]) for path in leaf_paths(model.net)}
    shapes = {
        path: shape[1:] for path, shape in layer_shapes(*weights, x, list(leaves)).items() if len(shape) in (2, 4)
    }
    kinds = (Conv, DepthwiseConv, StandardizedConv)
    convolutions = {path: layer for path, layer in leaves.items() if path in shapes and isinstance(layer, kinds)}
    net = wrap_at("playground", model.net, dict.fromkeys(convolutions, functools.partial(_Fed, _same)))
    every = attributions(*weights, x)
    methods = {name: every[name].fn for name in SHOWN if name in every}
    return Subject(model, net, shapes, convolutions, methods, jax.random.key(seed))


def about(subject: Subject) -> dict[str, Any]:
    """Return what does not hang on the image: its size, classes, layers and methods."""
    kinds = modules(subject.model.net)
    return {
        "size": list(subject.model.spec.shape[1:]),
        "classes": list(subject.model.class_names),
        "methods": list(subject.methods),
        "most_epsilon": MOST_EPSILON,
        "layers": [
            {
                "path": path,
                "kind": _kind(unwrapped(kinds[path])),
                "shape": list(shape),
                "maps": shown_maps(shape),
                "convolution": path in subject.convolutions,
            }
            for path, shape in subject.shapes.items()
        ],
    }


def answer(subject: Subject, image: np.ndarray) -> dict[str, Any]:
    """Return the probability of every class for an image (H, W, C), uint8."""
    return {"shares": _shares(subject.model(image))}


def layers(subject: Subject, image: np.ndarray) -> dict[str, Any]:
    """Return a picture for each layer: its first maps, one below the other, on one scale; of numbers a row."""
    held = _held(subject, image)
    return {"layers": [_coloured(_maps(held[path])[: shown_maps(shape)]) for path, shape in subject.shapes.items()]}


def attribution(subject: Subject, image: np.ndarray, method: str, target: int | None) -> dict[str, Any]:
    """Return the picture of which pixels speak for a class, by one of the methods; None for the likeliest class.

    Values are summed over colours, and the scale ends at the 99th percentile of their magnitudes.
    """
    where = "attribution"
    expect_choice(where, f"method as one of {list(subject.methods)}", method, list(subject.methods))
    x = _floats(image)
    names = subject.model.class_names
    if target is None:
        target = int(np.argmax(subject.model(image)))
    target = expect_count(where, "target", target, 0, len(names) - 1)
    found = np.asarray(subject.methods[method](*subject.weights, x, jnp.array([target])), np.float64)[0]
    field = found.sum(axis=-1) if found.ndim == 3 else found
    return {"target": target, **_coloured(field[None], PERCENTILE)}


def attacked(subject: Subject, image: np.ndarray, epsilon: float) -> dict[str, Any]:
    """Return the image that PGD makes of an image, what was changed, and the probabilities it is then given.

    No value changes by more than epsilon, of full scale; the attack goes away from the class that the net gave.
    """
    fix = "Full scale is 1."
    within = f"epsilon from 0 to {MOST_EPSILON}"
    epsilon = number("attacked", within, epsilon, lambda value: 0 <= value <= MOST_EPSILON, fix)
    x = _floats(image)
    given = np.asarray(subject.model(x)).argmax(-1)
    changed = attack.pgd(
        subject.key, predictor(*subject.weights), x, jnp.asarray(given), epsilon=jnp.float32(epsilon), steps=STEPS
    )
    difference = np.asarray(changed - x, np.float64)[0].mean(axis=-1)
    return {
        "picture": _picture(np.rint(255 * np.asarray(changed[0])).astype(np.uint8)),
        "change": _picture(in_colours(difference, max(epsilon, 1e-12), signed=True)),
        "given": int(given[0]),
        "shares": _shares(subject.model(changed)[0]),
    }


def pixel(subject: Subject, image: np.ndarray, layer: str, channel: int, row: int, column: int) -> dict[str, Any]:
    """Return the value of one pixel of a map, and for a convolution where it comes from: see `terms`."""
    where = "pixel"
    maps = [path for path, shape in subject.shapes.items() if len(shape) == 3]
    expect_choice(where, f"layer as one of {maps}", layer, maps)
    height, width, features = subject.shapes[layer]
    channel = expect_count(where, "channel", channel, 0, features - 1)
    row, column = expect_count(where, "row", row, 0, height - 1), expect_count(where, "column", column, 0, width - 1)
    held = _held(subject, image)
    found: dict[str, Any] = {"value": float(held[layer][row, column, channel])}
    if layer in subject.convolutions:
        params = functools.reduce(lambda tree, name: tree[name], layer.split("/"), subject.model.params)
        fed = held[f"{layer}/{FED}"]
        parts = terms(subject.convolutions[layer], params, fed, channel, row, column)
        inputs = _coloured(_maps(fed)[parts["channels"]])
        found |= parts | {"inputs": inputs["picture"], "maps": len(parts["channels"]), "size": list(fed.shape[:2])}
    return found


def terms(layer: Any, params: Params, x: np.ndarray, channel: int, row: int, column: int) -> dict[str, Any]:
    """Return the terms of y[row, column, channel] = bias + sum_{c, u, v} patch[c, u, v] kernel[c, u, v].

    Args:
        layer: a `Conv`, `DepthwiseConv` or `StandardizedConv`.
        params: its kernel (kh, kw, C_in / groups, C_out) and, perhaps, bias.
        x: what it is fed, (H, W, C_in).
        channel, row, column: the place in what it gives.

    Returns:
        channels: the input channels that it sees. rows, columns: of x, under the kernel; those outside are padding.
        patch, kernel, products: a (kh, kw) list of lists for each channel, None where the patch is padding. sums: of
        the products of each channel. bias, sum: sum is that of `sums` and bias.
    """
    kernel = jnp.asarray(params["kernel"])
    if isinstance(layer, StandardizedConv):
        kernel = F.weight_standardization(kernel, eps=layer.eps)
    kh, kw, per_group, features = kernel.shape
    groups = x.shape[-1] // per_group
    first = channel // (features // groups) * per_group
    pads = resolve_padding("terms", layer.padding, x.shape[:2], (kh, kw), layer.stride, layer.dilation)
    rows, columns = (
        at * stride - before + gap * np.arange(taps)
        for at, stride, (before, _), gap, taps in zip(
            (row, column), layer.stride, pads, layer.dilation, (kh, kw), strict=True
        )
    )
    known = np.outer((rows >= 0) & (rows < x.shape[0]), (columns >= 0) & (columns < x.shape[1]))
    seen = np.asarray(x, np.float64)[rows.clip(0, x.shape[0] - 1)][:, columns.clip(0, x.shape[1] - 1)]
    patch = np.where(known, np.moveaxis(seen[..., first : first + per_group], -1, 0), 0.0)
    weights = np.moveaxis(np.asarray(kernel[..., channel], np.float64), -1, 0)
    products = patch * weights
    sums = products.sum(axis=(1, 2))
    bias = float(params["bias"][channel]) if "bias" in params else 0.0
    return {
        "channels": list(range(first, first + per_group)),
        "rows": rows.tolist(),
        "columns": columns.tolist(),
        "patch": np.where(known, patch, None).tolist(),
        "kernel": weights.tolist(),
        "products": products.tolist(),
        "sums": sums.tolist(),
        "bias": bias,
        "sum": float(sums.sum() + bias),
    }


def encoded(image: np.ndarray) -> str:
    """Return the pixels of an image as the page sends them: their bytes in base64."""
    return base64.b64encode(image.tobytes()).decode()


def shown_maps(shape: Sequence[int]) -> int:
    """Return how many maps of a layer are shown."""
    height, width, count = shape if len(shape) == 3 else (1, *shape, 1)
    return max(min(count, MOST_MAPS, MOST_PIXELS // (height * width)), 1)


@dataclass(frozen=True)
class _Fed(Layer):
    """A layer with a place in front of it, at which its input can be read; its parameters and state are its own."""

    fed: Module
    layer: Module

    def children(self) -> dict[str, Module]:
        return {FED: self.fed, "layer": self.layer}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        x, seen = apply(self.fed, {}, {}, x, train=train)
        y, new = apply(self.layer, params, state, x, train=train, key=key)
        return y, {FED: seen, "layer": new}


def _same(x: jax.Array) -> jax.Array:
    return x


def _held(subject: Subject, image: np.ndarray) -> dict[str, np.ndarray]:
    """Return what every layer gives for an image, and what convolutions are fed, without batch axis."""
    at = (*subject.shapes, *(f"{path}/{FED}" for path in subject.convolutions))
    found = _inside(subject.model.params, subject.model.state, _floats(image), net=subject.net, at=at)
    return {path: np.asarray(array[0], np.float32) for path, array in found.items()}


@functools.partial(jax.jit, static_argnames=("net", "at"))
def _inside(params: Params, state: State, x: jax.Array, *, net: Layer, at: tuple[str, ...]) -> dict[str, jax.Array]:
    return surgery.activations(net, params, state, x, at)[1]


def _floats(image: np.ndarray) -> jax.Array:
    return to_float(jnp.asarray(image)[None])


def _shares(logits: jax.Array) -> list[float]:
    return np.asarray(jax.nn.softmax(logits.astype(jnp.float32)), np.float64).tolist()


def _maps(held: np.ndarray) -> np.ndarray:
    """Return maps (h, w, c) as (c, h, w), numbers (n,) as a map of one row."""
    return np.moveaxis(held, -1, 0) if held.ndim == 3 else held[None, None]


def _coloured(maps: np.ndarray, percentile: float = 100.0) -> dict[str, Any]:
    """Return maps (n, h, w) on one scale as a picture (n h, w)."""
    finite = np.abs(maps[np.isfinite(maps)])
    largest = float(np.percentile(finite, percentile) or finite.max()) if finite.size else 0.0
    signed = bool(maps.min(initial=0.0, where=np.isfinite(maps)) < 0)
    colours = in_colours(maps, largest or 1.0, signed)
    return {"picture": _picture(colours.reshape(-1, *colours.shape[2:])), "largest": largest, "signed": signed}


def _picture(image: np.ndarray) -> str:
    return data_uri(to_plain_png(image))


def _kind(layer: Module) -> str:
    return repr(layer) if isinstance(layer, Layer) else getattr(layer, "__name__", "function")

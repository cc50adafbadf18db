"""Layers made of layers, layers that do nothing at inference, and layers with another function after them."""

from typing import Any

from jaxcnn.interop.onnx.site import Site, Value, is_images, register
from jaxcnn.layers.auxiliary import Auxiliary
from jaxcnn.layers.composition import Concat, Residual, Sequential
from jaxcnn.layers.gate import Gate
from jaxcnn.layers.noise import DropBlock, Dropout, DropPath, SpatialDropout
from jaxcnn.surgery.taps import Edited

__all__: list[str] = []


@register(Sequential)
def _sequential(site: Site, x: Value) -> Any:
    for name in site.layer.layers:
        x = site.child(name, x)
    return x


@register(Residual)
def _residual(site: Site, x: Value) -> Value:
    around = x if site.layer.shortcut is None else site.child("shortcut", x)
    return site.op("Add", site.child("branch", x), around)


@register(Concat)
def _concat(site: Site, x: Value) -> Value:
    return site.op("Concat", *(site.child(name, x) for name in site.layer.children()), axis=1)


@register(Gate)
def _gate(site: Site, x: Value) -> Value:
    gate = site.child("branch", x)
    if is_images(x) and not is_images(gate):
        gate = site.op("Unsqueeze", gate, site.array("axes", [2, 3]))
    return site.op("Mul", x, gate)


@register(Auxiliary)
def _auxiliary(site: Site, x: Value) -> dict[str, Value]:
    heads = {}
    for name in site.layer.main.layers:
        x = site.child(name, x)
        heads |= {head: site.child(head, x) for head, at in site.layer.taps if at == name}
    return {"logits": x, **heads}


@register(Dropout, SpatialDropout, DropPath, DropBlock)
def _nothing(site: Site, x: Value) -> Value:
    return x


@register(Edited)
def _edited(site: Site, x: Value) -> Any:
    y = site.graph.emit(site.layer.inner, site.params, site.state, site.path, x)
    return site.graph.emit(site.layer.fn, {}, {}, site.path, y)

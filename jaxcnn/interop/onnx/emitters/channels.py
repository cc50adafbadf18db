"""Layers that take some of the channels, put them in another order, or scale each."""

import numpy as np

from jaxcnn import functional as F
from jaxcnn.interop.onnx.site import Site, Value, channels_of, is_images, register, size_of
from jaxcnn.layers.channels import ChannelChunk, ChannelShuffle
from jaxcnn.layers.layer_scale import LayerScale
from jaxcnn.layers.normalize import Normalize
from jaxcnn.models.cifar_resnet import PadShortcut

__all__: list[str] = []

END = np.iinfo(np.int64).max


@register(ChannelShuffle)
def _channel_shuffle(site: Site, x: Value) -> Value:
    channels, groups = channels_of(x), site.layer.groups
    size = size_of(x) if is_images(x) else ()
    split = site.op("Reshape", x, site.array("split", [0, groups, channels // groups, *size]))
    turned = site.op("Transpose", split, perm=[0, 2, 1, 3, 4][: 3 + len(size)])
    return site.op("Reshape", turned, site.array("joined", [0, channels, *size]))


@register(F.channel_shuffle)
def _function(site: Site, x: Value) -> Value:
    return site.through(ChannelShuffle(), x)


@register(ChannelChunk)
def _channel_chunk(site: Site, x: Value) -> Value:
    size = channels_of(x) // site.layer.chunks
    start = site.layer.index * size
    places = [("starts", [start]), ("ends", [start + size]), ("axes", [1])]
    return site.op("Slice", x, *(site.array(name, value) for name, value in places))


@register(PadShortcut)
def _pad_shortcut(site: Site, x: Value) -> Value:
    stride, new = site.layer.stride, site.layer.features - channels_of(x)
    places = [("starts", [0, 0]), ("ends", [END, END]), ("axes", [2, 3]), ("steps", [stride, stride])]
    taken = site.op("Slice", x, *(site.array(name, value) for name, value in places))
    return site.op("Pad", taken, site.array("pads", [0, new // 2, 0, 0, 0, new - new // 2, 0, 0]))


@register(LayerScale)
def _layer_scale(site: Site, x: Value) -> Value:
    return site.op("Mul", x, site.along_channels("scale", site.parameter("scale"), x))


@register(Normalize)
def _normalize(site: Site, x: Value) -> Value:
    shifted = site.op("Sub", x, site.along_channels("mean", site.layer.mean, x))
    return site.op("Div", shifted, site.along_channels("std", site.layer.std, x))

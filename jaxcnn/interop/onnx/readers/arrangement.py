"""Operators that arrange numbers otherwise: axes, shapes, parts of the channels, zeros around."""

import numpy as np

from jaxcnn.interop.onnx.flow import COLUMN, FIRST, LAST, VECTOR, Call, Flow, Part, read_by
from jaxcnn.layers.channels import ChannelChunk, ChannelShuffle
from jaxcnn.layers.linear import Flatten
from jaxcnn.layers.pooling import MaxPool
from jaxcnn.models.cifar_resnet import PadShortcut

__all__: list[str] = []

GROUPS, SHUFFLED = "(N, groups, C / groups, H, W)", "(N, C / groups, groups, H, W)"
TURNS = {(FIRST, (0, 2, 3, 1)): LAST, (LAST, (0, 3, 1, 2)): FIRST, (VECTOR, (0, 1)): VECTOR}
END = 2**31 - 1


@read_by("Transpose", axes=(FIRST, LAST, VECTOR, GROUPS))
def _transpose(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    perm = call.option("perm", ())
    if flow.axes == GROUPS:
        call.need(perm == (0, 2, 1, 3, 4), "perm (0, 2, 1, 3, 4) of channels in groups", perm)
        return [], flow.now(axes=SHUFFLED)
    call.need((flow.axes, perm) in TURNS, "perm between (N, C, H, W) and (N, H, W, C)", perm)
    return [], flow.now(axes=TURNS[flow.axes, perm])


@read_by("Flatten", axes=(FIRST, LAST, VECTOR, COLUMN))
def _flatten(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    axis = call.option("axis", 1)
    call.need(axis in (1, 1 - len(flow.shape) - 1), "axis 1", axis)
    return _as_vector(flow)


def _as_vector(flow: Flow) -> tuple[list[Part], Flow]:
    if flow.axes in (VECTOR, COLUMN):
        return [], flow.now(axes=VECTOR)
    height, width, channels = flow.shape
    same = flow.axes == LAST or height * width == 1 or channels == 1
    return [Part(Flatten())], flow.now(axes=VECTOR, order=None if same else (channels, height, width))


@read_by("Squeeze", axes=(FIRST, COLUMN))
def _squeeze(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    axes = tuple(sorted(axis % 4 for axis in call.whole(1, "axes")))
    call.need(axes == (2, 3) and (flow.axes == COLUMN or flow.shape[:2] == (1, 1)), "axes 2 and 3 of one pixel", axes)
    return _as_vector(flow)


@read_by("Unsqueeze", axes=(VECTOR,))
def _unsqueeze(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    axes = tuple(sorted(axis % 4 for axis in call.whole(1, "axes")))
    call.need(axes == (2, 3), "axes 2 and 3", axes)
    return [], flow.now(axes=COLUMN)


@read_by("Reshape", axes=(FIRST, LAST, VECTOR, COLUMN, SHUFFLED))
def _reshape(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    shape = call.whole(1, "shape")
    total = int(np.prod(flow.shape))
    batch = shape[0] if shape else 1
    rest = shape[1:]
    call.need(batch in (0, -1) or batch > 0, "the batch first", shape)
    known = int(np.prod([n for n in rest if n != -1]))
    call.need(
        rest.count(-1) <= 1 - (batch == -1) and 0 not in rest and min(rest, default=0) >= -1, "a plain shape", shape
    )
    call.need(known > 0 and total % known == 0, f"a shape of {total} numbers", shape)
    rest = tuple(total // known if n == -1 else n for n in rest)
    call.need(int(np.prod(rest)) == total, f"a shape of {total} numbers", shape)
    if rest == (total,) and flow.axes != SHUFFLED:
        return _as_vector(flow)
    if flow.axes in (VECTOR, COLUMN):
        call.need(rest == (total, 1, 1) and flow.order is None, "a shape of vectors or of one pixel", shape)
        return [], flow.now(axes=COLUMN)
    height, width, channels = flow.shape
    if flow.axes == FIRST and len(rest) == 4:
        call.need(rest[2:] == (height, width), "groups of channels", shape)
        return [], flow.now(axes=GROUPS, groups=rest[0])
    call.need(
        flow.axes == SHUFFLED and rest == (channels, height, width), "a shape of images as before, or of vectors", shape
    )
    return [Part(ChannelShuffle(flow.groups))], flow.now(axes=FIRST, groups=1)


@read_by("Split")
def _split(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    axis, parts = call.option("axis", 0), call.option("parts", 1)
    sizes = call.whole(1, "split", (flow.channels // parts,) * parts)
    even = flow.channels % parts == 0 and set(sizes) == {flow.channels // parts} and len(sizes) == parts
    call.need(axis in (1, -3) and even, "equal parts of the channels", (axis, sizes))
    return [Part(ChannelChunk(call.option("index", 0), parts))], flow


@read_by("Slice")
def _slice(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    starts, ends = call.whole(1, "starts"), call.whole(2, "ends")
    axes = call.whole(3, "axes", tuple(range(len(starts))))
    steps = call.whole(4, "steps", (1,) * len(starts))
    call.need(
        len(starts) == len(ends) == len(axes) == len(steps), "as many ends as starts", (starts, ends, axes, steps)
    )
    axes = tuple(axis % 4 for axis in axes)
    if axes == (1,) and steps == (1,):
        channels = flow.channels
        start, end = (n + channels if n < 0 else min(n, channels) for n in (starts[0], ends[0]))
        size = end - start
        call.need(
            size > 0 and channels % size == 0 and start % size == 0, "one of equal parts of the channels", (start, end)
        )
        return [Part(ChannelChunk(start // size, channels // size))], flow
    whole = axes == (2, 3) and starts == (0, 0) and min(ends) >= END and min(steps) > 0
    call.need(whole, "a part of the channels, or every so many pixels", (axes, starts, ends, steps))
    return [Part(MaxPool(1, stride=steps))], flow


@read_by("Pad")
def _pad(call: Call, flow: Flow) -> tuple[list[Part], Flow]:
    mode, pads = call.option("mode", "constant"), call.whole(1, "pads")
    value = float(call.array(2).sum()) if call.given(2) else call.option("value", 0.0)
    plain = mode == "constant" and value == 0 and not call.given(3)
    call.need(plain and len(pads) == 8 and min(pads) >= 0, "zeros before and after four axes", (mode, value, pads))
    before, after = pads[:4], pads[4:]
    call.need(before[0] == after[0] == 0, "none along the batch", pads)
    if before[1] + after[1] == 0:
        return [], flow.now(pads=((before[2], after[2]), (before[3], after[3])))
    new = before[1] + after[1]
    ours = (*before, *after) == (0, new // 2, 0, 0, 0, new - new // 2, 0, 0)
    call.need(ours, "new channels half before and half after", pads)
    return [Part(PadShortcut(flow.channels + new, 1))], flow

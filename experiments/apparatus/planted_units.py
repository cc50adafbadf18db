"""A net built by hand whose units are known detectors: does a dissection find what was planted, and nothing else?

Its images have the shapes of scenes in exact colours: three tones of each, one where the texture is plain and two by
turns, in columns or in rows, where it is stripes or waves; and a channel of noise beside them. Of its units ten detect
a colour each and two an orientation of lines, by convolutions written down below; the others are random filters that
see the noise alone.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import data, report
from jaxcnn import functional as F
from jaxcnn.data.scenes import COLOURS, TEXTURES
from jaxcnn.data.scenes.palette import tones
from jaxcnn.explain import dissection
from jaxcnn.layers import Concat, Conv, Sequential

__all__ = ["LINES", "PLANTED", "painted", "planted_concepts", "planted_found", "planted_net", "planted_section"]

LINES = ("columns", "rows")
PLANTED = (*(("colour", name) for name in COLOURS), *(("lines", name) for name in LINES))
"""Category and concept of the first units, in order."""


def painted(key: jax.Array, examples: Mapping[str, Any]) -> np.ndarray:
    """Return the images, uint8 (N, S, S, 4), of scenes: three colours and noise."""
    colour, lines = np.asarray(examples["colour_mask"]), _lines(examples)
    y, x = np.indices(colour.shape[1:])
    tone = np.select([lines == 1, lines == 2], [1 + x % 2, 1 + y % 2], 0)
    noise = np.asarray(jax.random.bits(key, (*colour.shape, 1), "uint8"))
    return np.concatenate([_palette()[colour, tone], noise], axis=-1)


def planted_concepts(examples: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the masks and names of what is planted, as `dissect` takes them."""
    masks = {"colour": np.asarray(examples["colour_mask"]), "lines": _lines(examples)}
    return masks, {"colour": COLOURS, "lines": (None, *LINES)}


def planted_net(key: jax.Array, random: int = 20) -> tuple[Sequential, Any]:
    """Return the net, whose layer "units" has the planted units first and then so many random ones, and its params."""
    palette = _palette().reshape(-1, 3).astype(np.float32) / 255
    count = len(palette)
    apart = np.abs(palette[:, None] - palette[None]).sum(-1)
    sharpness = 9 / apart[apart > 0].min()
    # |x - c| of each channel and tone, as the sum of two rectified differences; no weight sees the noise.
    differ = np.zeros((1, 1, 4, count, 3, 2), np.float32)
    for channel in range(3):
        differ[..., channel, :, channel, :] = 1, -1
    match = np.repeat(np.eye(count, dtype=np.float32), 6, axis=0)[None, None]
    tone = {
        "differ": {"kernel": differ.reshape(1, 1, 4, -1), "bias": -(palette[..., None] * [1, -1]).ravel()},
        "match": {"kernel": -sharpness * match, "bias": np.full(count, 9.0)},  # 6 (at most) of this tone, 0 of others
    }
    of_colour = np.repeat(np.eye(len(COLOURS)), 3, axis=0)[None, None]
    # +1 and -1 by turns along the lines' normal, 0 where it is plain; second differences across and down.
    turns = np.tile([0.0, 1.0, -1.0], len(COLOURS))[:, None]
    across = np.array([[0, 0, 0], [-1, 2, -1], [0, 0, 0]])[..., None, None]
    down = across.transpose(1, 0, 2, 3)
    second = np.concatenate([turns * kernel for kernel in (across, -across, down, -down)], axis=-1)
    columns = np.array([[1, -1], [1, -1], [-1, 1], [-1, 1]])[None, None]
    noise = np.asarray(jax.random.normal(key, (3, 3, 1, random)))
    params = {
        "colours": {**tone, "sum": {"kernel": of_colour}},
        "lines": {**tone, "second": {"kernel": second}, "compare": {"kernel": columns, "bias": np.full(2, -6.0)}},
        "random": {"conv": {"kernel": np.concatenate([np.zeros((3, 3, 3, random)), noise], axis=2)}},
    }
    matched = {"differ": Conv(6 * count, 1), "act1": F.relu, "match": Conv(count, 1), "act2": F.relu6}
    net = Sequential(
        units=Concat(
            colours=Sequential(**matched, sum=Conv(len(COLOURS), 1, use_bias=False)),
            lines=Sequential(
                **matched, second=Conv(4, 3, use_bias=False), act3=F.relu, compare=Conv(2, 1), act4=F.relu6
            ),
            random=Sequential(conv=Conv(random, 3, use_bias=False), act=F.relu),
        )
    )
    return net, {"units": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)}


def _palette() -> np.ndarray:
    """Return three tones of each colour, uint8 (colours, 3, 3): its own, a lighter and a darker one."""
    number, some = jnp.arange(len(COLOURS)), jnp.full((4, len(COLOURS)), 0.5)
    ground = jnp.zeros(len(COLOURS), bool)
    own, lighter = tones(number, some.at[3].set(0.25), ground=ground)
    _, darker = tones(number, some.at[3].set(0.75), ground=ground)
    return np.asarray(jnp.rint(255 * jnp.stack([own, lighter, darker], 1))).astype(np.uint8)


def _lines(examples: Mapping[str, Any]) -> np.ndarray:
    """Return 1 for columns, where scenes have stripes, 2 for rows, where they have waves, 0 elsewhere."""
    texture = np.asarray(examples["texture_mask"])
    return np.select([texture == TEXTURES.index("stripes"), texture == TEXTURES.index("waves")], [1, 2], 0)


def planted_found(scenes: int, shuffles: int, key: jax.Array) -> dict[str, Any]:
    """Return whether a dissection finds the units of the net built by hand, on so many scenes."""
    scenes_key, noise_key, net_key, shuffle_key = jax.random.split(key, 4)
    examples = data.Scenes().dataset(scenes_key, scenes)
    net, params = planted_net(net_key)
    masks, names = planted_concepts(examples)
    one = dissection.dissect(
        net, params, {}, painted(noise_key, examples), masks, names=names, at="units", shuffles=shuffles,
        key=shuffle_key,
    )  # fmt: skip
    count = len(PLANTED)
    rows = sorted(one.rows(), key=lambda row: row["unit"])
    named = [(row["category"], row["concept"]) for row in rows[:count]]
    right = [row["iou"] if name == planted else 0.0 for row, name, planted in zip(rows, named, PLANTED, strict=False)]
    return {
        "units": count,
        "found": sum(iou > 0.9 for iou in right),
        "lowest_iou": min(right),
        "random": len(rows) - count,
        "random_highest_iou": float(one.best_iou[count:].max()),
        "random_beyond_chance": int(one.beyond_chance[count:].sum()),
        "chance": one.chance,
        "rows": rows[:count],
    }


def planted_section(planted: Mapping[str, Any]) -> report.Section:
    """Return what was found of the net built by hand."""
    rows = [
        {"unit": row["unit"], "found as": f"{row['category']} {row['concept']}", "IoU": round(row["iou"], 4)}
        for row in planted["rows"]
    ]
    words = (
        f"A net built by hand on {planted['units']} known detectors, ten of exact colours and two of the orientation "
        f"of lines: {planted['found']} are found with an IoU above 0.9. Beside them {planted['random']} random filters "
        f"that see noise have an IoU of {planted['random_highest_iou']:.4f} at most; by chance, with masks of other "
        f"images, the highest IoU of all units is {planted['chance']:.4f}."
    )
    return report.Section("Does it find what is planted?", [words, report.Table(rows, folded=True)])

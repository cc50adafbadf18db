"""A classifier without its end: what nets for pixels and boxes stand on."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, is_int, shown
from jaxcnn.layers import Sequential

__all__ = ["cut_backbone", "stride_of"]

FAR = 4096  # pixels of an image whose size, at any usual stride, is that of the map times the stride


def cut_backbone(where: str, backbone: Any, name: str, count: Any, fix: str) -> tuple[Sequential, list[int]]:
    """Return a classifier's parts up to its last stage, and after how many of them each of the last stages ends.

    Args:
        where: the function whose arguments are checked.
        backbone: a classifier with parts called "stage1", "stage2" and so on.
        name, count: of the option that says how many stages before the last one are asked for.
        fix: what to do where the count is wrong.

    Raises:
        ValueError: no part called so; a count that is none, or not below the number of stages.
        TypeError: the backbone is no Sequential.
    """
    ok, other = isinstance(backbone, Sequential), "Pass models.resnet(50), say."
    expect(ok, where, "backbone as a Sequential", shown(backbone), other, TypeError)
    parts = list(backbone.layers)
    stages = [part for part in parts if part.startswith("stage")]
    fix_parts = "Pass models.resnet(50), say, or rename its parts."
    expect(bool(stages), where, 'a backbone with parts called "stage1", "stage2"', f"{shown(parts)}", fix_parts)
    ok = is_int(count, 0, len(stages) - 1)
    expect(ok, where, f"{name}, fewer than the {len(stages)} stages {stages}", shown(count), fix)
    ends = [parts.index(stage) + 1 for stage in stages[-1 - int(count) :]]
    return backbone[: ends[-1]], ends


def stride_of(body: Sequential) -> int:
    """Return the pixels of an image between those of the map that a net makes of it; nothing is computed of the net."""
    spec = jax.ShapeDtypeStruct((1, FAR, FAR, 3), jnp.float32)

    def made(key: jax.Array, x: jax.Array) -> jax.Array:
        return body.apply(*body.init(key, spec), x, train=False)[0]

    return round(FAR / jax.eval_shape(made, jax.random.key(0), spec).shape[1])

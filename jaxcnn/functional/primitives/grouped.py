"""Several groups of channels: dense convolutions one after another."""

import jax
import jax.numpy as jnp

from jaxcnn.functional.primitives.dense import DENSE
from jaxcnn.functional.primitives.geometry import Form, Forms, Geometry
from jaxcnn.functional.primitives.parts import joined

__all__ = ["GROUPED"]


def _grouped(form: Form) -> Form:
    """Return the form of several groups, which lie outermost on the last axis of images, maps and kernels."""

    def split(a: jax.Array, groups: int) -> jax.Array:
        return jnp.moveaxis(a.reshape(*a.shape[:-1], groups, -1), -2, 0)

    def run(a: jax.Array, b: jax.Array, geometry: Geometry) -> jax.Array:
        groups = geometry.groups
        one = geometry._replace(channels=geometry.channels // groups, features=geometry.features // groups, groups=1)
        y = joined(lambda a, b: form(a, b, one), (split(a, groups), split(b, groups)))
        return jnp.moveaxis(y, 0, -2).reshape(*y.shape[1:-1], -1)

    return run


GROUPED = Forms(*map(_grouped, DENSE[:3]), sequential=True)

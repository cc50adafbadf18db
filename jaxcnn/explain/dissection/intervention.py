"""Nets with units switched off, or held at a value."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, is_int, plain, scalar, shown
from jaxcnn.layers.layer import Layer
from jaxcnn.surgery import edit

__all__ = ["Held", "ablate", "force"]

Units = int | Sequence[int] | np.ndarray | jax.Array


def ablate(net: Layer, at: str, units: Units) -> Any:
    """Return the net with units of a layer switched off: they give 0, whatever is shown.

    The same as `force` with the value 0.

    Args:
        net: a net.
        at: the path of a layer, at any depth; its units are the channels of its output's last axis.
        units: one or several, from 0 on; or an integer array (n,), which may be traced, so that one program serves all
            units.

    Returns:
        A net that takes the same params and state.

    Raises:
        ValueError: an unknown path, a unit below 0; and, as the net is applied, a unit that the layer has not.
        TypeError: units that are not integers.

    Source: Bau et al. 2020, section "the role of units in a classifier"; Zhou et al. 2018, "Revisiting the importance
    of individual units in CNNs via ablation".
    """
    return edit(net, {at: Held("ablate", _units("ablate", units), 0.0)})


def force(net: Layer, at: str, units: Units, value: Any) -> Any:
    """Return the net with units of a layer held at a value: what would it say if it saw their concept everywhere?

    Args:
        net, at, units: as for `ablate`.
        value: a number, which may be traced.

    Returns:
        A net that takes the same params and state.

    Raises:
        ValueError, TypeError: as `ablate`; a value that is no number.

    Source: Bau et al. 2019, "GAN dissection" (units on and off).
    """
    value = plain(scalar("force", "value as a number", value, np.isfinite, "Pass 0.0, or a unit's threshold."))
    return edit(net, {at: Held("force", _units("force", units), value)})


@dataclass(frozen=True)
class Held:
    """A layer's output with some units at a value; units that are no unit's number change nothing."""

    where: str = field(compare=False)
    units: Any
    value: Any

    def __call__(self, y: jax.Array) -> jax.Array:
        """Return the output, of y's shape and dtype."""
        if isinstance(self.units, tuple):
            highest, count = max(self.units, default=-1), y.shape[-1]
            expect(highest < count, self.where, f"units of a layer with {count}", highest, "They count from 0.")
        units = jnp.atleast_1d(jnp.asarray(self.units, jnp.int32))
        chosen = (jnp.arange(y.shape[-1]) == units[:, None]).any(axis=0)
        return jnp.where(chosen, jnp.asarray(self.value, y.dtype), y)


def _units(where: str, units: Any) -> Any:
    """Return known units as a tuple, so that equal nets are equal; traced ones as they are."""
    fix = "Pass units=[3, 17], say."
    if isinstance(units, jax.core.Tracer):
        ok = units.ndim <= 1 and jnp.issubdtype(units.dtype, jnp.integer)
        expect(ok, where, "units as an integer array of one axis", shown(units), fix, TypeError)
        return units
    listed = [units] if is_int(units) else list(units) if isinstance(units, Sequence | np.ndarray | jax.Array) else None
    ok = listed is not None and not isinstance(units, str) and all(is_int(unit) for unit in listed)
    expect(ok, where, "units as integers", shown(units), fix, TypeError)
    expect(all(int(unit) >= 0 for unit in listed), where, "units from 0 on", shown(units), fix)  # pyrefly: ignore
    return tuple(int(unit) for unit in listed)  # pyrefly: ignore

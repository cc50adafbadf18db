"""Which device holds what: batches cut into rows, parameters whole on every device or cut along a second axis."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxcnn.checking import expect, expect_count, shown

__all__ = [
    "device_mesh",
    "mesh_of",
    "own_rows",
    "placed",
    "placed_rows",
    "replicated",
    "rows",
    "state_shardings",
    "whole",
]

DATA, MODEL = "data", "model"


def device_mesh(devices: Sequence[jax.Device] | None = None, *, model: int = 1) -> Mesh:
    """Return the devices as a mesh with the axes "data" and "model", for `fit(..., mesh=...)`.

    A batch is cut into rows over all devices of both axes. Parameters and optimizer state are whole on each device for
    `model=1`; else every device of a "model" axis keeps a part of each of them, and they are brought together where a
    layer needs them: for nets that outgrow one device.

    Args:
        devices: all devices of all processes unless given; those of a process come together, so that it holds
            consecutive rows of a batch.
        model: how many devices share the parameters; it divides their number.

    Raises:
        ValueError: model not a positive int, or one that does not divide the number of devices.
        TypeError: devices that are none.

    Source: Zhao et al. 2023 (fully sharded data parallel).
    """
    devices = jax.devices() if devices is None else devices
    ok = isinstance(devices, Sequence | np.ndarray) and getattr(devices, "ndim", 1) == 1
    ok = ok and all(isinstance(one, jax.Device) for one in devices)
    fix = "Leave devices out for all there are."
    expect(ok, "device_mesh", "devices as a list of them", shown(devices), fix, TypeError)
    devices = sorted(devices, key=lambda device: device.process_index)
    model = expect_count("device_mesh", "model", model)
    fits = bool(devices) and len(devices) % model == 0
    expect(fits, "device_mesh", f"devices in groups of model={model}", f"{len(devices)} devices", "Change model.")
    grid = np.asarray(devices).reshape(-1, model)
    return Mesh(grid, (DATA, MODEL), axis_types=(AxisType.Auto, AxisType.Auto))


def mesh_of(tree: Any) -> Mesh:
    """Return the mesh that the arrays of a tree are placed on; of the first device where they are on none."""
    for leaf in jax.tree.leaves(tree):
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, Mesh):
            return sharding.mesh
        if isinstance(leaf, jax.Array) and leaf.committed and isinstance(sharding, jax.sharding.SingleDeviceSharding):
            return device_mesh(list(sharding.device_set))
    return device_mesh(jax.local_devices()[:1])


def rows(mesh: Mesh) -> NamedSharding:
    """Return how a batch lies: its first axis cut over all devices."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def own_rows(mesh: Mesh, batch_size: int) -> slice:
    """Return which rows of a batch lie on devices of this process.

    Raises:
        ValueError: they are not neighbours.
    """
    held = rows(mesh).addressable_devices_indices_map((batch_size,)).values()
    spans = [range(batch_size)[index[0]] for index in held if index]
    first, last = min(span.start for span in spans), max(span.stop for span in spans)
    fix = "Make it with training.device_mesh."
    together = sum(map(len, spans)) == last - first
    expect(together, "mesh", "devices of a process next to one another", "a mesh that mixes them", fix)
    return slice(first, last)


def placed_rows(batch: Mapping[str, Any], mesh: Mesh) -> dict[str, jax.Array]:
    """Return the batch, of which each process gives the rows of `own_rows`, on the devices."""
    sharding = rows(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}


def replicated(mesh: Mesh) -> NamedSharding:
    """Return how what every device has whole lies."""
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(mesh: Mesh, tree: Any) -> Any:
    """Return how each array of a state lies: its largest axis that the "model" axis divides is cut along that.

    Args:
        mesh: of the devices.
        tree: arrays or `jax.ShapeDtypeStruct`s.
    """
    parts = mesh.shape.get(MODEL, 1)

    def sharding(leaf: Any) -> NamedSharding:
        sizes = [size if size % parts == 0 and size >= parts else 0 for size in leaf.shape]
        if parts == 1 or not any(sizes):
            return replicated(mesh)
        axis = len(sizes) - 1 - int(np.argmax(sizes[::-1]))  # of equal ones the last: the features
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, MODEL))

    return jax.tree.map(sharding, tree)


def placed(array: Any, sharding: NamedSharding) -> jax.Array:
    """Return an array that every process has whole, placed on its devices."""
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    return jax.make_array_from_callback(np.shape(array), sharding, lambda index: array[index])


def whole(tree: Any) -> Any:
    """Return the tree with every array whole on each device."""
    if all(leaf.is_fully_replicated for leaf in jax.tree.leaves(tree)):
        return tree
    return jax.jit(lambda same: same, out_shardings=replicated(mesh_of(tree)))(tree)

"""Many trainings at once: over devices, in chunks that fit, and what came out of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn.checking import expect
from jaxcnn.search.lane import Lane, Own, Program
from jaxcnn.search.memory import available, needed
from jaxcnn.training.feed import STEPS_PER_CALL

__all__ = ["Compiled", "compile_lanes", "fitting", "rows_of", "train_lanes"]

LANES = "lanes"
CACHE = 4 * 2**20  # bytes: on CPUs, lanes gain from each other until what a step computes fills it
Line = dict[str, np.ndarray]
Arrays = Mapping[str, Any]
Tell = Callable[[np.ndarray, int, Line | None], None]
"""`(lanes, epochs that are done, figures of the last one)`; no figures as the lanes begin."""


def train_lanes(
    program: Program,
    own: Own,
    arrays: Arrays,
    validation: Arrays | None,
    *,
    lanes: Lane | None,
    epochs: range,
    devices: Sequence[jax.Device],
    memory: float | None,
    tell: Tell,
) -> tuple[Lane, list[Line], Line]:
    """Return the lanes after these epochs, the figures of each epoch, (lanes,), and those of the training set at last.

    All of it is on the host. Of the training set there are figures without validation alone, and else {}.

    Args:
        program: what each does.
        own: what is its own; every array has a leading axis of lanes.
        arrays: the training set.
        validation: the validation set, or None.
        lanes: what an earlier call returned, to go on with; None begins.
        epochs: their numbers, from 0.
        devices: that share the lanes.
        memory: bytes on each device that may be used; what is free there unless given.
        tell: is called as some lanes begin, and after each of their epochs.
    """
    count = len(own.key)
    mesh = Mesh(np.asarray(devices[: min(len(devices), count)]), (LANES,), axis_types=(AxisType.Auto,))
    room = available(mesh) if memory is None else memory  # before the sets are there, which are counted below
    shared = NamedSharding(mesh, P())
    placed = jax.device_put(dict(arrays), shared)
    validation = placed if validation is arrays else jax.device_put(validation and dict(validation), shared)
    arrays = placed
    compiled, at_once = fitting(program, mesh, own, arrays, validation, room)
    found, lines, errors = [], [], []
    for first in range(0, count, at_once):
        numbers = np.arange(first, min(first + at_once, count))
        rows = np.resize(numbers, at_once)  # a last chunk that is not full repeats lanes
        begun = None if lanes is None else rows_of(lanes, rows, mesh)
        mine = rows_of(own, rows, mesh)
        ended, figures = _run(compiled, begun, mine, arrays, validation, epochs, partial(tell, numbers))
        errors.append({} if validation is not None else jax.device_get(compiled.training_error(ended, mine, arrays)))
        found.append(jax.tree.map(_on_host, ended))
        lines.append(figures)
        del begun, mine, ended  # before there is a next chunk
    cut = lambda *parts: _joined(parts)[:count]  # noqa: E731
    return jax.tree.map(cut, *found), _side_by_side(lines, at_once, count), jax.tree.map(cut, *errors)


def rows_of(tree: Any, rows: np.ndarray, mesh: Mesh) -> Any:
    """Return the rows of lanes, on the devices."""
    return jax.device_put(jax.tree.map(lambda leaf: leaf[rows], tree), NamedSharding(mesh, P(LANES)))


class Compiled(NamedTuple):
    """The functions of `Program` for so many lanes at once, on all devices.

    `steps` take and return lanes without their best states, None instead: to hand these through each step costs time.
    """

    create: Callable[..., Lane]
    order: Callable[..., jax.Array]
    steps: Mapping[int, Callable[..., Lane]]
    finish: Callable[..., tuple[Lane, dict[str, jax.Array]]]
    training_error: Callable[..., dict[str, jax.Array]]
    per_epoch: int
    needed: int  # bytes on each device
    between: int  # of them, those of what a step computes on its way


def fitting(
    program: Program, mesh: Mesh, own: Own, arrays: Any, validation: Any, room: float
) -> tuple["Compiled", int]:
    """Return the compiled functions for as many lanes at once as are fast and fit, and how many these are.

    An accelerator is the faster the more it has to do. A CPU is so only while what a step computes stays in its cache:
    from there on lanes are faster one after another.
    """
    count = len(own.key)
    most = -(-count // mesh.size)  # lanes on each device
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    each = 1 if on_cpu else most
    while True:
        rounds = -(-count // (each * mesh.size))
        each = -(-count // (rounds * mesh.size))  # chunks of one size
        compiled = compile_lanes(program, mesh, own, arrays, validation, each * mesh.size)
        if compiled.needed > room:
            fix = "Use a smaller batch_size or net, or pass memory= in bytes if you know better."
            what = f"{compiled.needed / 2**30:.2f} GiB for one lane on each device"
            expect(each > 1, "search", what, f"{room / 2**30:.2f} GiB", fix)
            most = each = max(1, min(each - 1, int(each * room / compiled.needed)))
        elif on_cpu and each == 1 and (more := min(most, CACHE // max(1, compiled.between))) > 1:
            each = more
        else:
            return compiled, each * mesh.size


def compile_lanes(program: Program, mesh: Mesh, own: Own, arrays: Any, validation: Any, count: int) -> Compiled:
    """Return the functions for `count` lanes."""
    lanes_axis, shared = P(LANES), P()

    def spread(fn: Callable, axes: Any, specs: Any, **options: Any) -> Any:
        many = jax.vmap(fn, axes)
        if mesh.size > 1:
            many = jax.shard_map(many, mesh=mesh, in_specs=specs, out_specs=lanes_axis, check_vma=False)
        return jax.jit(many, **options)

    def several(lane: Lane, own: Own, arrays: Any, order: jax.Array, at: jax.Array, epoch: jax.Array, count: int):
        def one(lane: Lane, index: jax.Array) -> tuple[Lane, None]:
            return program.advance(lane, own, arrays, index, epoch), None

        if count == 1:  # XLA runs many operations faster on a CPU outside of loops
            return one(lane, jax.lax.dynamic_index_in_dim(order, at, keepdims=False))[0]
        return jax.lax.scan(one, lane, jax.lax.dynamic_slice_in_dim(order, at, count))[0]

    create = spread(program.create, 0, (lanes_axis,))
    order = spread(program.order, (0, None), (lanes_axis, shared))
    axes, specs = (0, 0, None, 0, None, None), (lanes_axis, lanes_axis, shared, lanes_axis, shared, shared)
    finish = spread(program.finish, (0, 0, None, None), (lanes_axis, lanes_axis, shared, shared), donate_argnums=0)
    error = spread(program.training_error, (0, 0, None), (lanes_axis, lanes_axis, shared))
    sharding = NamedSharding(mesh, lanes_axis)
    of_some = jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype, sharding=sharding), own)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    as_placed = lambda tree: jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)  # noqa: E731
    lane = as_placed(jax.eval_shape(create, of_some))
    orders = as_placed(jax.eval_shape(order, of_some, number))
    most = min(STEPS_PER_CALL.get(mesh.devices.flat[0].platform, 1), program.per_epoch)
    steps = {}
    for times in {1, most}:
        fn = spread(partial(several, count=times), axes, specs, donate_argnums=0)
        steps[times] = fn.lower(lane._replace(best=None), of_some, arrays, orders, number, number).compile()
    end = finish.lower(lane, of_some, validation, number).compile()
    if validation is None:
        error = error.lower(lane, of_some, arrays).compile()
    # Each of them has some of the sets and states as arguments; the others are there all the same.
    bytes_of = lambda tree: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))  # noqa: E731
    size = lambda tree: 0 if validation is arrays else bytes_of(tree)  # noqa: E731
    need = max(map(needed, steps.values())) + size(validation) + bytes_of(lane.best) // mesh.size
    need = max(need, needed(end) + size(arrays), needed(error) if validation is None else 0)
    between = max(step.memory_analysis().temp_size_in_bytes for step in steps.values())
    return Compiled(create, order, steps, end, error, program.per_epoch, need, between)


def _run(
    compiled: Compiled,
    lanes: Lane | None,
    own: Own,
    arrays: Any,
    validation: Any,
    epochs: range,
    tell: Callable[[int, Line | None], None],
) -> tuple[Lane, list[Line]]:
    """Return the lanes after all epochs, or after the one in which the last of them ended."""
    lanes, lines = compiled.create(own) if lanes is None else lanes, []
    most = max(compiled.steps)
    tell(epochs.start, None)
    for number in epochs:
        epoch = np.int32(number)
        order, at = compiled.order(own, epoch), 0
        best, lanes = lanes.best, lanes._replace(best=None)
        while at < compiled.per_epoch:
            times = most if at + most <= compiled.per_epoch else 1
            lanes = compiled.steps[times](lanes, own, arrays, order, np.int32(at), epoch)
            at += times
        lanes, line = compiled.finish(lanes._replace(best=best), own, validation, epoch)
        line, going = jax.device_get((line, lanes.going & ~lanes.diverged))
        lines.append(line)
        tell(number + 1, line)
        if not going.any():
            break
    return lanes, lines


def _on_host(leaf: jax.Array) -> Any:
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)


def _joined(parts: Sequence[Any]) -> Any:
    return (jnp if isinstance(parts[0], jax.Array) else np).concatenate(parts)


def _side_by_side(chunks: list[list[Line]], at_once: int, count: int) -> list[Line]:
    """Return the figures of all lanes, epoch by epoch; of a lane that had ended they are NaN."""
    lines = []
    for epoch in range(max(map(len, chunks))):
        known = next(chunk[epoch] for chunk in chunks if epoch < len(chunk))
        nothing = {name: np.full(at_once, False if name == "going" else np.nan) for name in known}
        parts = [chunk[epoch] if epoch < len(chunk) else nothing for chunk in chunks]
        lines.append({name: np.concatenate([part[name] for part in parts])[:count] for name in known})
    return lines

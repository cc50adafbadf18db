"""Are many trainings in one program faster than one after another?

`python -m experiments.benchmarks.restarts` takes LeNet on images of the digits (8x8) and of Fashion-MNIST (28x28), and
1, 4, 16 and 64 trainings at once as `jaxcnn.search` compiles them, each with batches of its own. Against them stand, in
turns of one process, the same steps one training after another, of jaxcnn and of flax.linen, and linen's under `vmap`.
All keep the images on the device and gather a batch in the step. It exits with 1 unless 16 trainings on a CPU are at
least twice as fast as linen's one after another (three times on the digits), five times as fast as linen's under
`vmap`, and no slower than jaxcnn's one after another, to the 5 % that this can tell; on a GPU, 64 ten times as fast as
linen's one after another.

A result worth keeping: `python -m experiments.table --keep runs/NAME` takes it into the records.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from experiments.benchmarks.nets import CLASSES, Training, linen, optimizer, ours
from experiments.benchmarks.pairs import Program, compare
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, run
from jaxcnn import report
from jaxcnn.checking import expect
from jaxcnn.losses import batch_accuracy, classification
from jaxcnn.search import lane, lanes
from jaxcnn.training import early_stopping
from jaxcnn.training.feed import STEPS_PER_CALL

SHAPES = {"digits": (8, 8, 1), "fashion_mnist": (28, 28, 1)}
PEERS = ("jaxcnn, one by one", "linen, one by one", "linen, vmap")
# The least ratio at so many trainings, by platform: peer -> ratio, on the digits and on Fashion-MNIST.
LEAST = {
    "cpu": (16, {PEERS[0]: (0.95, 0.95), PEERS[1]: (3.0, 2.0), PEERS[2]: (5.0, 5.0)}),
    "gpu": (64, {PEERS[1]: (10.0, 10.0)}),
}


@dataclass(frozen=True)
class Config(Common):
    trainings: tuple[int, ...] = (1, 4, 16, 64)  # at once
    batch_size: int = 64  # images of a step, of each training
    examples: int = 2048  # images that batches are gathered from
    steps: int = 4  # of every training, in one turn
    seconds: float = 20.0  # that a pair of programs takes turns for
    most_vmapped: int = 16  # trainings that linen has under vmap: minutes a step, on a CPU


def main(config: Config) -> Result:
    if config.quick:
        config = replace(config, trainings=(1, 2), batch_size=8, examples=64, steps=2, seconds=0.5)
    expect(all(n >= 1 for n in config.trainings), "restarts", "trainings >= 1", config.trainings, "4 and 16, say.")
    expect(config.batch_size <= config.examples, "restarts", "examples for a batch", config.examples, "Pass more.")
    most = min(STEPS_PER_CALL.get(jax.default_backend(), 1), config.examples // config.batch_size)
    config = replace(config, steps=-(-config.steps // most) * most)  # whole calls
    rows: list[dict[str, Any]] = []
    for name, shape in SHAPES.items():
        for count in config.trainings:
            one_program = together(config, shape, count)
            for peer, other in others(config, shape, count).items():
                pairs = compare(one_program, other(), config.seconds, 0.0)
                rows.append({"set": name, "trainings": count, "peer": peer, **pairs.figures()})
                shown = f"{name:<14} {count:>3} trainings  {peer:<20} {rows[-1]['ratio']:6.2f}"
                console.print(f"{shown}  ({rows[-1]['ours_ms'] / config.steps:.1f} ms a step)", markup=False)
    missed = [] if config.quick else misses(rows)
    bound = LEAST.get(jax.default_backend(), (0, {}))[0] in config.trainings
    judged = "not judged" if config.quick or not bound else f"MISSED: {'; '.join(missed)}" if missed else "as promised"
    picked = [r for r in rows if r["trainings"] == max(config.trainings) and r["peer"] != PEERS[2]]
    told = ", ".join(f"{r['set']} against {r['peer']} {r['ratio']:.2f}" for r in picked)
    verdict = f"{max(config.trainings)} trainings in one program, times as fast: {told}: {judged}."
    sections = [report.Section("Times as fast", [report.Table(rows)])]
    return Result({"rows": rows}, sections, verdict, not missed)


def together(config: Config, shape: tuple[int, int, int], count: int) -> Program:
    """Return steps of all trainings in one program, as `search` runs them."""
    spec = jax.ShapeDtypeStruct((1, *shape), np.float32)
    program = lane.Program(
        net=lambda numbers: ours.lenet(),
        optimizer=lambda numbers: optimizer(),
        loss=classification(),
        metrics={"accuracy": batch_accuracy},
        augment=None,
        dtype=np.float32,
        spec=spec,
        size=config.examples,
        batch_size=config.batch_size,
        stopping=early_stopping(None),
        monitor="loss",
        skip_limit=10,
    )
    own = lane.Own(jax.random.split(jax.random.key(config.seed), count))
    arrays = jax.device_put(images(config, shape))
    mesh = Mesh(np.asarray(jax.devices()[:1]), (lanes.LANES,), axis_types=(AxisType.Auto,))
    compiled, at_once = lanes.fitting(program, mesh, own, arrays, None, np.inf)
    chunks = [lanes.rows_of(own, np.resize(np.arange(at, count), at_once), mesh) for at in range(0, count, at_once)]
    epoch, most = np.int32(0), max(compiled.steps)  # steps of a call
    states = [compiled.create(chunk)._replace(best=None) for chunk in chunks]
    orders = [compiled.order(chunk, epoch) for chunk in chunks]

    def call() -> None:
        for number, chunk in enumerate(chunks):
            for at in range(0, config.steps, most):
                step = np.int32(at % (program.per_epoch - most + 1))
                states[number] = compiled.steps[most](states[number], chunk, arrays, orders[number], step, epoch)

    return Program(call, lambda: jax.block_until_ready([state.state for state in states]))


def others(config: Config, shape: tuple[int, int, int], count: int) -> Mapping[str, Callable[[], Program]]:
    """Return what makes the programs of the same steps in other ways."""
    theirs = linen.build("lenet", np.float32, shape)
    found = {
        PEERS[0]: lambda: one_by_one(config, shape, count, ours.build("lenet", np.float32, shape)),
        PEERS[1]: lambda: one_by_one(config, shape, count, theirs),
    }
    if 1 < count <= config.most_vmapped:
        found[PEERS[2]] = lambda: vmapped(config, shape, count, theirs)
    return found


def one_by_one(config: Config, shape: tuple[int, int, int], count: int, training: Training) -> Program:
    arrays = jax.device_put(images(config, shape))
    step = jax.jit(gathering(training), donate_argnums=0)
    states = [training.init(key) for key in jax.random.split(jax.random.key(config.seed), count)]
    index = [list(jax.device_put(of_one)) for of_one in batches(config, count)]

    def call() -> None:
        for number in range(count):
            for at in range(config.steps):
                states[number], _ = step(states[number], arrays, index[number][at])

    return Program(call, lambda: jax.block_until_ready(states))


def vmapped(config: Config, shape: tuple[int, int, int], count: int, training: Training) -> Program:
    arrays = jax.device_put(images(config, shape))
    step = jax.jit(jax.vmap(gathering(training), (0, None, 0)), donate_argnums=0)
    held = [jax.vmap(training.init)(jax.random.split(jax.random.key(config.seed), count))]
    index = list(jax.device_put(np.swapaxes(batches(config, count), 0, 1)))

    def call() -> None:
        for at in range(config.steps):
            held[0], _ = step(held[0], arrays, index[at])

    return Program(call, lambda: jax.block_until_ready(held))


def gathering(training: Training) -> Callable[..., Any]:
    def step(state: Any, arrays: Mapping[str, jax.Array], index: jax.Array) -> Any:
        return training.step(state, {name: array[index] for name, array in arrays.items()})

    return step


def images(config: Config, shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Return images and labels by chance: what they show costs nothing."""
    random = np.random.default_rng(config.seed)
    image = random.random((config.examples, *shape), np.float32)
    return {"image": image, "label": random.integers(0, CLASSES, config.examples, np.int32)}


def batches(config: Config, count: int) -> np.ndarray:
    """Return the examples of each step, (trainings, steps, batch_size)."""
    random = np.random.default_rng(config.seed)
    return random.integers(0, config.examples, (count, config.steps, config.batch_size), np.int32)


def misses(rows: list[dict[str, Any]]) -> list[str]:
    """Return what is slower than promised on this platform."""
    count, least = LEAST.get(jax.default_backend(), (0, {}))
    found = []
    for row in rows:
        bound = least.get(row["peer"], (0.0, 0.0))[list(SHAPES).index(row["set"])]
        if row["trainings"] == count and row["ratio"] < bound:
            found.append(f"{row['set']} against {row['peer']} below {bound:g}")
    return found


if __name__ == "__main__":
    run(main, Config)

"""Is jaxcnn's augmentation as fast as the fastest other library, and small beside a training step?

`python -m experiments.benchmarks.augmentation` times each function of jaxcnn against dm_pix and augmax (those that are
installed) doing the same work: a draw for each image of a batch of 512 32x32x3 images, in one jitted program, in
alternating pairs in one process. A ratio is their time by ours: above 1, jaxcnn is faster. Then it times the standard
policy (flip, crop, brightness, contrast, saturation, cutout) and one step of training ResNet-20, on the same images
and device. What the libraries define differently is said in `experiments/benchmarks/operations.py`. On a CPU it exits
with 1 where one of TARGETS is missed.

A result worth keeping: `python -m experiments.table --keep runs/NAME` takes it into the records.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
import optax

from experiments.benchmarks.cases import Row, reason
from experiments.benchmarks.chart import ratios
from experiments.benchmarks.operations import DELTA, FACTOR, MARGIN, PACKAGES, PEERS, Augmentation, ours
from experiments.benchmarks.pairs import Program, compare
from experiments.benchmarks.peers import summary, versions, words
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, run
from jaxcnn import augment, models, report, training
from jaxcnn.checking import expect

# On a CPU: the geometric mean and the least of the ratios against the best peer of each function, and the policy's
# share of a step. Some functions compile to the program of a peer, and the median of their ratios is chance: a ratio
# is below the least only if its upper quartile is.
TARGETS = {"geometric_mean": 1.5, "least": 1.0, "share": 0.15}
CLASSES = 10
HOLE = 8  # pixels: the side of cutout's square
QUICK = ("flip", "brightness")


@dataclass(frozen=True)
class Config(Common):
    operations: tuple[str, ...] = ()  # names in operations.py; all unless given
    peers: tuple[Literal["dm_pix", "augmax"], ...] = ("dm_pix", "augmax")
    batch: int = 512  # images
    size: int = 32  # pixels, of both sides
    seconds_per_case: float = 5.0  # for the pairs of one peer; at least 3 pairs
    turn: float = 0.1  # seconds that a program runs before the other does, where a call takes less
    net: str = "cifar_resnet20"  # whose step the policy is compared with


def main(config: Config) -> Result:
    if config.quick:
        operations = config.operations or QUICK
        config = replace(config, operations=operations, batch=8, seconds_per_case=0.0, turn=0.0)
    known = ours()
    unknown = sorted(set(config.operations) - set(known))
    expect(not unknown, "augmentation", f"operations among {', '.join(known)}", unknown, "Choose some of them.")
    random = np.random.default_rng(config.seed)
    images = jax.device_put(random.random((config.batch, config.size, config.size, 3), np.float32))
    key = jax.random.key(config.seed)
    console.print(f"{'operation':<20} {'peer':<7} {'ours':>9} {'theirs':>9}     theirs / ours (quartiles)")
    rows = []
    tables: dict[str, dict[str, Augmentation] | str] = {peer: table(peer) for peer in config.peers}
    for row in measure(config.operations or tuple(known), tables, key, images, config.seconds_per_case, config.turn):
        rows.append(row)
        console.print(line(row), markup=False)
    found = summary(rows)
    console.print(words(found), markup=False)
    step = share(config.net, key, images, config.seconds_per_case, config.turn)
    figures = {
        "ratios": found,
        "cases": rows,
        "policy": step,
        "versions": versions(PACKAGES[peer] for peer in config.peers),
    }
    sections = [report.Section("Cases", [report.Table(rows)]), report.Section("Policy and step", [report.Facts(step)])]
    if any("ratio" in row for row in rows):
        picture = report.Picture(
            ratios(rows),
            "Time of the peers by that of jaxcnn, with quartiles: right of 1, jaxcnn is faster.",
            "Ratios of each function and peer, on a logarithmic scale.",
        )
        sections.insert(0, report.Section("Ratios", [picture, report.Facts(found)]))
    judge = jax.default_backend() == "cpu" and not config.quick
    missed = misses(rows, step["share"]) if judge else []
    judged = ", ".join(missed) or "no target missed" if judge else "not judged (targets are for a CPU)"
    part = f"the standard policy takes {step['share']:.1%} of a step's time"
    headline = [report.Number("policy / step", f"{step['share']:.1%}", config.net)]
    if "least" in found:
        least = f"least {found['least']:.2f} ({found['least_net']}, {found['least_peer']})"
        headline.insert(0, report.Number("ratio", f"{found['geometric_mean']:.2f}", least))
    return Result(figures, sections, f"{words(found)}; {part}; {judged}.", not missed, headline=headline)


def table(peer: str) -> dict[str, Augmentation] | str:
    """Return the functions of a peer, or in words why there are none."""
    try:
        return PEERS[peer]()
    except ModuleNotFoundError as missing:
        return f"not installed: {missing.name}"
    except Exception as error:  # another library that breaks is a finding, and no end of the benchmark
        return reason(error)


def measure(
    operations: Sequence[str],
    tables: Mapping[str, dict[str, Augmentation] | str],
    key: jax.Array,
    images: jax.Array,
    seconds: float,
    turn: float,
) -> Iterator[Row]:
    """Yield a row for each function of each peer: `Pairs.figures`, or under "failed" why there are none.

    Args:
        operations: names of functions.
        tables: peer -> what `table` returned.
        key, images: what they are called with.
        seconds, turn: as for `compare`.
    """
    known = ours()
    for operation in operations:
        mine = program(known[operation], key, images)
        for peer, functions in tables.items():
            row: Row = {"mode": "augmentation", "net": operation, "peer": peer}
            if isinstance(functions, str):
                yield row | {"failed": functions}
            elif operation in functions:
                try:
                    theirs = program(functions[operation], key, images)
                    yield row | compare(mine, theirs, seconds, turn).figures()
                except Exception as error:  # as above
                    yield row | {"failed": reason(error)}


def program(fn: Augmentation, key: jax.Array, images: jax.Array) -> Program:
    """Return a compiled function of one image, lifted over a batch; its calls are no chain, so each is waited for."""
    compiled = jax.jit(augment.batched(fn)).lower(key, images).compile()
    return Program(lambda: jax.block_until_ready(compiled(key, images)), lambda: None)


def policy() -> Augmentation:
    """Return the standard policy of small images."""
    return augment.compose(
        augment.flip,
        partial(augment.crop, padding=MARGIN),
        partial(augment.brightness, delta=DELTA),
        partial(augment.contrast, factor=FACTOR),
        partial(augment.saturation, factor=FACTOR),
        partial(augment.cutout, size=HOLE),
    )


def share(net: str, key: jax.Array, images: jax.Array, seconds: float, turn: float) -> dict[str, float]:
    """Return the policy's share of the time of a step without it, with quartiles, and both times."""
    image_key, label_key, net_key = jax.random.split(key, 3)
    labels = jax.random.randint(label_key, images.shape[:1], 0, CLASSES)
    model, optimizer = models.create(net, num_classes=CLASSES), optax.sgd(0.1, momentum=0.9)
    latest: list[Any] = [training.TrainState.create(model, optimizer, net_key, images)]
    step: Callable = jax.jit(training.make_train_step(model, optimizer), donate_argnums=0)

    def call() -> None:
        latest[:] = step(latest[0], {"image": images, "label": labels})
        jax.block_until_ready(latest)

    found = compare(program(policy(), image_key, images), Program(call, lambda: None), seconds, turn).figures()
    return {
        "share": 1 / found["ratio"],
        "low": 1 / found["high"],
        "high": 1 / found["low"],
        "pairs": found["pairs"],
        "policy_ms": found["ours_ms"],
        "step_ms": found["theirs_ms"],
    }


def misses(rows: Sequence[Row], part: float) -> list[str]:
    """Return each target that is missed, in words."""
    found = summary(rows)
    missed = [f"MISSED: {operation}: no peer measured" for operation in found.get("missing", ())]
    mean = found.get("geometric_mean", 0.0)
    if not mean >= TARGETS["geometric_mean"]:
        missed.append(f"MISSED: geometric mean {mean:.2f} < {TARGETS['geometric_mean']}")
    for row in rows:
        if "ratio" in row and not row["high"] >= TARGETS["least"]:
            text = f"{row['net']} against {row['peer']} {row['ratio']:.2f} ({row['low']:.2f}..{row['high']:.2f})"
            missed.append(f"MISSED: {text} < {TARGETS['least']}")
    if not part <= TARGETS["share"]:
        missed.append(f"MISSED: policy / step {part:.2f} > {TARGETS['share']}")
    return missed


def line(row: Row) -> str:
    """Return a row as text."""
    start = f"{row['net']:<20} {row['peer']:<7}"
    if "failed" in row:
        return f"{start} {row['failed']}"
    return (
        f"{start} {row['ours_ms']:9.2f} {row['theirs_ms']:9.2f} ms  {row['ratio']:7.2f} "
        f"({row['low']:.2f}..{row['high']:.2f}, {row['pairs']} pairs)"
    )


if __name__ == "__main__":
    run(main, Config, name=lambda config: f"augmentation-speed{config.ending}")

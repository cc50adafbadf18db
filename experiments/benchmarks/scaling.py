"""Does a training step cost what it has to do: so much for each image, and for each layer?

`python -m experiments.benchmarks.scaling` times a training step of a residual net (32x32 images, SGD with momentum):
with batches of 8 to 512 images; with one batch cut over 1, 2, 4 and 8 devices; and in nets of several depths. What is
compared takes turns, so that whatever else the machine does meets all of it alike, and medians are judged. It fits
time = a + b * images by least squares and exits with 1 where R^2 is below 0.98, or where an image costs at the largest
batch more than 1.25 times what it costs at the middle one. On a CPU several devices are virtual ones, in a process of
their own; they share the cores, so there one sees what cutting a batch costs, not what devices bring.

Memory is kept from step to step (`framework.memory`), so that page faults are no part of what a large batch costs.

A result worth keeping: `python -m experiments.table --keep runs/NAME` takes it into the records.
"""

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.benchmarks.chart import against
from experiments.benchmarks.pairs import Program
from experiments.framework.device import console
from experiments.framework.memory import keep_memory
from experiments.framework.runner import Common, Result, run
from jaxcnn import models, report, training
from jaxcnn.checking import expect
from jaxcnn.training.mesh import replicated, rows

SHAPE, CLASSES = (32, 32, 3), 10
LEAST_R2 = 0.98
DEAREST = 1.25  # an image at the largest batch by one at the middle batch

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What one program does: a net of a depth, so many images, the devices."""

    depth: int
    images: int
    mesh: Mesh


@dataclass(frozen=True)
class Config(Common):
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512)  # images of a step, on one device
    devices: tuple[int, ...] = (1, 2, 4, 8)  # those that there are, on a CPU virtual ones
    depths: tuple[int, ...] = (8, 14, 20, 32)  # layers with weights: 6 n + 2 for n blocks a stage
    depth: int = 20  # of the net that gets batches of several sizes, and several devices
    batch_size: int = 64  # images, on several devices and in nets of several depths
    width: int = 16  # maps of the first stage
    turns: int = 15  # that each program gets
    turn: float = 0.2  # seconds of a turn, where one step takes less


def main(config: Config) -> Result:
    if config.quick:
        small = {"batch_sizes": (4, 8, 16), "devices": (1, 2), "depths": (8, 14), "depth": 8, "batch_size": 8}
        config = replace(config, **small, width=4, turns=2, turn=0.0)
    check(config)
    one = training.device_mesh(jax.devices()[:1])
    images = measured("images", {size: Case(config.depth, size, one) for size in config.batch_sizes}, config)
    show(images)
    virtual = jax.default_backend() == "cpu"
    devices = on_virtual_devices(config) if virtual else on_devices(config)
    show(devices)
    depths = measured("depth", {depth: Case(depth, config.batch_size, one) for depth in config.depths}, config)
    show(depths)
    fits = {"images": line(config.batch_sizes, times(images)[:, 1]), "depth": line(config.depths, times(depths)[:, 1])}
    dearer = images[-1]["ms_per_image"] / images[len(images) // 2]["ms_per_image"]
    figures = {
        "images": images,
        "devices": devices,
        "virtual_devices": virtual,
        "depths": depths,
        "fits": fits,
        "largest_by_middle": dearer,
    }
    missed = [] if config.quick else misses(fits["images"], dearer)
    judged = "not judged" if config.quick else ", ".join(missed) or "linear"
    fit = fits["images"]
    verdict = (
        f"a step of n images takes {fit['a']:.2f} + {fit['b']:.3f} n ms, R^2 {fit['r2']:.4f}; an image at the largest "
        f"batch costs {dearer:.2f} times one at the middle one: {judged}."
    )
    headline = [
        report.Number("ms an image", f"{fit['b']:.3f}", f"R² {fit['r2']:.4f}"),
        report.Number("largest by middle batch", f"{dearer:.2f}", f"cost of an image; at most {DEAREST}"),
    ]
    return Result(figures, sections(config, figures), verdict, not missed, headline=headline)


def check(config: Config) -> None:
    """Raise `ValueError` for sizes that cannot be compared."""
    for name, least in {"batch_sizes": 3, "devices": 1, "depths": 2}.items():
        sizes = getattr(config, name)
        ok = len(sizes) >= least and sizes[0] > 0 and list(sizes) == sorted(set(sizes))
        expect(ok, "scaling", f"{name} as at least {least} rising sizes", sizes, "Pass some, the smallest first.")
    cut = all(config.batch_size % count == 0 for count in config.devices)
    expect(cut, "scaling", f"a batch_size that {config.devices} divide", config.batch_size, "Pass 64, say.")


def on_devices(config: Config) -> list[Row]:
    """Return a row for each number of devices that there are, with one batch cut over them."""
    there = [count for count in config.devices if count <= jax.device_count()]
    expect(bool(there), "scaling", f"some of {config.devices} devices", jax.device_count(), "Pass --devices 1, say.")
    meshes = {count: training.device_mesh(jax.devices()[:count]) for count in there}
    cases = {count: Case(config.depth, config.batch_size, mesh) for count, mesh in meshes.items()}
    return measured("devices", cases, config)


def on_virtual_devices(config: Config) -> list[Row]:
    """Return what `on_devices` finds in a process of its own, whose CPU is made to look like several devices."""
    cache = jax.config.jax_compilation_cache_dir
    spawn = multiprocessing.get_context("spawn")  # JAX has threads, which a fork would lose
    count = max(config.devices)
    with ProcessPoolExecutor(1, spawn, initializer=make_devices, initargs=(count, cache)) as process:
        return process.submit(on_devices, config).result()


def make_devices(count: int, cache: str | None) -> None:
    """Make the CPU of this process look like so many devices."""
    keep_memory()
    flags = os.environ.get("XLA_FLAGS", "")  # of those said twice the last holds
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={count}"
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_compilation_cache_dir", cache)


def measured(name: str, cases: Mapping[int, Case], config: Config) -> list[Row]:
    """Return a row for each case: the median and the quartiles of its times, and images a second."""
    programs = [program(case, config) for case in cases.values()]
    found = []
    for (size, case), seconds in zip(cases.items(), in_turns(programs, config.turns, config.turn), strict=True):
        low, ms, high = np.quantile(1e3 * np.asarray(seconds), (0.25, 0.5, 0.75)).tolist()
        cost = {"ms_per_image": ms / case.images, "images_per_second": 1e3 * case.images / ms}
        found.append({name: size, "ms": ms, "ms_low": low, "ms_high": high, **cost})
    return found


def program(case: Case, config: Config) -> Program:
    """Return the compiled training step of a net on a batch that is cut over the devices of a mesh."""
    random = np.random.default_rng(config.seed)
    image = random.integers(0, 256, (case.images, *SHAPE), np.uint8)
    batch = {"image": image, "label": random.integers(0, CLASSES, case.images, np.int32)}
    net, optimizer = models.cifar_resnet(case.depth, CLASSES, width=config.width), training.sgd(0.05)
    spec = jax.ShapeDtypeStruct((1, *SHAPE), jnp.float32)
    state = training.TrainState.create(net, optimizer, jax.random.key(config.seed), spec)
    state, batch = jax.device_put(state, replicated(case.mesh)), jax.device_put(batch, rows(case.mesh))
    step = jax.jit(training.make_train_step(net, optimizer), donate_argnums=0, out_shardings=replicated(case.mesh))
    compiled = step.lower(state, batch).compile()  # now, so that no call that is measured compiles
    latest: list[Any] = [state, None]

    def call() -> None:
        latest[:] = compiled(latest[0], batch)

    return Program(call, lambda: jax.block_until_ready(latest))


def in_turns(programs: Sequence[Program], turns: int, turn: float) -> list[list[float]]:
    """Return the seconds of a call of each program, turn by turn; every other round goes backwards.

    Args:
        programs: compiled.
        turns: of each.
        turn: seconds for which a program runs before the next one does, if one call takes less.
    """
    for warm in programs:
        warm.seconds()
    calls = [max(1, round(turn / one.seconds())) for one in programs]
    found: list[list[float]] = [[] for _ in programs]
    for number in range(turns):
        order = range(len(programs))
        for i in reversed(order) if number % 2 else order:
            found[i].append(programs[i].seconds(calls[i]))
    return found


def show(found: Sequence[Row]) -> None:
    for row in found:
        console.print(", ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))


def line(x: Sequence[float], y: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Return the line y = a + b x of least squares, its R^2, and the largest residual as a fraction of y."""
    b, a = np.polyfit(x, y, 1)
    residual = np.asarray(y) - (a + b * np.asarray(x))
    r2 = 1 - np.sum(residual**2) / np.sum((np.asarray(y) - np.mean(y)) ** 2)
    largest = np.max(np.abs(residual) / np.asarray(y))
    return {"a": float(a), "b": float(b), "r2": float(r2), "largest_relative_residual": float(largest)}


def misses(fit: Mapping[str, float], dearer: float) -> list[str]:
    """Return what speaks against a cost that grows linearly with the images, in words."""
    missed = []
    if not fit["r2"] >= LEAST_R2:
        missed.append(f"MISSED: R^2 {fit['r2']:.4f} < {LEAST_R2}")
    if not dearer <= DEAREST:
        missed.append(f"MISSED: largest by middle batch {dearer:.2f} > {DEAREST}")
    return missed


def sections(config: Config, figures: Mapping[str, Any]) -> list[report.Section]:
    """Return the page: charts and tables."""
    net = f"ResNet-{config.depth}, 32x32 images"
    batch = f"{config.batch_size} images"
    images, devices, depths, fits = (figures[name] for name in ("images", "devices", "depths", "fits"))

    def time(name: str, found: Sequence[Row], words: str) -> report.Picture:
        fit = fits[name]
        formula = f"{fit['a']:.2f} + {fit['b']:.3f} * {name}"
        return report.Picture(
            against("ms a step", name, [row[name] for row in found], times(found), fit=(fit["a"], fit["b"])),
            f"Time of a training step, {words}: medians, quartiles, and the line of least squares, {formula}.",
            f"Milliseconds of a step against {name}, {words}.",
        )

    def speed(name: str, found: Sequence[Row], words: str) -> report.Picture:
        per_step = np.asarray([[row["ms"] * row["images_per_second"]] for row in found])
        rates = per_step / times(found)[:, ::-1]
        return report.Picture(
            against("images a second", name, [row[name] for row in found], rates, doubling=True),
            f"Images a second, {words}: medians and quartiles.",
            f"Images a second against {name}, {words}.",
        )

    shared = [
        f"These devices are virtual: they share the {os.cpu_count()} cores of one CPU, so that more of them bring "
        "nothing. What one sees is what cutting the batch and adding up the gradients cost."
    ]
    pictures = [time("images", images, net), speed("images", images, net)]
    facts = {name: report.Facts(fit, f"ms = a + b * {name}, by least squares") for name, fit in fits.items()}
    cut = speed("devices", devices, f"{net}, {batch}")
    return [
        report.Section("Images", [*pictures, report.Table(images), facts["images"]]),
        report.Section("Devices", [*(shared if figures["virtual_devices"] else []), cut, report.Table(devices)]),
        report.Section("Depth", [time("depth", depths, batch), report.Table(depths), facts["depth"]]),
    ]


def times(found: Sequence[Row]) -> np.ndarray:
    """Return quartile, median and quartile of each row."""
    return np.asarray([[row[name] for name in ("ms_low", "ms", "ms_high")] for row in found])


if __name__ == "__main__":
    run(main, Config, name=lambda config: f"scaling{config.ending}")

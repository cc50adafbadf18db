"""Is jaxcnn as fast as the fastest other library, on the same net, batch and optimizer?

`python -m experiments.benchmarks.peers` times jaxcnn against flax.linen, flax.nnx, Equinox, Haiku and PyTorch (those
that are installed) in one process, in alternating pairs: LeNet with 5x5 kernels, a VGG with batch norm, ResNet-20 and
a small MobileNet, batches of 64, cross-entropy, SGD with momentum. A ratio is their time by ours: above 1, jaxcnn is
faster. Modes: one training `step`; a `scan` over 8 steps; a `vmap` over 8 nets; `inference`. `--compile` also times
the compilation of ResNet-50. On a CPU it exits with 1 where one of TARGETS is missed.

A result worth keeping: `python -m experiments.table --keep runs/NAME` takes it into the records.
"""

import importlib.metadata
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax

from experiments.benchmarks.cases import PACKAGES, build, line, measure, parameters
from experiments.benchmarks.chart import ratios
from experiments.benchmarks.compilation import compilation
from experiments.benchmarks.pairs import random_batches
from experiments.framework.device import console
from experiments.framework.memory import memory_is_said
from experiments.framework.runner import Common, Result, run
from jaxcnn import report

# On a CPU, against the best JAX peer of each net: the geometric mean and the least of the ratios.
TARGETS = {"step": (1.25, 0.97), "scan": (20.0, 1.5), "vmap": (5.0, 1.2), "inference": (1.0, 0.95)}


@dataclass(frozen=True)
class Config(Common):
    modes: tuple[Literal["step", "scan", "vmap", "inference"], ...] = ("step", "scan", "vmap", "inference")
    nets: tuple[Literal["lenet", "vgg", "resnet20", "depthwise"], ...] = ("lenet", "vgg", "resnet20", "depthwise")
    peers: tuple[Literal["linen", "nnx", "equinox", "haiku", "torch"], ...] = (
        "linen",
        "nnx",
        "equinox",
        "haiku",
        "torch",
    )
    batch: int = 64  # images
    dtype: Literal["float32", "bfloat16"] = "float32"  # of images and activations; parameters are float32
    steps: int = 8  # of a scan
    lanes: int = 8  # nets of a vmap
    seconds_per_case: float = 5.0  # for the pairs of one peer; at least 3 pairs, 1 where a call takes 20 s
    turn: float = 0.1  # seconds that a library runs before the other does, where a call takes less
    compile: bool = False  # also the compilation of a ResNet-50 step, against flax.linen


def main(config: Config) -> Result:
    if config.quick:
        config = replace(config, nets=config.nets[:1], batch=4, steps=2, lanes=2, seconds_per_case=0.0, turn=0.0)
    libraries = ("ours", *config.peers)
    builds = {net: {library: build(library, net, config.dtype) for library in libraries} for net in config.nets}
    counts = {net: parameters(net, builds[net]) for net in config.nets}
    console.print(f"parameters: {', '.join(f'{net} {count:,}' for net, count in counts.items())}", markup=False)
    console.print(f"{'mode':<9} {'net':<9} {'peer':<8} {'ours':>9} {'theirs':>9}     theirs / ours (quartiles)  memory")
    rows = []
    for mode in config.modes:
        for net in config.nets:
            batches = random_batches(net, config.steps, config.batch, config.dtype, config.seed)
            options = {"lanes": config.lanes, "seed": config.seed}
            budget = {"seconds": config.seconds_per_case, "turn": config.turn}
            for row in measure(mode, net, builds[net], batches, **options, **budget):
                rows.append(row)
                console.print(line(row), markup=False)
    modes: dict[str, dict[str, Any]] = {}
    for mode in config.modes:
        modes[mode] = summary([row for row in rows if row["mode"] == mode])
        console.print(f"{mode}: {words(modes[mode])}", markup=False)
    figures = {
        "modes": modes,
        "cases": rows,
        "parameters": counts,
        "versions": versions({PACKAGES[peer] for peer in config.peers}),
    }
    sections = [report.Section("Cases", [report.Table(rows)])]
    if any("ratio" in row for row in rows):
        picture = report.Picture(
            ratios(rows),
            "Time of the peers by that of jaxcnn, with quartiles: right of 1, jaxcnn is faster.",
            "Ratios of each net and peer, one panel a mode, on a logarithmic scale.",
        )
        table = report.Table([{"mode": mode, **found} for mode, found in modes.items()])
        sections.insert(0, report.Section("Ratios", [picture, table]))
    if config.compile:
        figures["compile"] = compilation(config.quick)
        sections.append(report.Section("Compilation of ResNet-50", [report.Facts(figures["compile"])]))
    judge = bool(modes) and jax.default_backend() == "cpu" and config.dtype == "float32" and not config.quick
    missed = misses(modes) if judge else []
    judged = ", ".join(missed) or "no target missed" if judge else "not judged (targets are for float32 on a CPU)"
    measured = {mode: found for mode, found in modes.items() if "geometric_mean" in found}
    means = ", ".join(f"{mode} {found['geometric_mean']:.2f}" for mode, found in measured.items())
    headline = [
        report.Number(mode, f"{found['geometric_mean']:.2f}", f"least {found['least']:.2f} ({found['least_net']})")
        for mode, found in measured.items()
    ]
    verdict = f"time of the best JAX peer by ours: {means or 'nothing measured'}; {judged}."
    verdict += f" Memory {said}." if (said := memory_is_said()) else ""
    return Result(figures, sections, verdict, not missed, headline=headline)


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a mode comes to: the geometric mean and the least ratio against the best JAX peer, and PyTorch."""
    best: dict[str, Mapping[str, Any]] = {}
    torch: dict[str, float] = {}
    for row in rows:
        if "ratio" not in row:
            continue
        if row["peer"] == "torch":
            torch[row["net"]] = row["ratio"]
        elif row["net"] not in best or row["ratio"] < best[row["net"]]["ratio"]:
            best[row["net"]] = row
    found: dict[str, Any] = {}
    if missing := sorted({row["net"] for row in rows} - set(best)):
        found["missing"] = missing
    if best:
        least = min(best.values(), key=lambda row: row["ratio"])
        found["geometric_mean"] = statistics.geometric_mean([row["ratio"] for row in best.values()])
        found |= {"least": least["ratio"], "least_net": least["net"], "least_peer": least["peer"]}
    if torch:
        least = min(torch, key=torch.__getitem__)
        found["torch_geometric_mean"] = statistics.geometric_mean(list(torch.values()))
        found |= {"torch_least": torch[least], "torch_least_net": least}
    return found


def words(found: Mapping[str, Any]) -> str:
    """Return a mode's summary as text."""
    parts = []
    if "geometric_mean" in found:
        least = f"least {found['least']:.2f} ({found['least_net']}, {found['least_peer']})"
        parts.append(f"best JAX peer by ours: geometric mean {found['geometric_mean']:.2f}, {least}")
    if "torch_least" in found:
        least = f"least {found['torch_least']:.2f} ({found['torch_least_net']})"
        parts.append(f"PyTorch by ours: geometric mean {found['torch_geometric_mean']:.2f}, {least}")
    return "; ".join(parts) or "nothing measured"


def misses(modes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return each target that is missed, in words."""
    missed = []
    for mode, found in modes.items():
        missed += [f"MISSED: {mode} {net}: no JAX peer measured" for net in found.get("missing", ())]
        for name, target in zip(("geometric_mean", "least"), TARGETS[mode], strict=True):
            if not found.get(name, 0.0) >= target:
                missed.append(f"MISSED: {mode} {name.replace('_', ' ')} {found.get(name, 0.0):.2f} < {target}")
    return missed


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of packages."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


if __name__ == "__main__":
    run(main, Config, name=lambda config: f"peers{config.ending}")

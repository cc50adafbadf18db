"""How fast is jaxcnn on an accelerator, and how near to what the device can do?

`python -m experiments.benchmarks.gpu --device gpu` measures in one call, which is given nine minutes: products of
matrices, as the ceiling; training ResNet-50 (224x224 pixels, bfloat16, 256 images), ResNet-18, VGG-16, ConvNeXt-T and
LeNet, beside the same nets in flax.linen and flax.nnx, in alternating pairs, and in PyTorch, compiled; the speed
recipe; attacks, explanations, many trainings, augmentation, streams; what deterministic kernels cost; where the time
goes by class of kernels. Every part has a process and seconds of its own: one that fails or takes longer is told, and
the next goes on; what no time is left for can be asked for alone, with `--parts`. `--torch-python` names a Python with
torch and torchvision, if this one has none.

Operations are counted by the nets' multiply-adds: three times those of inference make a step. On a GPU it exits with 1
where one of the targets is missed; parts that failed are named.

A result worth keeping: `python -m experiments.table --keep runs/NAME` takes it into the records.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from experiments.benchmarks.parts import Part, done
from experiments.framework.device import console
from experiments.framework.machine import machine
from experiments.framework.runner import Common, Result, run
from jaxcnn import report
from jaxcnn.checking import expect

FASTEST = 5000.0  # images a second, of ResNet-50
AS_FAST = 1.0  # times as fast as the best peer, the least
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
NETS: dict[str, dict[str, Any]] = {
    "resnet50": {"batch": 256, "size": 224, "channels": 3, "classes": 1000},
    "resnet18": {"batch": 256, "size": 224, "channels": 3, "classes": 1000},
    "vgg16": {"batch": 256, "size": 224, "channels": 3, "classes": 1000},
    "convnext_tiny": {"batch": 256, "size": 224, "channels": 3, "classes": 1000},
    "lenet": {"batch": 1024, "size": 28, "channels": 1, "classes": 10},
}


@dataclass(frozen=True)
class Config(Common):
    parts: tuple[str, ...] = ()  # names of parts, in the order to do them; all unless given
    minutes: float = 9.0  # for all of them
    seconds: float = 4.0  # for the pairs of one peer of one net
    torch_python: str = ""  # a Python with torch and torchvision; this one unless given


def main(config: Config) -> Result:
    table = {part.name: part for part in (small() if config.quick else parts(config))}
    unknown = sorted(set(config.parts) - set(table))
    expect(not unknown, "gpu", f"parts among {', '.join(table)}", unknown, "Choose some of them.")
    expect(config.minutes > 0, "gpu", "minutes > 0", config.minutes, "9 are the default.")
    chosen = [table[name] for name in config.parts or table]
    began, rows = time.perf_counter(), []
    for part in chosen:
        rows.append(done(part, 60 * config.minutes - (time.perf_counter() - began), apart=not config.quick))
        told = rows[-1].get("failed", "done")
        console.print(f"{part.name:<24} {rows[-1].get('seconds', 0):6.1f} s  {told}", markup=False)
    found = {row["part"]: row["figures"] for row in rows if "figures" in row}
    speeds = training_speeds(found)
    figures = {"training": speeds, "deterministic": deterministic(found), "parts": rows, **machine()}
    failed = [f"{row['part']} ({row['failed']})" for row in rows if "failed" in row]
    judge = jax.default_backend() == "gpu" and not config.quick
    missed = misses(speeds) if judge else []
    judged = "; ".join(missed) or "no target missed" if judge else "not judged (targets are for a GPU)"
    told = ", ".join(f"{row['net']} {row['images_per_second']:,.0f}" for row in speeds if row["library"] == "jaxcnn")
    verdict = f"Images a second in training: {told or 'nothing measured'}; {judged}"
    verdict += f"; without {', '.join(failed)}." if failed else "."
    return Result(figures, sections(figures, rows), verdict, not missed, headline=headline(speeds))


def parts(config: Config) -> list[Part]:
    """Return what is measured, the most wanted first."""
    speed = {net: options | {"net": net, "seconds": config.seconds} for net, options in NETS.items()}
    ours = {name: Part(name, 110.0, "throughput:throughput", speed[name]) for name in NETS}
    theirs = {
        name: Part(
            f"{name} in torch", 70.0, "torch_training.py", {**speed[name], "compiled": True}, python=config.torch_python
        )
        for name in NETS
    }
    alone = {**speed["resnet18"], "peers": ()}
    flags = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()}
    few: dict[str, Any] = {"seconds_per_case": 1.0}
    return [
        Part("ceiling", 40.0, "ceiling:ceiling", {}),
        ours["resnet50"],
        theirs["resnet50"],
        Part("speed recipe", 90.0, "device_speeds:speed_recipe", {"recipe": "muon", "runs": 10, "together": 4}),
        ours["lenet"],
        theirs["lenet"],
        ours["resnet18"],
        Part("resnet18 deterministic", 60.0, "throughput:throughput", alone, flags),
        theirs["resnet18"],
        Part("profile resnet50", 60.0, "kernel_classes:training_step", {"net": "resnet50", "batch": 256, "size": 224}),
        Part("profile speed recipe", 60.0, "kernel_classes:speed_steps", {"recipe": "muon"}),
        Part("attacks", 60.0, "device_speeds:attacks", {"images": 1024, "steps": 40, "queries": 5000, "epochs": 10}),
        Part(
            "integrated gradients",
            40.0,
            "device_speeds:integrated_gradients",
            {"net": "resnet50", "images": 32, "size": 224, "steps": 64},
        ),
        Part("restarts", 90.0, "parts:experiment", {"name": "restarts", "trainings": [64, 256], "seconds": 2.0}),
        Part(
            "peers", 120.0, "parts:experiment", {"name": "peers", "nets": ["lenet"], "peers": ["linen", "nnx"], **few}
        ),
        Part("augmentation", 60.0, "parts:experiment", {"name": "augmentation", **few}),
        Part("streaming", 60.0, "parts:experiment", {"name": "streaming", "turns": 2, "workers": [8]}),
        ours["vgg16"],
        ours["convnext_tiny"],
        theirs["vgg16"],
        theirs["convnext_tiny"],
    ]


def small() -> list[Part]:
    """Return some parts, small enough for a CPU, and one that fails."""
    tiny = {"net": "lenet", "batch": 2, "size": 12, "channels": 1, "classes": 10, "dtype": "float32", "seconds": 0.0}
    few = {"images": 4, "steps": 2, "queries": 2, "epochs": 1, "standard": False}
    explained = {"net": "lenet5", "images": 2, "size": 32, "steps": 2}
    return [
        Part("ceiling", 60.0, "ceiling:ceiling", {"size": 512, "megabytes": 1, "dtype": "float32", "repeats": 1}),
        Part("lenet", 60.0, "throughput:throughput", tiny),
        Part("attacks", 60.0, "device_speeds:attacks", few),
        Part("integrated gradients", 60.0, "device_speeds:integrated_gradients", explained),
        Part("no such net", 60.0, "throughput:throughput", {**tiny, "net": "no_such_net"}),
    ]


def training_speeds(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each net and library: images a second, and the part of the ceiling that they come to."""
    top = found.get("ceiling", {}).get("tflops")
    rows = []
    for net in NETS:
        ours, torch = found.get(net), found.get(f"{net} in torch")
        if ours is None:
            continue
        rates = [("jaxcnn", ours["images_per_second"], None, ours["peak_gigabytes"])]
        rates += [(p["peer"], p["images_per_second"], p["ratio"], None) for p in ours["peers"] if "ratio" in p]
        if torch is not None:
            ratio = ours["images_per_second"] / torch["images_per_second"]
            rates.append(("torch, compiled", torch["images_per_second"], ratio, torch["peak_gigabytes"]))
        for library, rate, ratio, peak in rates:
            tflops = rate * ours["operations_an_image"] / 1e12
            row = {"net": net, "library": library, "images_per_second": rate, "tflops": tflops}
            row |= {"of_ceiling": tflops / top} if top else {}
            row |= {} if ratio is None else {"jaxcnn_is_times_as_fast": ratio}
            rows.append(row | ({} if peak is None else {"peak_gigabytes": peak}))
    return rows


def deterministic(found: Mapping[str, Any]) -> dict[str, float] | None:
    """Return how much longer a step takes with deterministic kernels; None unless both were measured."""
    both = [found.get(name) for name in ("resnet18", "resnet18 deterministic")]
    if None in both:
        return None
    plain, exact = (figures["images_per_second"] for figures in both if figures)
    return {"plain_images_per_second": plain, "deterministic_images_per_second": exact, "times_as_long": plain / exact}


def misses(speeds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return each target that is missed by what was measured, in words."""
    missed = []
    for row in speeds:
        name = f"{row['net']} against {row['library']}"
        if (row["net"], row["library"]) == ("resnet50", "jaxcnn") and row["images_per_second"] < FASTEST:
            missed.append(f"MISSED: resnet50 {row['images_per_second']:,.0f} images a second < {FASTEST:,.0f}")
        wanted = row["library"] != "torch, compiled" or row["net"] == "resnet50"
        if wanted and row.get("jaxcnn_is_times_as_fast", AS_FAST) < AS_FAST:
            missed.append(f"MISSED: {name} {row['jaxcnn_is_times_as_fast']:.2f} < {AS_FAST}")
    return missed


def headline(speeds: Sequence[Mapping[str, Any]]) -> list[report.Number]:
    return [
        report.Number(
            f"{row['net']}, images a second",
            f"{row['images_per_second']:,.0f}",
            f"{100 * row['of_ceiling']:.0f} % of the ceiling" if "of_ceiling" in row else "",
        )
        for row in speeds
        if row["library"] == "jaxcnn"
    ][:4]


def sections(figures: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[report.Section]:
    """Return what the page shows."""
    caption = "tflops: counted operations a second; of_ceiling: by those of a product of two large matrices."
    state = [{"part": row["part"], "seconds": row.get("seconds"), "outcome": row.get("failed", "done")} for row in rows]
    found = [report.Section("Training", [report.Table(figures["training"], caption)])] if figures["training"] else []
    if figures["deterministic"]:
        found.append(report.Section("Deterministic kernels, ResNet-18", [report.Facts(figures["deterministic"])]))
    for row in rows:
        if row["part"].startswith("profile") and row.get("figures", {}).get("classes"):
            kinds = [{"class": kind, **part} for kind, part in row["figures"]["classes"].items()]
            tables = [report.Table(kinds), report.Table(row["figures"]["largest"])]
            found.append(report.Section(row["part"].capitalize(), tables))
    return [*found, report.Section("Parts", [report.Table(state)])]


if __name__ == "__main__":
    # The parts are other processes: this one, which computes nothing, is to leave them the memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    run(main, Config, name=lambda config: f"gpu-speed{config.ending}")

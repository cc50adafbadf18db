"""Are explanations as fast as captum's, of the same net with the same weights, on the same CPU?

`python -m experiments.benchmarks.explain` times integrated gradients, SmoothGrad, occlusion, RISE and Grad-CAM of 32
images against captum on PyTorch, and RISE, which captum has not, against a plain loop: LeCun's LeNet-5, a LeNet with
5x5 kernels and 32 and 64 maps, and a VGG with batch norm, in alternating pairs. PyTorch works in a process of its own,
which waits while jaxcnn works, and the other way round: `--torch-python .venv-3.11/bin/python` takes another Python's.
Of captum's ways to call a method, with its defaults or with a few variants at a time, the fastest counts; the others'
times are recorded, too. A ratio is their time by ours: above 1, jaxcnn is faster. It exits with 1 where one of TARGETS
is missed, or where maps that ought to be equal are not.

A result worth keeping: `python -m experiments.table --keep runs/NAME` takes it into the records.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from experiments.benchmarks.nets import CLASSES, NETS, VGG
from experiments.benchmarks.nets.ours import lenet
from experiments.benchmarks.pairs import Program, compare
from experiments.benchmarks.peer_process import PeerProcess, Theirs, written
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, run
from jaxcnn import functional as F
from jaxcnn import models, report, training
from jaxcnn.checking import expect
from jaxcnn.explain import attribution
from jaxcnn.layers import BatchNorm, Conv, Dense, GlobalAvgPool, MaxPool, Sequential

TARGETS = (1.5, 0.8)  # the geometric mean and the least of the ratios
# Nine of ten values of maps without chance in them are that near, as a fraction of the largest. A ReLU whose input is
# nearly 0 may be on in one library and off in the other, which changes a few values much: in the VGG, PyTorch's maps in
# float32 are up to 2.5e-3 from its own in float64.
NEAR = 5e-4
EQUAL = ("integrated_gradients", "occlusion", "grad_cam")
NOISE = 0.15  # of images from 0 to 1
CELLS = 8


@dataclass(frozen=True)
class Config(Common):
    nets: tuple[Literal["lenet5", "lenet", "vgg"], ...] = ("lenet5", "lenet", "vgg")
    methods: tuple[Literal["integrated_gradients", "smoothgrad", "occlusion", "rise", "grad_cam"], ...] = (
        "integrated_gradients",
        "smoothgrad",
        "occlusion",
        "rise",
        "grad_cam",
    )
    batch: int = 32  # images
    steps: int = 64  # of integrated gradients
    samples: int = 50  # of SmoothGrad
    masks: int = 256  # of RISE
    window: int = 4  # pixels that are covered, along each side
    stride: int = 2  # pixels from one window to the next
    torch_python: str = ""  # a Python with torch and captum; this one unless given
    seconds: float = 30.0  # for the pairs of one method; at least 3 pairs, 1 where a call takes 20 s
    turn: float = 0.1  # seconds that a library works before the other does, where a call takes less


def main(config: Config) -> Result:
    if config.quick:
        small = {"batch": 2, "steps": 4, "samples": 4, "masks": 4, "window": 14, "stride": 14}
        config = replace(config, nets=config.nets[:1], seconds=0.0, turn=0.0, **small)
    fix = "Pass --device cpu: captum's times are those of PyTorch on a CPU."
    expect(jax.default_backend() == "cpu", "explain", "a CPU", jax.default_backend(), fix)
    rows: list[dict[str, Any]] = []
    versions: dict[str, Any] = {}
    for name in config.nets:
        with tempfile.TemporaryDirectory() as scratch:
            for row, there in measured(config, name, Path(scratch)):
                rows.append(row)
                versions = there
                console.print(line(row), markup=False)
    least = min(rows, key=lambda row: row["ratio"])
    mean = statistics.geometric_mean([row["ratio"] for row in rows])
    defaults = statistics.geometric_mean([row["defaults_ms"] / row["ours_ms"] for row in rows])
    means = {"geometric_mean": mean, "geometric_mean_of_defaults": defaults}
    figures = {**means, "least": least["ratio"], "cases": rows, "versions": versions}
    reached = mean >= TARGETS[0] and least["ratio"] >= TARGETS[1]
    far = [f"{row['method']} of {row['net']}" for row in rows if row.get("difference", 0.0) > NEAR]
    judged = "not judged" if config.quick else "as promised" if reached else f"MISSED: {TARGETS} were promised"
    told = f"maps differ: {', '.join(far)}" if far else "the maps are equal"
    verdict = (
        f"Time of captum by ours: geometric mean {mean:.2f} ({defaults:.2f} with its defaults), least "
        f"{least['ratio']:.2f} ({least['method']} of {least['net']}), {judged}; {told}."
    )
    number = report.Number("times as fast as captum", f"{mean:.2f}", f"geometric mean; least {least['ratio']:.2f}")
    table = report.Table(rows)
    holds = not far and (config.quick or reached)
    return Result(
        figures, [report.Section("Cases", [table, report.Facts(versions)])], verdict, holds, headline=[number]
    )


def measured(config: Config, name: str, scratch: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield a row for each method on a net, and the versions of what it is compared with."""
    net, at, size = EXPLAINED[name]()
    keys = jax.random.split(jax.random.key(config.seed), 4)
    x = jax.random.uniform(keys[0], (config.batch, *size))
    target = jax.random.randint(keys[1], (config.batch,), 0, CLASSES)
    params, state = net.init(keys[2], x)
    for _ in range(20):  # statistics that are not the initial ones
        _, state = net.apply(params, state, x, train=True)
    count = {"integrated_gradients": config.steps, "smoothgrad": config.samples, "rise": config.masks}
    about = {"at": at, "count": count, "window": config.window, "stride": config.stride}
    file = written(scratch / "net.npz", net, params, state, x, target, noise=NOISE, cells=CELLS, **about)
    logits_fn = training.predictor(net, params, state)
    given, key = (logits_fn, x, target), keys[3]
    own: dict[str, Callable[[], jax.Array]] = {
        "integrated_gradients": lambda: attribution.integrated_gradients(*given, steps=config.steps),
        "smoothgrad": lambda: attribution.smoothgrad(
            jax.random.clone(key), *given, noise=NOISE, samples=config.samples
        ),
        "occlusion": lambda: attribution.occlusion(*given, window=config.window, stride=config.stride),
        "rise": lambda: attribution.rise(jax.random.clone(key), *given, masks=config.masks, cells=CELLS),
        "grad_cam": lambda: attribution.grad_cam(net, params, state, x, target, at=at)[..., None],
    }
    with PeerProcess("explain", config.torch_python, "torch_explanations.py", file, "PyTorch and captum") as torch:
        for method in config.methods:
            times = torch.times(method)
            way = min(times, key=times.__getitem__)
            pairs = compare(program(own[method]), Theirs(torch, method, way), config.seconds, config.turn)
            row = {"net": name, "method": method, "theirs": way, **pairs.figures()}
            row["defaults_ms"] = 1e3 * next(iter(times.values()))
            if method in EQUAL:
                theirs = torch.given(method, way, scratch / "maps.npy")[0]
                largest = float(np.abs(theirs).max()) or 1.0  # of Grad-CAM nothing may be left
                row["difference"] = float(np.quantile(np.abs(own[method]() - theirs), 0.9)) / largest
            yield row, torch.versions


def program(explain: Callable[[], jax.Array]) -> Program:
    """Return ours, compiled."""
    held = [jax.block_until_ready(explain())]

    def call() -> None:
        held[0] = explain()

    return Program(call, lambda: jax.block_until_ready(held))


def vgg() -> Sequential:
    """Return the VGG of the other benchmarks, its layers one after another under names of their own."""
    layers: dict[str, Any] = {}
    for number, maps in enumerate(VGG, start=1):
        if maps == "pool":
            layers[f"pool{number}"] = MaxPool(2)
        else:
            conv = Conv(maps, 3, padding=1, use_bias=False)
            layers |= {f"conv{number}": conv, f"bn{number}": BatchNorm(), f"act{number}": F.relu}
    return Sequential(**layers, mean=GlobalAvgPool(), head=Dense(CLASSES))


def line(row: dict[str, Any]) -> str:
    """Return a row as text."""
    far = f", maps differ by {row['difference']:.0e}" if "difference" in row else ""
    return (
        f"{row['net']:<6} {row['method']:<21} {row['ours_ms']:9.1f} {row['theirs_ms']:9.1f} ms  {row['ratio']:5.2f} "
        f"({row['low']:.2f}..{row['high']:.2f}, {row['pairs']} pairs; {row['theirs']}){far}"
    )


# Each with the layer of its Grad-CAM and the size of its images.
EXPLAINED: dict[str, Callable[[], tuple[Any, str, tuple[int, ...]]]] = {
    "lenet5": lambda: (models.lenet5(classic=True), "act2", (32, 32, 1)),
    "lenet": lambda: (lenet(), "act2", NETS["lenet"]),
    "vgg": lambda: (vgg(), "act8", NETS["vgg"]),
}


if __name__ == "__main__":
    run(main, Config, name=lambda config: f"explain-speed{config.ending}")

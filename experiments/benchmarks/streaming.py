"""How many photographs a second reach the device: jaxcnn's streams beside PyTorch's DataLoader.

`python -m experiments.benchmarks.streaming` writes JPEG photographs into a folder (those of `--path`, a folder or zip
of class folders; else scenes, drawn), and reads them by both, in turns, in one process: decode, random-resized crop,
mirror half of them, batch. Both deliver float32 in [0, 1] in their own arrays: PyTorch, as its users do it, converts
and mirrors each image in the worker and keeps the copy into the batch there too; jaxcnn converts and mirrors the batch
on the device. The same number of worker processes; jaxcnn's threads, its default, beside as many workers of PyTorch as
there are cores. Neither waits between epochs, and starting is not counted. It also trains a small net from the stream
and measures how long a step waits for its batch. On a CPU it exits with 1 where jaxcnn is slower. PyTorch is installed
by hand.
"""

import contextlib
import dataclasses
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.torch_loader import torch_batches
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, run
from jaxcnn import augment, data, models, report, training
from jaxcnn.data.stream import on_device

TARGET = 1.0  # images per second by those of PyTorch


@dataclass(frozen=True)
class Config(Common):
    path: str | None = None  # photographs: a folder for each class, or a zip of such
    photographs: int = 512  # scenes drawn where there is no path
    image_size: int = 128  # pixels of a crop
    batch_size: int = 32  # images
    batches: int = 60  # of one turn, after the first
    turns: int = 6  # of each
    workers: tuple[int, ...] = (1, 2)  # processes; 0 stands for threads


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, photographs=64, batches=4, turns=1, workers=(1,), image_size=64)
    with tempfile.TemporaryDirectory() as folder:
        count = photographs(Path(folder), config)
        loaded: Any = data.load("folder", path=folder, memory_limit=1, split_seed=config.seed)
        train = dataclasses.replace(loaded[0], image_size=config.image_size)
        console.print(f"{count} photographs, {train.size} to train on", markup=False)
        rows = [row(config, train, Path(folder), workers) for workers in (0, *config.workers)]
        trained = waiting(config, train)
    console.print(f"training from the stream: {trained['data_wait_ms']:.2f} ms of waiting a step", markup=False)
    figures = {"rows": rows, "photographs": count, "training": trained}
    ratios = [r["ratio"] for r in rows if "ratio" in r]
    holds = config.quick or not ratios or min(ratios) >= TARGET
    least = f"least {min(ratios):.2f}" if ratios else "PyTorch is not installed: nothing to compare with"
    sections = [
        report.Section("Images per second", [report.Table(rows)]),
        report.Section("Training from the stream", [report.Facts(trained)]),
    ]
    return Result(figures, sections, f"images a second by PyTorch's DataLoader: {least}.", holds)


def photographs(folder: Path, config: Config) -> int:
    """Write JPEG files into class folders, and return how many."""
    from PIL import Image

    if config.path is not None:
        train: Any = data.load("folder", path=config.path, memory_limit=1)[0]
        examples = (train.source[i] for i in range(train.size))
        named = [(train.info.class_names[example["label"]], example["image"]) for example in examples]
    else:
        made = data.Scenes(size=128).dataset(jax.random.key(config.seed), config.photographs)
        large = np.repeat(np.repeat(made["image"], 3, 1), 3, 2)[:, :320, :380]
        named = [(made.info.class_names[c], image) for c, image in zip(made["label"], large, strict=True)]
    for number, (name, image) in enumerate(named):
        (folder / name).mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / name / f"{number:05}.jpg", quality=90)
    return len(named)


def row(config: Config, train: Any, folder: Path, workers: int) -> dict[str, Any]:
    """Return the images per second of both, and the quartiles of their ratios, turn by turn; who begins alternates."""
    theirs_workers = workers or os.cpu_count() or 1
    ours, theirs = [], []
    for turn in range(config.turns):
        both = [(ours, partial(stream_batches, config, train, workers, turn))]
        if importlib.util.find_spec("torch"):
            both.append((theirs, partial(torch_batches, folder, config, theirs_workers)))
        for speeds, begin in reversed(both) if turn % 2 else both:
            speeds.append(speed(config, begin))
    label = f"{workers} processes" if workers else "threads"
    found: dict[str, Any] = {"jaxcnn": label, "images_per_second": statistics.median(ours)}
    if theirs:
        low, ratio, high = np.quantile(np.divide(ours, theirs), (0.25, 0.5, 0.75)).tolist()
        found |= {"torch_workers": theirs_workers, "torch_images_per_second": statistics.median(theirs)}
        found |= {"ratio": ratio, "low": low, "high": high, "turns": config.turns}
    console.print(", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items()))
    return found


def stream_batches(config: Config, train: Any, workers: int, turn: int) -> Iterator[Any]:
    """Yield mirrored batches on the device, float32 in [0, 1]."""
    batches = dataclasses.replace(train, workers=workers).batches(config.batch_size, key=jax.random.key(turn))
    reading: Any = on_device(batches)
    with contextlib.closing(reading) as arrays:
        for number, batch in enumerate(arrays):
            yield mirrored(jax.random.key(number), batch["image"])


@jax.jit
def mirrored(key: jax.Array, image: jax.Array) -> jax.Array:
    return augment.batched(augment.flip)(key, data.to_float(image))


def speed(config: Config, begin: Any) -> float:
    """Return images per second after the first batch."""
    with contextlib.closing(begin()) as batches:
        last = next(batches)
        began = time.perf_counter()
        for _ in range(config.batches):
            last = next(batches)
        if isinstance(last, jax.Array):
            last.block_until_ready()
        return config.batches * config.batch_size / (time.perf_counter() - began)


def waiting(config: Config, train: Any) -> dict[str, float]:
    """Train for an epoch from the stream, and return how long a step took and how long it waited for its batch."""
    net = models.create("cifar_resnet8", num_classes=len(train.info.class_names))
    flip = augment.batched(augment.flip)
    result = training.fit(
        net, train, epochs=2, batch_size=config.batch_size, key=jax.random.key(config.seed), augment=flip
    )
    last = result.history[-1]
    steps = last["step"] // 2
    return {"step_ms": 1e3 * last["seconds"] / steps, "data_wait_ms": last["data_wait_ms"]}


if __name__ == "__main__":
    run(main, Config)

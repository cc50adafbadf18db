"""How many images a second a net learns from, in jaxcnn and in both interfaces of Flax, on one device."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.cases import parameters, reason
from experiments.benchmarks.nets import Training, described_linen, described_nnx, ours
from experiments.benchmarks.nets.description import described
from experiments.benchmarks.pairs import Program, compare, jax_program
from experiments.framework.device import console
from jaxcnn import models, summarize

# Name -> what makes the net, for a number of classes; nothing is dropped, so that all libraries do the same.
MODELS: dict[str, Any] = {
    "resnet50": lambda classes: models.create("resnet50", classes),
    "resnet18": lambda classes: models.create("resnet18", classes),
    "vgg16": lambda classes: models.create("vgg16", classes, dropout=0.0),
    "convnext_tiny": lambda classes: models.create("convnext_tiny", classes, drop_path=0.0),
    "lenet": lambda classes: ours.lenet(),
}
PEERS = ("linen", "nnx")
TURN = 0.3  # seconds that a library works before the other does
A_STEP = 3 * 2  # operations of a training step by multiply-adds of inference: forward, and as much for both gradients


def throughput(
    net: str,
    *,
    batch: int,
    size: int,
    channels: int = 3,
    classes: int = 1000,
    dtype: str = "bfloat16",
    peers: tuple[str, ...] = PEERS,
    seconds: float = 5.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Return jaxcnn's images a second in training, and the peers' in alternating pairs with it.

    Args:
        net: one of `MODELS`.
        batch, size, channels: of images by chance; classes: of labels.
        dtype: of images and activations; parameters are float32.
        peers: "linen", "nnx".
        seconds: for the pairs of one peer.
        seed: of all randomness.
    """
    model, shape, kind = MODELS[net](classes), (batch, size, size, channels), jnp.dtype(dtype)
    random = np.random.default_rng(seed)
    images = random.random((1, *shape), np.float32).astype(kind)
    batches = {"image": images, "label": random.integers(0, classes, (1, batch), np.int32)}
    costs = summarize(model, jax.ShapeDtypeStruct(shape, jnp.float32))
    trainings = {"ours": ours.training(model, (1, *shape[1:]), kind), **in_flax(model, (1, *shape[1:]), kind, peers)}
    parameters(net, trainings)
    program = jax_program(trainings["ours"], "step", batches, 1, seed)
    each = alone(program, seconds)
    found: dict[str, Any] = {
        "net": net,
        "batch": batch,
        "size": size,
        "dtype": dtype,
        "parameters": costs.parameters,
        "operations_an_image": A_STEP * costs.multiply_adds,
        "images_per_second": batch / each,
        "tflops": A_STEP * costs.multiply_adds * batch / each / 1e12,
        "compiled_megabytes": program.megabytes,
        "peak_gigabytes": peak(),
        "peers": [],
    }
    console.print(f"{net}: {found['images_per_second']:,.0f} images a second", markup=False)
    for peer in peers:
        row: dict[str, Any] = {"peer": peer}
        try:
            row |= compare(program, jax_program(trainings[peer], "step", batches, 1, seed), seconds, TURN).figures()
            row["images_per_second"] = 1e3 * batch / row["theirs_ms"]
        except Exception as error:  # another library that breaks is a finding, and no end of the benchmark
            row["failed"] = reason(error)
        console.print(", ".join(f"{name} {value}" for name, value in row.items()), markup=False)
        found["peers"].append(row)
    return found


def in_flax(model: Any, shape: tuple[int, ...], dtype: Any, peers: tuple[str, ...]) -> dict[str, Training]:
    """Return the trainings of the same net in Flax's interfaces."""
    part = described(model, jax.ShapeDtypeStruct(shape, jnp.float32))
    made = {
        "linen": lambda: described_linen.training(part, shape, dtype),
        "nnx": lambda: described_nnx.training(part, dtype),
    }
    return {peer: made[peer]() for peer in peers}


def alone(program: Program, seconds: float) -> float:
    """Return the seconds of one call: the median of turns."""
    program.seconds()
    calls = max(1, round(TURN / program.seconds()))
    turns = max(3, round(seconds / TURN / 2))
    return float(np.median([program.seconds(calls) for _ in range(turns if seconds else 1)]))


def peak() -> float | None:
    """Return the most memory that was in use on the device so far, in GB; None where it does not say."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    held = statistics.get("peak_bytes_in_use")
    return None if held is None else held / 1e9

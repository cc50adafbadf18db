"""What do folded batch norms and weights of a byte each bring to a trained net, and what do they cost?

`python -m experiments.benchmarks.inference` measures nets and the same nets with batch norm folded into their
convolutions in turns of one process, on one batch after another; and, for a net that it trains on the digits and, where
JAXCNN_DATA has them, for the published CIFAR-10 ResNets, the test accuracy with float32 and with int8 kernels, and the
bytes of both. It exits with 1 unless folded nets give the same to 1e-4 of their largest logit, are no slower, to the
5 % that this can tell, and int8 kernels cost less than a point of accuracy. About 3 min on 2 cores.

Source: Jacob et al. 2018 (both).
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.pairs import Program, compare
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, run
from jaxcnn import data, interop, layers, models, report, training
from jaxcnn.data.tfds import data_folder
from jaxcnn.surgery import dequantize, fold_batch_norm, quantize

PUBLISHED = "weights_akamaster"
NEAR, SLOWER, POINTS = 1e-4, 0.95, 0.01


@dataclass(frozen=True)
class Config(Common):
    models: tuple[str, ...] = ("cifar_resnet20", "cifar_vgg", "mobilenet_v2")  # whose batch norms are folded
    image_size: int = 32  # pixels
    batch_size: int = 64  # images of a call
    seconds: float = 15.0  # of each pair of programs, in turns
    epochs: int = 20  # of the training on the digits


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, models=("cifar_resnet8",), batch_size=4, seconds=0.3, epochs=1)
    speed = [folded(config, name) for name in config.models]
    cost = [quantized(*one) for one in trained(config)]
    holds = config.quick or (
        all(row["difference"] <= NEAR and row["ratio"] >= SLOWER for row in speed)
        and all(row["float32"] - row["int8"] < POINTS for row in cost)
    )
    told = "; ".join(f"{row['model']} {row['ratio']:.2f}" for row in speed)
    lost = max(100 * (row["float32"] - row["int8"]) for row in cost)
    verdict = f"Folded, times as fast: {told}. Bytes in the place of floats cost {lost:.2f} points at most."
    sections = [
        report.Section("Folded batch norm", [report.Table(speed)]),
        report.Section("Kernels of int8", [report.Table(cost)]),
    ]
    return Result({"folded": speed, "quantized": cost}, sections, verdict, holds)


def folded(config: Config, name: str) -> dict[str, Any]:
    """Return how much faster a net is with folded batch norms, and how far its logits are from what they were."""
    net = models.create(name)
    keys = jax.random.split(jax.random.key(config.seed), 4)
    images = jax.random.uniform(keys[0], (config.batch_size, config.image_size, config.image_size, 3))
    params, state = net.init(keys[1], images)
    for key in keys[2:]:  # statistics that are not the initial ones
        _, state = jax.jit(lambda p, s, x, k: net.apply(p, s, x, train=True, key=k))(params, state, images, key)
    before, after = training.predictor(net, params, state), training.predictor(*fold_batch_norm(net, params, state))
    y, other = jax.jit(before)(images), jax.jit(after)(images)
    pairs = compare(program(after, images), program(before, images), config.seconds, 0.2)
    difference = float(jnp.abs(other - y).max() / jnp.abs(y).max())
    row = {"model": name, **pairs.figures(), "difference": difference}
    console.print(f"{name:<16} folded: {row['ratio']:.2f} times as fast, to {difference:.0e}", markup=False)
    return row


def program(logits_fn: Any, images: jax.Array) -> Program:
    held: list[Any] = [None]
    # The function is an argument: its weights are not compiled in, where XLA would fold them itself.
    compiled = jax.jit(lambda fn, images: fn(images))

    def call() -> None:
        held[0] = compiled(logits_fn, images)

    return Program(call, lambda: jax.block_until_ready(held[0]))


def trained(config: Config) -> Iterator[tuple[str, layers.Layer, Any, Any, Any]]:
    """Yield trained nets with their weights and the images to test them on."""
    train, digits = data.load("digits")
    net = models.create("lenet5")
    fitted = training.fit(net, train, epochs=config.epochs, key=jax.random.key(config.seed)).state
    yield "LeNet on the digits", net, fitted.params, fitted.model_state, digits
    folder = data_folder(None) / PUBLISHED
    files = sorted(folder.glob("resnet*.th"))[: 1 if config.quick else None]
    if not files:
        console.print(f"no {PUBLISHED} in $JAXCNN_DATA: the published nets are left out", markup=False)
        return
    test: Any = data.load("cifar10")[1]
    test = test.take(np.arange(100)) if config.quick else test
    for file in files:
        depth = file.name.removeprefix("resnet").partition("-")[0]
        net = models.create(f"cifar_resnet{depth}")
        params, state, _, _ = interop.torch.load(net, file)
        normalize = layers.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        yield f"ResNet-{depth} on CIFAR-10", layers.Sequential(normalize=normalize, **net.layers), params, state, test  # pyrefly: ignore


def quantized(name: str, net: layers.Layer, params: Any, state: Any, test: Any) -> dict[str, Any]:
    """Return the test accuracy with kernels of float32 and of int8, and the bytes of both."""
    net, params, state = fold_batch_norm(net, params, state)
    small = quantize(params)
    found = [training.evaluate(net, p, state, test)["accuracy"] for p in (params, dequantize(small))]
    size = [sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) for tree in (params, small)]
    row = {"net": name, "float32": found[0], "int8": found[1], "bytes": size[0], "bytes with int8": size[1]}
    console.print(f"{name:<24} {100 * found[0]:.2f} % with float32, {100 * found[1]:.2f} % with int8", markup=False)
    return row


if __name__ == "__main__":
    run(main, Config)

"""Attacks, explanations and the speed recipe on this device, each against the clock alone."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.speed_recipes import RECIPES
from experiments.apparatus.speed_training import SpeedTraining, images_by_chance
from experiments.apparatus.statistics import summary
from experiments.benchmarks.nets import CLASSES
from experiments.benchmarks.nets.ours import lenet
from experiments.benchmarks.throughput import peak
from experiments.cifar_speedrun import at_once, one_by_one, ready
from jaxcnn import data, models, training
from jaxcnn.attack.pgd import pgd
from jaxcnn.attack.robust_accuracy import robust_accuracy
from jaxcnn.explain import attribution

EPSILON = 0.1  # of the digits' 0 to 1


def attacks(*, images: int, steps: int, queries: int, epochs: int, standard: bool = True) -> dict[str, Any]:
    """Return images a second of PGD and of the standard evaluation, and how many withstand: a LeNet on the digits.

    Args:
        images: of the test set, repeated as often as it takes.
        steps: of PGD; of APGD and FAB 2.5 times as many, which makes the usual 40 and 100.
        queries: of Square.
        epochs: of the training before.
        standard: whether to do the evaluation, too.
    """
    train, test = data.load("digits")
    net: Any = lenet()
    state = training.fit(net, train, epochs=epochs, batch_size=64, key=jax.random.key(0)).state
    logits_fn = training.predictor(net, state.params, state.model_state)
    rows = np.resize(np.arange(test.size), images)
    x, y = data.to_float(test["image"][rows]), jnp.asarray(test["label"][rows])
    key = jax.random.key(1)
    seconds, adversarial = twice(lambda: pgd(jax.random.clone(key), logits_fn, x, y, epsilon=EPSILON, steps=steps))
    robust = float((logits_fn(adversarial).argmax(-1) == y).mean())
    found: dict[str, Any] = {"pgd": {"images_per_second": images / seconds, "withstand": robust, "steps": steps}}
    if standard:
        options: Any = {"epsilon": EPSILON, "steps": max(1, 5 * steps // 2), "queries": queries}
        seconds, judged = twice(lambda: robust_accuracy(jax.random.clone(key), logits_fn, x, y, **options))
        found["standard"] = {"images_per_second": images / seconds, "withstand": float(judged)}
    return found | {"images": images, "peak_gigabytes": peak()}


def integrated_gradients(*, net: str, images: int, size: int, steps: int) -> dict[str, Any]:
    """Return images a second of integrated gradients of a net as it is drawn."""
    model = models.create(net, num_classes=CLASSES)
    x = jax.random.uniform(jax.random.key(0), (images, size, size, 3))
    params, state = model.init(jax.random.key(1), x[:1])
    logits_fn, target = training.predictor(model, params, state), jnp.zeros(images, jnp.int32)
    seconds, _ = twice(lambda: attribution.integrated_gradients(logits_fn, x, target, steps=steps))
    rate = {"images_per_second": images / seconds, "gradients_per_second": images * steps / seconds}
    return {"net": net, "images": images, "size": size, "steps": steps, **rate, "peak_gigabytes": peak()}


def speed_recipe(
    *, recipe: str, runs: int, together: int, images: tuple[int, int] = (50_000, 10_000), size: int = 32
) -> dict[str, Any]:
    """Return the seconds of a run of a speed recipe on images by chance, whose accuracy says nothing.

    Args:
        recipe: one of `RECIPES`.
        runs: one after another, at least two.
        together: runs as one program; 0 for none.
        images: for training and for testing.
        size: pixels.
    """
    (train, info), (test, _) = (images_by_chance(count, size) for count in images)
    of_recipe = SpeedTraining(RECIPES[recipe], info, images[0], jnp.bfloat16)
    *keys, warm, many = jax.random.split(jax.random.key(0), runs + 2)
    program, compiling = ready(jax.jit(of_recipe.program), warm, train, test)
    seconds = one_by_one(program, keys, train, test, np.inf)[1]
    found = {"recipe": recipe, "seconds": summary(seconds), "compiling_seconds": compiling, "peak_gigabytes": peak()}
    if together:
        batch = jax.jit(jax.vmap(of_recipe.program, (0, None, None)))
        found["together"] = at_once(batch, jax.random.split(many, together), train, train, test)
    return found


def twice(fn: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of the second call, for the first may compile, and what it gives."""
    jax.block_until_ready(fn())
    began = time.perf_counter()
    given = jax.block_until_ready(fn())
    return time.perf_counter() - began, given

"""Where the time of a program goes on a GPU, by the class of its kernels, out of JAX's own profile."""

import collections
import functools
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.speed_recipes import RECIPES
from experiments.apparatus.speed_training import SpeedTraining, images_by_chance
from experiments.benchmarks.nets import ours
from experiments.benchmarks.pairs import jax_program
from experiments.benchmarks.throughput import MODELS

# The first that is found in a kernel's name, lower case: names are those of cuDNN, cuBLAS and XLA.
CLASSES = {
    "weight gradient": r"wgrad|dgrad_weight|bwd_?filter|backward_filter",
    "input gradient": r"dgrad|bwd_?data|backward_data",
    "convolution": r"conv|fprop|implicit",
    "matrix product": r"gemm|cublas|nvjet|dot|matmul|cutlass",
    "layout": r"transpose|nchwto|nhwcto|nchw_to|nhwc_to|copy|memcpy|concatenate|pad_",
    "scatter and select": r"scatter|select_and|gather",
    "sort and chance": r"sort|threefry|rng",
    "reduction": r"reduce|softmax|argmax",
    "elementwise": r"fusion|loop|elementwise|broadcast|convert|memset|select|add|multiply",
}
OTHER = "other"
LARGEST = 12  # kernels that are named


def class_of(kernel: str) -> str:
    """Return the class of a kernel by its name."""
    name = kernel.lower()
    return next((kind for kind, words in CLASSES.items() if re.search(words, name)), OTHER)


def profiled(call: Callable[[], Any]) -> dict[str, Any]:
    """Return how many milliseconds of a call went to each class of kernels, and to the largest kernels.

    Of the lines of a device's plane that hold kernels; without such a plane, on a CPU, `planes` names what there is.
    """
    jax.block_until_ready(call())  # compiled
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(call())
        (file,) = Path(folder).rglob("*.xplane.pb")
        profile = jax.profiler.ProfileData.from_file(str(file))
        planes = list(profile.planes)
        events = [
            (event.name, event.duration_ns / 1e6)
            for plane in planes
            if plane.name.startswith("/device:")
            for line in plane.lines
            if line.name.startswith("Stream")
            for event in line.events
        ]
        return {"planes": [plane.name for plane in planes], **totals(events)}


def totals(events: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """Return the milliseconds of each class and of the largest kernels, of events (name, milliseconds)."""
    classes: collections.Counter[str] = collections.Counter()
    kernels: collections.Counter[str] = collections.Counter()
    for name, milliseconds in events:
        classes[class_of(name)] += milliseconds  # pyrefly: ignore
        kernels[name] += milliseconds  # pyrefly: ignore
    whole = sum(classes.values())
    share = {kind: {"ms": ms, "share": ms / whole} for kind, ms in classes.most_common()}
    largest = [{"kernel": name[:120], "class": class_of(name), "ms": ms} for name, ms in kernels.most_common(LARGEST)]
    return {"ms": whole, "classes": share, "largest": largest}


def training_step(net: str, *, batch: int, size: int, classes: int = 1000, dtype: str = "bfloat16") -> dict[str, Any]:
    """Return the profile of a training step of jaxcnn, on images by chance."""
    kind, random = jnp.dtype(dtype), np.random.default_rng(0)
    images = random.random((1, batch, size, size, 3), np.float32).astype(kind)
    batches = {"image": images, "label": random.integers(0, classes, (1, batch), np.int32)}
    training = ours.training(MODELS[net](classes), (1, size, size, 3), kind)
    program = jax_program(training, "step", batches, 1, 0)

    def call() -> None:
        program.call()
        program.wait()

    return {"net": net, "batch": batch, **profiled(call)}


def speed_steps(recipe: str, *, steps: int = 8, size: int = 32, dtype: str = "bfloat16") -> dict[str, Any]:
    """Return the profile of some steps of a speed recipe, in one program, on images by chance."""
    plan = RECIPES[recipe]
    train, info = images_by_chance(steps * plan.batch_size, size)
    training = SpeedTraining(plan, info, len(train.image), jnp.dtype(dtype))
    learner, lessons, own = jax.jit(training.start)(jax.random.key(0), train)
    lessons = jax.tree.map(lambda array: array[:steps], lessons)

    @jax.jit
    def several(learner: Any, lessons: Any, train: Any) -> Any:
        return jax.lax.scan(lambda held, lesson: (training.step(held, lesson, own, train), None), learner, lessons)[0]

    return {"recipe": recipe, "steps": steps, **profiled(functools.partial(several, learner, lessons, train))}

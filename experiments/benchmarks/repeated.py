"""The small training that `reproducibility` repeats: by `fit`, or step by step."""

import contextlib
import functools
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import augment, data, models, training
from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm, Conv, Dense, Dropout, GlobalAvgPool, Sequential

PER_EPOCH, EPOCHS, BATCH = 5, 4, 16
STEPS = PER_EPOCH * EPOCHS


def small_net(activation: Any) -> Sequential:
    """Return the net that is trained."""
    return Sequential(
        conv1=Conv(8, use_bias=False),
        norm1=BatchNorm(),
        act1=activation,
        conv2=Conv(16, stride=2, use_bias=False),
        norm2=BatchNorm(),
        act2=activation,
        pool=GlobalAvgPool(),
        drop=Dropout(0.2),
        head=Dense(3),
    )


# Smooth: where a value is within rounding of a kink, rounding decides on which side a gradient is.
NET, WITH_RELU = small_net(F.silu), small_net(F.relu)
# Without what sees a whole batch, or draws for it.
PLAIN = Sequential(
    conv1=Conv(8), act1=F.silu, conv2=Conv(16, stride=2), act2=F.silu, pool=GlobalAvgPool(), head=Dense(3)
)
AUGMENT = augment.batched(augment.flip)
TIMED = 30  # steps whose time is taken on a GPU


class Outcome(NamedTuple):
    """`arrays`: parameters and running statistics by name, after the last step; `losses`: (steps,), before each.

    `step_seconds`: of `step_seconds()`, where it was asked for.
    """

    arrays: Mapping[str, np.ndarray]
    losses: np.ndarray
    step_seconds: float | None = None


class _StopError(Exception):
    pass


def trained(
    seed: int,
    *,
    stops: Sequence[int] = (),
    save_every: int | None = None,
    validation: bool = False,
    look: bool = False,
    dtype: str = "float32",
    relu: bool = False,
) -> Outcome:
    """Return what `fit` makes of a seed on all devices.

    Args:
        seed: of all randomness.
        stops: the steps after which it is stopped, to go on from its checkpoint.
        save_every: steps between checkpoints.
        validation: whether it is evaluated after each epoch.
        look: whether the loss is read at every step, instead of at the end.
        dtype: of the images.
        relu: whether the net's activations have a kink.
    """
    losses: dict[int, Any] = {}
    arrays: dict[str, np.ndarray] = {}

    def note(stop: int | None, event: training.Event) -> None:
        if event.kind == "step":
            loss = event.metrics["loss"]
            losses[event.step] = np.asarray(loss) if look else loss
            if stop is not None and event.step >= stop:
                raise _StopError
        if event.kind == "epoch" and event.state is not None:
            arrays.update(named(event.state))

    examples = dataset()
    with tempfile.TemporaryDirectory() as scratch:
        for stop in (*stops, None):
            with contextlib.suppress(_StopError):
                training.fit(
                    WITH_RELU if relu else NET,
                    examples.take(range(PER_EPOCH * BATCH + 3)),
                    validation=examples.take(range(PER_EPOCH * BATCH + 3, examples.size)) if validation else None,
                    optimizer=optimizer(),
                    epochs=EPOCHS,
                    batch_size=BATCH,
                    key=jax.random.key(seed),
                    augment=AUGMENT,
                    dtype=jnp.dtype(dtype),
                    run_dir=scratch if stops or save_every else None,
                    resume=bool(stops),
                    save_every=save_every,
                    callbacks=[functools.partial(note, stop)],
                )
    return Outcome(arrays, np.concatenate([np.atleast_1d(losses[step]) for step in sorted(losses)]))


def stepped(
    seed: int, *, net: Sequential = NET, compiled: bool = True, lanes: int = 0, accumulate: int = 1, steps: int = STEPS
) -> Outcome:
    """Return what `make_train_step`'s step makes of a seed, called in a loop.

    Args:
        seed: of all randomness.
        net: the net.
        compiled: whether under `jit`, or operation by operation.
        lanes: how many nets are trained at once under `vmap`, the last of which is returned; 0 for one without.
        accumulate: parts of a batch.
        steps: how many.
    """
    examples = dataset()
    step = training.make_train_step(net, optimizer(), augment=AUGMENT, accumulate=accumulate)
    state = functools.partial(training.TrainState.create, net, optimizer(), spec=examples.spec)
    if lanes:
        step = jax.vmap(step, in_axes=(0, None))
        now = jax.vmap(lambda one: state(key=jax.random.key(one)))(seed + jnp.arange(lanes)[::-1])
    else:
        now = state(key=jax.random.key(seed))
    step = jax.jit(step) if compiled else step
    losses = []
    for number in range(steps):
        index = np.random.default_rng(number).permutation(PER_EPOCH * BATCH)[:BATCH]
        now, metrics = step(now, {name: jnp.asarray(array[index]) for name, array in examples.items()})
        losses.append(metrics["loss"])
    if lanes:
        now, losses = jax.tree.map(lambda leaf: leaf[-1], (now, losses))
    return Outcome(named(now), np.stack(losses))


def optimizer() -> Any:
    return training.sgd(training.warmup_cosine(0.1, STEPS))


def dataset() -> data.Dataset:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (PER_EPOCH * BATCH + 16, 8, 8, 3), np.uint8)
    return data.from_arrays(image, np.arange(len(image)) % 3)


def named(state: training.TrainState) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path((state.params, state.model_state))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.array(leaf) for path, leaf in leaves}


def step_seconds() -> float:
    """Return the median time of a training step of ResNet-20 with 128 images."""
    net, spec = models.create("resnet20", num_classes=10), jax.ShapeDtypeStruct((128, 32, 32, 3), jnp.float32)
    step = jax.jit(training.make_train_step(net, optimizer()), donate_argnums=0)
    state = training.TrainState.create(net, optimizer(), jax.random.key(0), spec)
    batch = {"image": jnp.ones(spec.shape), "label": jnp.zeros(128, jnp.int32)}
    seconds = []
    for _ in range(TIMED):
        began = time.perf_counter()
        state, metrics = step(state, batch)
        jax.block_until_ready((state.params, metrics))
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:]))

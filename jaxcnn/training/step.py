"""One step of training, as a pure function."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn import surgery
from jaxcnn.checking import expect, expect_count, expect_dtype, is_array, shown
from jaxcnn.classifier import LogitsFn
from jaxcnn.data.dataset import to_float
from jaxcnn.layers.layer import Layer, expect_net
from jaxcnn.losses import Classification, WithAuxiliary, batch_accuracy, classification, with_auxiliary
from jaxcnn.surgery.tree import paths_in
from jaxcnn.training.optimizer import except_frozen, expect_optimizer
from jaxcnn.training.state import TrainState

__all__ = [
    "Attack",
    "Augment",
    "Batch",
    "PerExample",
    "attacked",
    "compares",
    "expect_attack",
    "expect_augment",
    "expect_batch",
    "make_train_step",
    "per_example",
    "summarized",
    "with_defaults",
]

Batch = Mapping[str, jax.Array]
PerExample = Callable[[jax.Array, Batch], jax.Array]
"""`(outputs, batch) -> (N,)`: a loss or a metric.

A metric that is no mean over examples, such as `segmentation.mean_overlap`, gives (N, ...) and has a method `summary`:
what those average to -> a float. What compares the examples of a batch with each other says so by an attribute,
`whole_batch = True`: parts of a batch are no batch to it.
"""
Augment = Callable[[jax.Array, Any], Any]
"""`(key, batch) -> batch`, on float images in [0, 1]; `augment.batched` makes one."""
Attack = Callable[[jax.Array, LogitsFn, Any], Any]
"""`(key, logits_fn, batch) -> batch`, after the augmentation; `attack.defence` has some."""


def make_train_step(
    net: Layer,
    optimizer: optax.GradientTransformation,
    loss: PerExample | None = None,
    *,
    metrics: Mapping[str, PerExample] | None = None,
    augment: Augment | None = None,
    attack: Attack | None = None,
    dtype: Any = jnp.float32,
    accumulate: int = 1,
    rematerialize: Sequence[str] = (),
    freeze: Sequence[str] = (),
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Return the function of one step: `(state, batch) -> (state, metrics)`, pure, for `jit`, `vmap` and `scan`.

    params <- params + optimizer(d/d params mean_n loss(net(attack(augment(x_n))), batch_n)); the batch-norm statistics
    that the forward pass returns go into the new state; dropout, augmentation and attack draw from
    `fold_in(state.key, step)`.

    Where the loss, a gradient, a statistic or what the optimizer makes of them is infinite or NaN, the step is
    skipped: it counts, and all else of the state stays as it was, to the bit.

    Args:
        net: the net.
        optimizer: any optax transformation.
        loss: `(outputs, batch) -> (N,)`; `losses.classification()` unless given.
        metrics: more such functions by name; accuracy unless given, where the loss is `classification`'s.
        augment: `(key, batch) -> batch` on float images in [0, 1], such as `augment.batched(augment.shift)`.
        attack: `(key, logits_fn, batch) -> batch`, what makes the augmented batch hard for the parameters that the step
            begins with: `logits_fn` is `predictor(net, params, model_state)`. So it attacks the net that would be used
            if training ended here, with running statistics and without dropout, each image by itself; nothing of it
            is differentiated or moves the statistics. The images that it gives are (N, H, W, C), or (N, views, H, W,
            C), several of each: the outputs are (N, views, ...) then, and batch norm sees all of them together.
        dtype: of the images that the net sees: its compute dtype. With `jnp.bfloat16` parameters, statistics and the
            optimizer stay float32.
        accumulate: the batch goes through the net in so many parts, one after another, whose gradients are averaged:
            the memory of one part, and without batch norm and dropout the step of the whole. Batch norm sees a part
            at a time, and its running statistics move with each. Only of losses that see each example by itself.
        rematerialize: paths of blocks that are computed again in the backward pass, for memory: see
            `surgery.rematerialize`.
        freeze: paths of layers that stay as they are: see `surgery.freeze`. The state is one of
            `training.optimizer.except_frozen(optimizer, freeze)`, which has no slots for them.

    Returns:
        The step. `batch` is a dict of arrays with `["image"]`, uint8 0..255 or floating in [0, 1], (N, H, W, C). The
        metrics are means over the batch, `["loss"]` among them, before the update: scalars, but of a metric that has a
        `summary`; and `["skipped"]`, 1.0 for a skipped step, else 0.0.

    Raises:
        ValueError: accumulate not a positive int, or above 1 with a loss or metric that compares the examples of a
            batch; an unknown path; when called, a batch that accumulate does not divide.
    """
    where = "make_train_step"
    expect_net(where, net)
    expect_optimizer(where, optimizer)
    loss, metrics = with_defaults(where, loss, metrics)
    expect_augment(where, augment)
    expect_attack(where, attack)
    dtype = expect_dtype(where, dtype)
    accumulate = expect_count(where, "accumulate", accumulate)
    ok = accumulate == 1 or not compares(loss, *metrics.values())
    fix = "Pass accumulate=1, and rematerialize blocks where memory is short."
    expect(ok, where, "accumulate=1 with a loss or metric that compares the examples of a batch", accumulate, fix)
    freeze = paths_in(where, freeze)
    optimizer = except_frozen(optimizer, freeze)
    net = surgery.freeze(surgery.rematerialize(net, rematerialize), freeze)

    def objective(params: Any, model_state: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Any]:
        outputs, model_state = net.apply(params, model_state, batch["image"], train=True, key=key)
        functions = {"loss": loss, **metrics}
        means = {name: jnp.mean(per_example(name, fn, outputs, batch), axis=0) for name, fn in functions.items()}
        return means["loss"], (means, model_state)

    gradient_of = jax.grad(objective, has_aux=True)

    def differentiate(params: Any, model_state: Any, batch: Batch, key: jax.Array) -> Any:
        batch, key = attacked(net, attack, params, model_state, batch, key)
        return gradient_of(params, model_state, batch, key)

    def in_parts(params: Any, model_state: Any, batch: Batch, key: jax.Array) -> Any:
        def add(carried: Any, part: Any) -> Any:
            total, model_state = carried
            gradient, (means, model_state) = differentiate(
                params, model_state, part[0], jax.random.fold_in(key, part[1])
            )
            return (jax.tree.map(jnp.add, total, gradient), model_state), means

        # Every accumulate-th row makes a part, so that the rows of a device stay on it.
        parts = jax.tree.map(lambda rows: rows.reshape(-1, accumulate, *rows.shape[1:]).swapaxes(0, 1), batch)
        start = (jax.tree.map(jnp.zeros_like, params), model_state)
        (total, model_state), means = jax.lax.scan(add, start, (parts, jnp.arange(accumulate)))
        mean = functools.partial(jnp.mean, axis=0)
        return jax.tree.map(lambda leaf: leaf / accumulate, total), (jax.tree.map(mean, means), model_state)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        expect_batch(where, batch)
        net_key, augment_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        batch = dict(batch, image=to_float(batch["image"], dtype))
        if augment is not None:
            batch = augment(augment_key, batch)
        rows, fix = len(batch["image"]), "Change one of the two."
        expect(rows % accumulate == 0, where, f"a batch that accumulate={accumulate} divides", rows, fix)
        gradients = differentiate if accumulate == 1 else in_parts
        gradient, (means, model_state) = gradients(state.params, state.model_state, batch, net_key)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        new = optax.apply_updates(state.params, updates), model_state, opt_state
        finite = _finite((means["loss"], gradient, new))
        kept = jax.tree.map(
            lambda after, before: jnp.where(finite, after, before),
            new,
            (state.params, state.model_state, state.opt_state),
        )
        params, model_state, opt_state = kept
        new_state = dataclasses.replace(
            state, step=state.step + 1, params=params, model_state=model_state, opt_state=opt_state
        )
        return new_state, means | {"skipped": 1.0 - finite}

    return step


def attacked(
    net: Layer, attack: Attack | None, params: Any, model_state: Any, batch: Batch, key: jax.Array
) -> tuple[Batch, jax.Array]:
    """Return what the attack makes of the batch, and the key that is left for the net itself."""
    if attack is None:
        return batch, key
    attack_key, key = jax.random.split(key)

    def logits(params: Any, model_state: Any, image: jax.Array) -> Any:
        return net.apply(params, model_state, image, train=False)[0]

    batch = attack(attack_key, jax.tree_util.Partial(logits, params, model_state), batch)
    expect_batch("attack", batch)
    return batch, key


def _finite(tree: Any) -> jax.Array:
    leaves = map(jnp.asarray, jax.tree.leaves(tree))
    each = [jnp.all(jnp.isfinite(leaf)) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    # Without the barrier XLA repeats all of it in the update of every parameter: the program grows with their square.
    return jax.lax.optimization_barrier(functools.reduce(jnp.logical_and, each))


def with_defaults(
    where: str, loss: PerExample | None, metrics: Mapping[str, PerExample] | None
) -> tuple[PerExample, Mapping[str, PerExample]]:
    """Return the loss and metrics to use: classification and its accuracy unless given."""
    loss = classification() if loss is None else loss
    fix = "Pass losses.classification(), or lambda outputs, batch: ..."
    expect(callable(loss), where, "loss as a function of outputs and batch", shown(loss), fix, TypeError)
    if metrics is None:
        heads = isinstance(loss, WithAuxiliary) and isinstance(loss.loss, Classification)
        metrics = {"accuracy": batch_accuracy} if isinstance(loss, Classification) else {}
        metrics |= {"accuracy": with_auxiliary(batch_accuracy, weight=0)} if heads else {}
    ok = isinstance(metrics, Mapping) and all(isinstance(n, str) and callable(fn) for n, fn in metrics.items())
    fix = 'Pass {"accuracy": losses.batch_accuracy}, say.'
    expect(ok, where, "metrics as a dict of functions", shown(metrics), fix, TypeError)
    taken = sorted({"loss", "skipped"} & metrics.keys())
    expect(not taken, "metrics", "names other than 'loss' and 'skipped'", taken, "Rename them: these are taken.")
    return loss, metrics


def compares(*functions: PerExample) -> bool:
    """Return whether one of these losses and metrics compares the examples of a batch with each other."""
    return any(getattr(fn, "whole_batch", False) for fn in functions)


def expect_augment(where: str, augment: Any) -> None:
    """Raise `TypeError` unless `augment` is a function or None."""
    ok, fix = augment is None or callable(augment), "Pass augment.batched(augment.flip), say."
    expect(ok, where, "augment as a function of key and batch", shown(augment), fix, TypeError)


def expect_attack(where: str, attack: Any) -> None:
    """Raise `TypeError` unless `attack` is a function or None."""
    fix = "Pass **attack.defence.pgd_training(epsilon=8 / 255), say, which gives the loss and the attack."
    ok = attack is None or callable(attack)
    expect(ok, where, "attack as a function of key, logits_fn and batch", shown(attack), fix, TypeError)


def expect_batch(where: str, batch: Any) -> None:
    """Raise `TypeError` unless `batch` is a dict of arrays with `["image"]`."""
    ok = isinstance(batch, Mapping) and "image" in batch and all(map(is_array, batch.values()))
    fix = 'Pass {"image": images, "label": labels}.'
    expect(ok, where, 'a batch as a dict of arrays with "image"', shown(batch), fix, TypeError)
    shapes = {name: array.shape for name, array in batch.items()}
    ok = len({shape[:1] for shape in shapes.values()}) == 1 and shapes["image"] != ()
    expect(ok, where, "arrays with one example per row", f"shapes {shapes}", "Give each as many rows as images.")


def per_example(name: str, fn: PerExample, outputs: jax.Array, batch: Batch) -> jax.Array:
    """Return what a loss or metric gives, having checked that it is one for each image: a mean could not be masked."""
    values = fn(outputs, batch)
    wanted, got = (len(batch["image"]),), jnp.shape(values)
    ok = got == wanted or (hasattr(fn, "summary") and got[:1] == wanted)
    expect(ok, name, f"one number per image, shape {wanted}", f"shape {got}", "Return it without .mean().")
    return values


def summarized(functions: Mapping[str, PerExample], means: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures that losses and metrics average to, of such averages on the host."""
    return {name: float(getattr(functions.get(name), "summary", float)(mean)) for name, mean in means.items()}

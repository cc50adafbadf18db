"""The training step lowers for CPU, CUDA and TPU, which need not be there; that of every model: tests/models."""

import functools

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import augment, models
from jaxcnn.training import TrainState, make_train_step, sgd, warmup_cosine

pytestmark = pytest.mark.newest

MOVED = augment.batched(
    augment.compose(
        augment.flip, functools.partial(augment.shift, max_shift=1), functools.partial(augment.cutout, size=2)
    )
)


def test_the_training_step_lowers_for_every_platform():
    net, optimizer = models.create("cifar_resnet8"), sgd(warmup_cosine(0.1, 10))
    spec = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    state = jax.eval_shape(lambda key: TrainState.create(net, optimizer, key, spec), jax.random.key(0))
    batch = {"image": jax.ShapeDtypeStruct((4, 8, 8, 3), jnp.uint8), "label": jax.ShapeDtypeStruct((4,), jnp.int32)}
    step = make_train_step(net, optimizer, augment=MOVED, dtype=jnp.bfloat16, accumulate=2)
    with jax.debug_key_reuse(True), jax.numpy_rank_promotion("raise"):
        exported = jax.export.export(jax.jit(step), platforms=["cpu", "cuda", "tpu"])(state, batch)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    new_state, metrics = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    as_before = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), new_state) == as_before
    assert {metric: value.shape for metric, value in metrics.items()} == {"accuracy": (), "loss": (), "skipped": ()}

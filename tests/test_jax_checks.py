"""JAX's own checks of a step of many layers, and of a training. `make check-jax` runs the tests under them."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment, data
from jaxcnn import functional as F
from jaxcnn.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    DropBlock,
    Dropout,
    DropPath,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    LocalConv,
    LocalResponseNorm,
    MaxPool,
    Normalize,
    Residual,
    Sequential,
    SpatialDropout,
)
from jaxcnn.training import TrainState, fit, make_train_step, sgd

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]

NET = Sequential(
    normalize=Normalize((0.5,), (0.25,)),
    conv=Conv(4),
    norm=BatchNorm(),
    act=F.relu,
    block=Residual(Sequential(depthwise=DepthwiseConv(), norm=GroupNorm(2), drop=DropPath(0.1))),
    blocks=DropBlock(0.1, block_size=2),
    pool=MaxPool(2),
    response=LocalResponseNorm(),
    local=LocalConv(4, 3, padding="SAME"),
    maps=SpatialDropout(0.1),
    mean=AvgPool(2, stride=1),
    end=GlobalAvgPool(),
    drop=Dropout(0.1),
    head=Dense(3),
)
SMALL = Sequential(pool=AvgPool(4), norm=BatchNorm(), flatten=Flatten(), drop=Dropout(0.1), head=Dense(3))
MOVED = augment.batched(
    augment.compose(
        augment.flip, functools.partial(augment.shift, max_shift=1), functools.partial(augment.affine, degrees=9)
    )
)


@contextlib.contextmanager
def checked(*, leaks=True):
    """Raise where a key is used twice, where ranks differ without a word, and where a traced value gets out."""
    with jax.debug_key_reuse(True), jax.numpy_rank_promotion("raise"), jax.check_tracer_leaks(leaks):
        yield


def lowered(net, augment=MOVED):
    """Return one step's program, lowered for all platforms."""
    optimizer, image = sgd(0.1), (4, 8, 8, 1)
    state = jax.eval_shape(
        lambda key: TrainState.create(net, optimizer, key, jax.ShapeDtypeStruct(image, jnp.float32)), jax.random.key(0)
    )
    batch = {"image": jax.ShapeDtypeStruct(image, jnp.uint8), "label": jax.ShapeDtypeStruct((4,), jnp.int32)}
    step = make_train_step(net, optimizer, augment=augment)
    return jax.export.export(jax.jit(step), platforms=["cpu", "cuda", "tpu"])(state, batch)


def test_the_step():
    with checked():
        lowered(NET)


def twice(key, batch):
    return {**batch, "image": batch["image"] + jax.random.uniform(key) - jax.random.uniform(key)}


def ranks(key, batch):
    return {**batch, "image": batch["image"] + jnp.ones(1)}


def leaking(key, batch):
    leaking.out = batch["image"] + 1
    return batch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("augment", "message"),
    [(twice, "consumed"), (ranks, "rank_promotion"), (leaking, "[Ll]eaked")],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_the_checks_see(augment, message):
    with pytest.raises(Exception, match=message), checked():
        lowered(NET, augment)
    leaking.out = None


@pytest.mark.slow
def test_a_training():
    """Nothing moves to the device in the loop of steps, or back from an accelerator, but for what is moved by name."""
    random = np.random.default_rng(0)
    label = np.arange(40) % 3
    train = data.from_arrays(random.integers(0, 256, (40, 8, 8, 1), np.uint8), label)

    def guard(level):
        jax.config.update("jax_transfer_guard_host_to_device", level)
        jax.config.update("jax_transfer_guard_device_to_host", level)

    def around_the_loop(event):
        inside = event.kind in ("compiled", "epoch") or (event.kind == "step" and event.step % event.steps_per_epoch)
        guard("disallow" if inside else "allow")

    try:
        with checked(leaks=False):
            result = fit(
                SMALL,
                train,
                validation=0.25,
                augment=augment.batched(augment.flip),
                epochs=2,
                batch_size=8,
                key=jax.random.key(0),
                callbacks=[around_the_loop],
            )
    finally:
        guard("allow")
    assert len(result.history) == 2

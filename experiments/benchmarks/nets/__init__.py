"""The same nets in every library, one file a library, as its own documentation would write them.

Each file has `build(name, dtype) -> Training`. 3x3 kernels are padded by one pixel on every side, batch norm has
decay 0.9 and epsilon 1e-5 and stands after convolutions without bias.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

# Height, width and channels of one image.
NETS = {"lenet": (28, 28, 1), "vgg": (32, 32, 3), "resnet20": (32, 32, 3), "depthwise": (32, 32, 3)}
CLASSES = 10

LENET = (32, 64, 256)  # maps of the two 5x5 convolutions, each followed by a max-pool; units
VGG = (64, 64, "pool", 128, 128, "pool", 256, 256, "pool")  # maps of the 3x3 convolutions; then the images' mean
RESNET20 = ((16, 1), (16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1))  # maps, stride of a block
DEPTHWISE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1))  # maps, stride of a block, after a stem of 32
STEM = 32

RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # inner maps, blocks, stride of a stage

LEARNING_RATE, MOMENTUM = 0.05, 0.9

State = Any
Batch = Mapping[str, Any]


class Training(NamedTuple):
    """A net and its training in one JAX library, as pure functions of a tree of arrays.

    `init`: key -> state. `step`: (state, batch of "image" and "label") -> (state, measurements), which contain the
    loss. `forward`: (state, images) -> logits, not training. `params`: state -> what is trained.
    """

    init: Callable[[Any], State]
    step: Callable[[State, Batch], tuple[State, Any]]
    forward: Callable[[State, Any], Any]
    params: Callable[[State], Any]
    channels_first: bool = False


def optimizer() -> optax.GradientTransformation:
    return optax.sgd(LEARNING_RATE, momentum=MOMENTUM)


def train(init: Callable[[Any], Any], apply: Callable[..., tuple[Any, Any]], **options: Any) -> Training:
    """Return the training of a peer's net: the usual step of JAX and optax.

    Args:
        init: key -> (params, statistics).
        apply: (params, statistics, images, *, train) -> (logits, statistics).
    """

    def create(key):
        params, stats = init(key)
        return params, stats, optimizer().init(params)

    def step(state, batch):
        params, stats, opt_state = state

        def objective(params):
            logits, new_stats = apply(params, stats, batch["image"], train=True)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), batch["label"])
            return losses.mean(), new_stats

        (loss, stats), gradient = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer().update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), stats, opt_state), {"loss": loss}

    def forward(state, image):
        return apply(state[0], state[1], image, train=False)[0]

    return Training(create, step, forward, lambda state: state[0], **options)

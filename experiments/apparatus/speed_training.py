"""A training by a speed recipe and the test of what came out, as one program of a key and of images on the device."""

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.apparatus.speed_optimizer import EVERY, average_kept, speed_optimizer
from experiments.apparatus.speed_recipes import SpeedRecipe, speed_net
from jaxcnn import augment, data, initialization, losses
from jaxcnn.training.feed import numbered, order_of

WHITENED = 5000  # images that the first kernel is made of
TOGETHER = 2000  # images that are tested at once
GREY = 0.47  # about the mean of CIFAR-10's pixels: what covers an image


class Images(NamedTuple):
    """On the device: uint8 (N, H, W, C) and int32 (N,)."""

    image: jax.Array
    label: jax.Array


def images_by_chance(count: int, size: int) -> tuple[Images, data.DatasetInfo]:
    """Return images of ten classes that mean nothing, to measure time with, and what is known of them."""
    image_key, label_key = jax.random.split(jax.random.key(count))
    image = jax.random.randint(image_key, (count, size, size, 3), 0, 256, jnp.uint8)
    info = data.DatasetInfo("chance", tuple("0123456789"), (0.5,) * 3, (0.29,) * 3, "drawn", "")
    return Images(image, jax.random.randint(label_key, (count,), 0, 10)), info


class Learner(NamedTuple):
    """What changes from step to step; `average` is None where the recipe keeps none."""

    params: Any
    stats: Any
    opt_state: Any
    average: Any


class Lesson(NamedTuple):
    """What a step is about: rows (batch_size,), the epoch, and the number of the step, from 0."""

    rows: jax.Array
    epoch: jax.Array
    step: jax.Array


@dataclass(frozen=True, eq=False)
class SpeedTraining:
    """A recipe for a data set.

    `program` is all of it, from a key and both sets to the test accuracy: one dispatch. `in_turn` does the same step
    by step, for XLA on CPU runs many operations faster outside of loops.

    Args:
        recipe: what is done.
        info: of the set: classes, mean and standard deviation.
        size: training images; batches are full.
        dtype: of activations; weights, statistics and sums are float32.
        tiled: see `speed_net`.
    """

    recipe: SpeedRecipe
    info: data.DatasetInfo
    size: int
    dtype: Any = jnp.float32
    tiled: bool = True

    @functools.cached_property
    def net(self) -> Any:
        """The net, for normalised images."""
        return speed_net(self.recipe, len(self.info.class_names), len(self.info.mean), tiled=self.tiled)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.size // self.recipe.batch_size

    @property
    def steps(self) -> int:
        """Steps of the training."""
        return self.recipe.steps(self.size)

    @functools.cached_property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer."""
        return speed_optimizer(self.recipe, self.steps, self.per_epoch, self.dtype)

    @functools.cached_property
    def augmentation(self) -> Any:
        """From a key and a batch to the batch that is learned from."""
        recipe, p = self.recipe, functools.partial
        parts = [augment.alternating_flip, p(augment.shift, max_shift=recipe.shift, padding_mode="reflect")]
        parts += [p(augment.cutout, size=recipe.cutout, fill=GREY)] if recipe.cutout else []
        parts += [p(augment.brightness, delta=recipe.brightness)] if recipe.brightness else []
        parts += [p(augment.contrast, factor=(1 - recipe.contrast, 1 + recipe.contrast))] if recipe.contrast else []
        return augment.batched(augment.compose(*parts))

    def program(self, key: jax.Array, train: Images, test: Images) -> jax.Array:
        """Return the test accuracy, in [0, 1], of a training from its key; pure, for `jit` and `vmap`."""
        learner, lessons, own = self.start(key, train)
        learner, _ = jax.lax.scan(lambda held, lesson: (self.step(held, lesson, own, train), None), learner, lessons)
        return self.accuracy(learner.params, learner.stats, test)

    def in_turn(self) -> Any:
        """Return `program`, of which each step is a call."""
        start, step, accuracy = jax.jit(self.start), jax.jit(self.step, donate_argnums=0), jax.jit(self.accuracy)

        def program(key: jax.Array, train: Images, test: Images) -> jax.Array:
            learner, lessons, own = start(key, train)
            for at in range(self.steps):
                learner = step(learner, jax.tree.map(lambda array, at=at: array[at], lessons), own, train)
            return accuracy(learner.params, learner.stats, test)

        return program

    def start(self, key: jax.Array, train: Images) -> tuple[Learner, Lesson, Any]:
        """Return the learner before its first step, all lessons, and what their chance is drawn from."""
        init_key, order_key, coin_key, draw_key = jax.random.split(key, 4)
        some = self.normalized(train.image[:WHITENED])
        params, stats = self.net.init(init_key, some[:1])
        params["stem"]["conv"]["kernel"] = initialization.patch_whitening(some)
        if self.recipe.wide_head:
            params["head"]["kernel"] /= jnp.std(params["head"]["kernel"])
        # Of uint8 images on the device, one program knows every order beforehand.
        epochs = jnp.arange(-(-self.steps // self.per_epoch))
        order = jax.vmap(lambda epoch: order_of(order_key, epoch, self.size))(epochs)
        rows = order[:, : self.per_epoch * self.recipe.batch_size].reshape(-1, self.recipe.batch_size)[: self.steps]
        step = jnp.arange(self.steps)
        # A coin depends on an image's number: a run whose numbers begin elsewhere has other coins.
        own = draw_key, jax.random.randint(coin_key, (), 0, 2**30)
        average = (params, stats) if self.recipe.lookahead else None
        learner = Learner(params, stats, self.optimizer.init(params), jax.tree.map(jnp.array, average))
        return learner, Lesson(rows, step // self.per_epoch, step), own

    def step(self, learner: Learner, lesson: Lesson, own: Any, train: Images) -> Learner:
        """Return the learner after a step down the gradient of the loss, summed over the batch."""
        key, first = own
        batch = numbered({"image": data.to_float(train.image[lesson.rows])}, lesson.rows + first, lesson.epoch)
        images = self.augmentation(jax.random.fold_in(key, lesson.step), batch)["image"]
        x, label = self.normalized(images).astype(self.dtype), train.label[lesson.rows]

        def loss(params: Any) -> tuple[jax.Array, Any]:
            logits, stats = self.net.apply(params, learner.stats, x, train=True)
            return losses.cross_entropy(logits, label, label_smoothing=self.recipe.label_smoothing).sum(), stats

        gradient, stats = jax.grad(loss, has_aux=True)(learner.params)
        updates, opt_state = self.optimizer.update(gradient, learner.opt_state, learner.params)
        params = optax.apply_updates(learner.params, updates)
        if learner.average is None:
            return Learner(params, stats, opt_state, None)
        done = lesson.step + 1
        now, kept = (done % EVERY == 0) | (done >= self.steps), average_kept(done, self.steps)
        average = jax.tree.map(
            lambda slow, fast: jnp.where(now, slow + (1 - kept) * (fast - slow), slow), learner.average, (params, stats)
        )
        params, stats = jax.tree.map(lambda slow, fast: jnp.where(now, slow, fast), average, (params, stats))
        return Learner(params, stats, opt_state, average)

    def accuracy(self, params: Any, stats: Any, test: Images) -> jax.Array:
        """Return the part of the test images that is named right, with several views of each."""
        logits = self.logits(params, stats, data.to_float(test.image))
        return losses.accuracy(logits, test.label).mean()

    def logits(self, params: Any, stats: Any, image: jax.Array) -> jax.Array:
        """Return the mean logits of an image's views: half the image and its mirror image, half both moved diagonally.

        Of images that the first half leaves surer than others the second is not asked.
        """

        def of_some(images: jax.Array) -> jax.Array:
            x = self.normalized(images).astype(self.dtype)
            return self.net.apply(params, stats, x, train=False)[0].astype(jnp.float32)

        def of_views(images: jax.Array, *moves: int) -> jax.Array:
            moved = [augment.shifted(images, down=by, right=by) for by in moves]
            views = [*moved, *map(augment.mirrored, moved)]
            # One loop over all views: the net is compiled once, where `augment.test_time` compiles it for each.
            return in_parts(of_some, jnp.concatenate(views)).reshape(len(views), len(images), -1).mean(0)

        near = of_views(image, 0)
        sure = jax.nn.log_softmax(near).max(-1)
        rows = jax.lax.top_k(-sure, math.ceil(self.recipe.unsure * len(image)))[1]
        return near.at[rows].set((near[rows] + of_views(image[rows], -1, 1)) / 2)

    def normalized(self, image: jax.Array) -> jax.Array:
        """Return images with mean 0 and standard deviation 1 in each channel, float32."""
        return (data.to_float(image) - jnp.array(self.info.mean)) / jnp.array(self.info.std)


def in_parts(fn: Any, images: jax.Array) -> jax.Array:
    """Return what `fn` makes of images, some at a time."""
    count = len(images)
    size = min(count, TOGETHER)
    padded = jnp.pad(images, ((0, -count % size), (0, 0), (0, 0), (0, 0)))
    found = jax.lax.map(fn, padded.reshape(-1, size, *images.shape[1:]))
    return found.reshape(-1, *found.shape[2:])[:count]

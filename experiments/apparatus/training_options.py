"""The options of a training, and what they make: data, net, optimizer, augmentation."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.image_sets import Choice, few_scenes, taken
from experiments.apparatus.recipes import Flip, Views, has_own, recipe
from experiments.framework.device import console
from jaxcnn import augment, data, layers, models, training
from jaxcnn.checking import expect

OF_MODEL = ("width", "convolutions")  # the options that the model's function takes
QUICK_EPOCHS = 8  # that the recipe has with --quick
STEPS_AT_LEAST = 4  # of an epoch with a small set without a recipe, unless a batch size is given
QUICK = 2000  # examples of a large set that --quick takes


def moved(down: int, right: int) -> list[Callable]:
    """Return two views: the image moved by whole pixels, and the same mirrored."""
    move = partial(augment.shifted, down=down, right=right)
    return [move, lambda images: move(augment.mirrored(images))]


# Airbench's: the image, moved up and to the left, down and to the right, each mirrored too.
VIEWS: dict[str, tuple[Callable, ...]] = {
    "one": (),
    "mirrored": (*moved(0, 0),),
    "moved": (*moved(0, 0), *moved(-1, -1), *moved(1, 1)),
}


@dataclass(frozen=True)
class Config(Choice):
    # What is None here is the recipe's of the data set and the device: see experiments/apparatus/recipes.py.
    workers: int = 0  # processes that read a set too large for memory; 0 uses threads
    model: str | None = None  # one of jaxcnn.models.names()
    width: int | None = None  # maps of the model's first stage
    convolutions: tuple[int, ...] | None = None  # of each stage of a VGG
    epochs: int | None = None  # passes through the training set
    batch_size: int | None = None  # images per step
    learning_rate: float | None = None  # peak of the schedule: warm-up over a tenth, then half a cosine
    momentum: float = 0.9  # of SGD, Nesterov's
    weight_decay: float | None = None  # of kernels
    label_smoothing: float | None = None  # 0..1
    validation: float | None = None  # fraction of the training set held out, which chooses the epoch; 0 for none
    patience: int | None = None  # epochs without improvement before stopping; None trains to the end
    rotation: float | None = None  # augmentation: degrees either way
    zoom: float | None = None  # augmentation: fraction either way
    shift: float | None = None  # augmentation: pixels either way
    crop: int | None = None  # augmentation: pixels of zeros around, out of which a window is cut
    flip: Flip | None = None  # augmentation: left and right exchanged, half the time or by turns
    cutout: int | None = None  # augmentation: side of the square that is blotted out, in pixels
    brightness: float | None = None  # augmentation: of full scale, either way
    contrast: float | None = None  # augmentation: fraction either way
    dtype: Literal["float32", "bfloat16"] = "float32"  # of images and activations; parameters stay float32
    accumulate: int = 1  # parts of a batch that go through the net one after another, for memory
    rematerialize: bool = False  # compute the inside of each block again in the backward pass, for memory
    model_parallel: int = 1  # devices that share the parameters and the optimizer's state
    save_every: int | None = None  # steps between checkpoints; None for one a minute
    resume: str | None = None  # folder of a run to go on with; its options hold
    views: Views | None = None  # of a test image, over which the net's outputs are averaged
    explain: bool = False  # show why the net answered what it did to one test image: some 10 s
    attack: bool = False  # show how small a change fools the net: about a minute
    seeds: int = 1  # how many seeds, from --seed on
    overfit_batch: bool = False  # learn one batch by heart, as a check of the whole path
    find_lr: bool = False  # try learning rates and suggest one, instead of training


Resolved = Any
"""A `Config` of which nothing is open any more."""


def resolve(config: Config) -> Resolved:
    """Return the options with the recipe's for those that are not given."""
    platform = jax.default_backend()
    known, seen = recipe(config.dataset, platform), ""
    if not has_own(config.dataset):
        train_set, _ = config.loaded()
        known = recipe(config.dataset, platform, side=min(train_set.spec.shape[1:3]))
        held_out = known["validation"] if config.validation is None else config.validation
        few = int((1 - held_out) * train_set.size) // STEPS_AT_LEAST
        known["batch_size"] = max(1, min(known["batch_size"], few))
        seen = "images of {1}x{2} pixels, ".format(*train_set.spec.shape)
    if config.quick:
        known["epochs"] = min(known["epochs"], QUICK_EPOCHS)
    if config.model not in (None, known["model"]):
        known |= dict.fromkeys(OF_MODEL)  # they are for the model of the recipe
    chosen = {name: value for name, value in known.items() if getattr(config, name) is None}
    told = ", ".join(f"{name} {value}" for name, value in chosen.items() if value not in (None, 0.0, "no", "one"))
    console.print(f"recipe: {seen}{told}", markup=False)
    config = dataclasses.replace(config, **chosen)
    fix = "Pass --epochs 10, say."
    expect(config.epochs is not None and config.epochs >= 1, "train", "epochs as a positive int", config.epochs, fix)
    return config


def run_name(config: Resolved) -> str:
    what = "find-lr-" if config.find_lr else "overfit-" if config.overfit_batch else ""
    ending = config.ending
    if config.seeds > 1:
        ending = ending.replace("-seed", "-seeds") + f"-{config.seed + config.seeds - 1}"
    return f"{what}{config.called()}-{config.model}{ending}"


def load(config: Resolved) -> tuple[Any, Any]:
    """Return training and test set; a set without an official test set is split by the run's seed."""
    if config.quick and config.dataset == "scenes":
        return few_scenes(QUICK // 4, QUICK // 8)  # to draw more takes longer than such a run
    train_set, test_set = (part_of(config, part) for part in config.loaded())
    return train_set, test_set


def part_of(config: Resolved, part: Any) -> Any:
    """Return a set as it is used: some of a large one for `--quick`, with the workers of a stream."""
    if config.quick and part.size > QUICK:
        part = part.take(np.asarray(jax.random.permutation(jax.random.key(config.seed), part.size))[:QUICK])
    return dataclasses.replace(part, workers=config.workers) if isinstance(part, data.Stream) else part


def prepare(config: Resolved) -> tuple[data.Dataset, data.Dataset, layers.Sequential]:
    """Return training set, test set, and the net with the set's normalisation as its first layer."""
    train_set, test_set = load(config)
    info = train_set.info
    options = {name: getattr(config, name) for name in OF_MODEL if getattr(config, name) is not None}
    model = models.create(config.model, num_classes=len(info.class_names), **options)
    return train_set, test_set, layers.Sequential(normalize=layers.Normalize(info.mean, info.std), **model.layers)


def blocks(net: layers.Sequential) -> list[str]:
    """Return the names of the net's own layers that are made of layers."""
    return [name for name, layer in net.layers.items() if isinstance(layer, layers.Layer) and layer.children()]


def optimizer(config: Resolved, steps: int) -> Any:
    schedule = training.warmup_cosine(config.learning_rate, steps)
    return training.sgd(schedule, momentum=config.momentum, weight_decay=config.weight_decay)


def steps_per_epoch(config: Resolved, train_set: Any) -> int:
    if config.validation:  # how many are held out of each class does not depend on the key
        train_set, _ = data.split(train_set, config.validation, key=jax.random.key(0))
    return max(train_set.size // config.batch_size, 1)


def augmentation(config: Resolved) -> Callable[[jax.Array, Any], Any] | None:
    """Return the augmentation of a batch that the options ask for, or None."""
    steps: list[Callable] = []
    if config.rotation or config.zoom or config.shift:
        zoom = (1 - config.zoom, 1 + config.zoom)
        steps.append(partial(augment.affine, degrees=config.rotation, factor=zoom, max_shift=config.shift))
    if config.crop:
        steps.append(partial(augment.crop, padding=config.crop))
    if config.flip == "random":
        steps.append(augment.flip)
    if config.flip == "alternating":
        steps.append(partial(augment.alternating_flip, seed=config.seed))
    if config.cutout:
        steps.append(partial(augment.cutout, size=config.cutout))
    if config.brightness:
        steps.append(partial(augment.brightness, delta=config.brightness))
    if config.contrast:
        steps.append(partial(augment.contrast, factor=(1 - config.contrast, 1 + config.contrast)))
    return augment.batched(augment.compose(*steps)) if steps else None


def first_batch(config: Resolved, train_set: data.Dataset, transform: Callable | None) -> np.ndarray:
    """Return some training images as the net will see them."""
    # From all over the set: the files of a folder lie class by class.
    image = taken(train_set, np.unique(np.linspace(0, train_set.size - 1, 32).astype(int)))["image"]
    batch = {"image": data.to_float(image), "index": jnp.arange(len(image)), "epoch": jnp.zeros(len(image), jnp.int32)}
    return np.asarray((batch if transform is None else jax.jit(transform)(jax.random.key(config.seed), batch))["image"])

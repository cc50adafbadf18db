"""The images that `experiments.fooling` finds: in three ways, for one net and for one that was warned of them."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcnn
from experiments import train
from experiments.apparatus.liked_images import judged, mean_images
from experiments.apparatus.trained import Trained, trained
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.run_folder import stored_options
from experiments.framework.runner import record
from jaxcnn import data, layers, training, transfer
from jaxcnn.attack import fooling

ASCENT, DIRECT, PATTERNS = "gradient ascent", "evolution of pixels", "evolution of patterns"
REAL = "test images"
BATCH = 64  # images per step while a net is warned

Way = Callable[[jax.Array, Any, np.ndarray], fooling.Fooled]


class Measured(NamedTuple):
    """What is known of images and of the class each is to show; arrays (n,)."""

    sure: np.ndarray  # the net's probability of the class, after rounding to 8 bits
    other_class: np.ndarray  # what a second net takes it for
    other_sure: np.ndarray  # and its probability of the class
    nearest: np.ndarray  # distance to the nearest training image, root of the mean square over pixels
    correlation: np.ndarray  # with the mean training image of the class, over pixels
    judged: np.ndarray  # the class that most of the nearest training images have


def ways(spec: Any, steps: int, generations: int, population: int) -> Mapping[str, Way]:
    """Return by name the functions (key, logits_fn, classes) -> images of those classes."""
    options = {"generations": generations, "population": population}
    return {
        ASCENT: lambda key, fn, classes: fooling.ascent(key, fn, spec, classes=classes, steps=steps),
        DIRECT: lambda key, fn, classes: fooling.evolve(key, fn, spec, classes=classes, **options),
        PATTERNS: lambda key, fn, classes: fooling.evolve(
            key, fn, spec, classes=classes, encoding="patterns", **options
        ),
    }


def another(config: Any, mine: Trained) -> Trained:
    """Return a second net, trained like the first with another seed; like the recipe of the set if a file was given."""
    folder, source = Path(config.run) / "second", Path(config.source)
    if not (config.source and source.is_dir()):
        own = dataclasses.replace(config, source="", seed=config.seed + 1, run=str(folder))
        return trained("fooling", own, label_smoothing=config.label_smoothing)
    folder.mkdir(parents=True)
    options = stored_options("fooling", "train", train.Config, source)
    options = dataclasses.replace(options, seed=options.seed + 1, run=str(folder), resume=None)
    record("train", train.main, options, folder)
    model = jaxcnn.load(folder)
    return Trained(model.net, model.params, model.state, mine.train, mine.test)


def warned(mine: Trained, images: np.ndarray, steps: int, key: jax.Array) -> Trained:
    """Return the net after so many steps more with images as one more class, as large as the others on average."""
    names, head_key, key = mine.class_names, *jax.random.split(key)
    many = np.resize(np.arange(len(images)), mine.train.size // len(names))
    image, label = mine.train["image"], np.asarray(mine.train["label"])
    more = eight_bit(images) if image.dtype == np.uint8 else images.astype(image.dtype)
    both = data.from_arrays(
        np.concatenate([image, more[many]]),
        np.concatenate([label, np.full(len(many), len(names), label.dtype)]),
        class_names=(*names, "fooling"), name=mine.train.info.name,
    )  # fmt: skip
    head = layers.Dense(len(names) + 1)
    given: Any = mine.net
    net, params, state = transfer.swap_head(given, mine.params, mine.state, head, key=head_key, spec=mine.train.spec)
    epochs = max(1, steps // (both.size // BATCH))
    console.print(f"{epochs} epochs with {len(images)} of these images as one more class", markup=False)
    with ProgressBar(console) as bar:
        found = training.fit(
            net, both, start=(params, state), optimizer=optax.adam(1e-3), epochs=epochs, batch_size=BATCH, key=key,
            callbacks=[bar],
        ).state  # fmt: skip
    return Trained(net, found.params, found.model_state, both, mine.test)


def sure_of(net: Trained, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how sure a net is that images show these classes, after rounding to 8 bits, (n,)."""
    return np.take_along_axis(shares(net, images), classes[:, None], 1)[:, 0]


def shares(net: Trained, images: np.ndarray) -> np.ndarray:
    """Return the probabilities of all classes for images, after rounding to 8 bits, (n, classes)."""
    return np.asarray(jax.nn.softmax(outputs(net, eight_bit(images))))


def measured(mine: Trained, second: Trained, images: np.ndarray, classes: np.ndarray) -> Measured:
    """Return what is known of images (n, H, W, C) in [0, 1] that are to show these classes (n,)."""
    others, flat = shares(second, images), images.reshape(len(images), -1)
    like, distance = judged(mine, images)
    means = mean_images(mine, np.arange(len(mine.class_names)))[classes].reshape(flat.shape)
    return Measured(
        sure_of(mine, images, classes),
        others.argmax(1),
        np.take_along_axis(others, classes[:, None], 1)[:, 0],
        distance,
        correlation(flat, means),
        like,
    )


def outputs(net: Trained, images: np.ndarray) -> np.ndarray:
    """Return the logits of images."""
    return training.predict(net.net, net.params, net.state, {"image": images})


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each row of a with that of b; 0 for a row of one value."""
    a, b = (rows - rows.mean(1, keepdims=True) for rows in (a.astype(np.float64), b.astype(np.float64)))
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(1) / np.where(size == 0, 1, size)


def eight_bit(images: np.ndarray) -> np.ndarray:
    """Return images in [0, 1] as they would be saved."""
    return np.rint(255 * images).astype(np.uint8)


def examples(mine: Trained, classes: np.ndarray) -> np.ndarray:
    """Return the first test image of each class that the net gets right, or the first."""
    right = outputs(mine, mine.test["image"]).argmax(1) == mine.test["label"]
    first = [int(np.lexsort((~right, mine.test["label"] != k))[0]) for k in classes]
    return np.asarray(data.to_float(jnp.asarray(mine.test["image"][np.asarray(first)])))


def first_above(history: Any, confidence: float) -> np.ndarray:
    """Return after how many steps each class (n,) was past the confidence; NaN where it never was."""
    past = np.asarray(history) > confidence
    return np.where(past.any(0), past.argmax(0), np.nan)

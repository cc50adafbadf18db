"""The images that `experiments.maximize` finds: of every class, in several ways, and what else says what they show."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.trained import Trained
from jaxcnn import data, training
from jaxcnn.explain import maximization as mx

NEIGHBOURS = 5  # training images that are asked what an image shows
MOST = 10_000  # training images among which they are looked for

# About as far as the images of the recipes are moved while a net learns; what comes in from outside is black.
MOVED = mx.Robustness(jitter=1 / 8, rotate=12.0, scale=0.15, padding_mode="constant")


class Way(NamedTuple):
    """How an image is looked for."""

    parameterization: mx.Parameterization
    transforms: tuple[mx.Robustness, ...] = ()
    norm: float = 0.0  # weight of the mean square of its pixels
    variation: float = 0.0  # weight of the mean difference of neighbours
    certainty: float = 0.0  # weight of the logarithm of the class's probability, beside its score
    still: int = 0  # further steps in which it is not moved


CHOSEN = "frequencies, moved about, dark and smooth"
WAYS: Mapping[str, Way] = {
    CHOSEN: Way(mx.Fourier(), (MOVED,), norm=20.0, variation=10.0, certainty=10.0, still=8),
    "pixels": Way(mx.Pixels()),
    "frequencies": Way(mx.Fourier()),
    "pixels, moved about": Way(mx.Pixels(), (MOVED,)),
    "frequencies, moved about": Way(mx.Fourier(), (MOVED,)),
    "frequencies, moved about, dark": Way(mx.Fourier(), (MOVED,), norm=20.0),
}


class Liked(NamedTuple):
    """One image for each of some classes."""

    images: np.ndarray  # (n, H, W, C) in [0, 1]
    confidence: np.ndarray  # (n,), the net's probability of its class
    eight_bit: np.ndarray  # (n,), likewise after rounding to 256 levels
    judged: np.ndarray  # (n,), the class that most of the nearest training images have


def liked(mine: Trained, way: Way, classes: np.ndarray, steps: int, key: jax.Array) -> Liked:
    """Return an image for each class, all of one program."""
    shape = (len(classes), *mine.train.spec.shape[1:])
    objective = (
        mx.ClassScore(classes)
        + way.certainty * mx.LogProbability(classes)
        - way.norm / mine.train.spec.size * mx.SquaredNorm()
        - way.variation / mine.train.spec.size * mx.TotalVariation()
    )
    options = {"shape": shape, "parameterization": way.parameterization}
    net, params, state = mine[:3]
    moved = {"transforms": way.transforms, "steps": steps, **options}
    found = mx.maximize(jax.random.clone(key), net, params, state, objective, **moved)
    if way.still:
        steps, start = way.still, found.images
        again = jax.random.clone(key)  # nothing is drawn with it here
        found = mx.maximize(again, net, params, state, objective, transforms=(), steps=steps, start=start, **options)
    images = np.asarray(found.images)
    rounded = np.rint(255 * images).astype(np.uint8)
    sure, eight_bit = (confidence(mine, x, classes) for x in (images, rounded))
    return Liked(images, sure, eight_bit, judged(mine, images)[0])


def confidence(mine: Trained, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the probability that the net gives each image's class."""
    logits = training.predict(mine.net, mine.params, mine.state, {"image": images})
    return np.take_along_axis(np.asarray(jax.nn.softmax(logits)), classes[:, None], axis=1)[:, 0]


def judged(mine: Trained, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what training images say of images (n, H, W, C) in [0, 1], by the distance of pixels: no net has a say.

    The class that most of the nearest have, (n,), and how far the very nearest is, (n,), the root of the mean square.
    """
    from sklearn.neighbors import KNeighborsClassifier

    known = np.asarray(data.to_float(mine.train["image"][:MOST])).reshape(-1, images[0].size)
    flat = images.reshape(len(images), -1)
    judge: Any = KNeighborsClassifier(min(NEIGHBOURS, len(known)))
    judge.fit(known, mine.train["label"][:MOST])
    return judge.predict(flat), judge.kneighbors(flat, 1)[0][:, 0] / flat.shape[1] ** 0.5


def mean_images(mine: Trained, classes: np.ndarray) -> np.ndarray:
    """Return the mean training image of each class."""
    scale = 255 if mine.train["image"].dtype == np.uint8 else 1
    return np.stack([mine.train["image"][mine.train["label"] == k].mean(0) / scale for k in classes])


def channels_liked(mine: Trained, at: str, count: int, steps: int, key: jax.Array) -> np.ndarray:
    """Return an image for each of the first channels of a layer."""
    shape = (count, *mine.train.spec.shape[1:])
    objective = mx.Channel(at, jnp.arange(count))
    return np.asarray(mx.maximize(key, mine.net, mine.params, mine.state, objective, shape=shape, steps=steps).images)

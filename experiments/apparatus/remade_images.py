"""What `experiments.maximize` makes of test images: inversions layer by layer, a dream, a caricature."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.trained import Trained
from jaxcnn import report
from jaxcnn.data import to_float
from jaxcnn.explain import maximization as mx

ENLARGED = 4  # times that an image is enlarged before the net dreams of it


class Inverted(NamedTuple):
    """Test images, and what they are remade as from what a layer gives for them."""

    images: np.ndarray
    code_error: np.ndarray
    image_error: np.ndarray


def inverted(mine: Trained, x: jax.Array, at: list[str], steps: int, key: jax.Array) -> dict[str, Inverted]:
    """Return images x remade from each of some layers, without a prior: what is unlike them the layer has forgotten."""
    found = {}
    for path in at:
        again = mx.invert(jax.random.clone(key), mine.net, mine.params, mine.state, x, at=path, steps=steps)
        found[path] = Inverted(*map(np.asarray, (again.images, again.code_error, again.image_error)))
    return found


def inversion_section(x: np.ndarray, found: dict[str, Inverted], steps: int) -> report.Section:
    """Return the images above what each layer remakes of them, and how far they are."""
    rows = {"test images": x} | {path: again.images for path, again in found.items()}
    captions = {"test images": [""] * len(x)}
    captions |= {path: [f"{100 * e:.0f} % off" for e in again.image_error] for path, again in found.items()}
    table = [
        {
            "layer": path,
            "image error, %": round(100 * float(again.image_error.mean()), 1),
            "code error, %": round(100 * float(again.code_error.mean()), 1),
        }
        for path, again in found.items()
    ]
    return report.Section(
        "What each layer still knows",
        [
            report.Picture(
                report.image_rows(rows, captions),
                f"Test images, and below them images found from noise in {steps} steps that the layer answers alike; "
                "how far they are from the image, of its own length. No prior on images: the layer alone decides.",
                "Rows of images, ever less like the first row from layer to layer.",
            ),
            report.Table(table, "Means of these images; the code is what the layer gives."),
        ],
    )


def dream_section(mine: Trained, image: np.ndarray, at: list[str], steps: int, key: jax.Array) -> report.Section:
    """Return one test image as the layers dream of it, and their caricatures of it."""
    small = to_float(jnp.asarray(image))
    shape = (ENLARGED * image.shape[0], ENLARGED * image.shape[1], image.shape[2])
    large = jnp.clip(jax.image.resize(small, shape, "cubic"), 0, 1)
    net, params, state = mine[:3]
    dreams = [mx.deep_dream(key, net, params, state, large, mx.WholeLayer(path), octaves=3, steps=20) for path in at]
    drawn = [mx.caricature(key, net, params, state, small, at=path, steps=steps).images for path in at]
    rows = {
        "image, enlarged, and DeepDream of it": np.stack([large, *dreams]),
        "image, and caricatures of it": np.stack([small, *drawn]),
    }
    titles = ["image", *at]
    return report.Section(
        "Dreams and caricatures",
        [
            report.Picture(
                report.image_rows(rows, dict.fromkeys(rows, titles)),
                f"Above, one test image enlarged {ENLARGED} times, with more of whatever a layer sees in it (DeepDream "
                "in 3 octaves of 20 steps). Below, images found from noise whose activations point along the test "
                "image's, position by position, and are as long as can be.",
                "Two rows: an image and what layers make of it.",
            )
        ],
    )

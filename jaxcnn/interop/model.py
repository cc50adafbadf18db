"""A trained net with all that it takes to use it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import array, expect, expect_count
from jaxcnn.classifier import logits_of
from jaxcnn.data.decoding import Decoder, require_pillow
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.training.evaluation import predictor

__all__ = ["Model"]

MOST_BYTES = 2**28  # of an image file
BYTES = 32  # floats beyond are no pixels in [0, 1], nor normalised ones


@dataclass(frozen=True)
class Model:
    """A net, its weights, the images that it takes, and the names of its classes: `model(images)` gives its outputs.

    `spec`: shape (batch axis included) and dtype of the images. `class_names`: one for each output; () where it has no
    classes.
    """

    net: Layer
    params: Params = field(repr=False)
    state: State = field(repr=False)
    spec: jax.ShapeDtypeStruct
    class_names: tuple[str, ...] = ()

    def __call__(self, images: Any) -> Any:
        """Return the net's outputs for images (N, H, W, C), or one (H, W, C), uint8 or floating in [0, 1].

        Raises:
            ValueError: images of another shape; floats that look like 0..255.
            TypeError: neither uint8 nor floating.
        """
        images = array("Model", "images", images)
        rank = len(self.spec.shape)
        fix = "Scale and crop them to what the net was trained on."
        what = f"images of shape (..., {', '.join(map(str, self.spec.shape[1:]))})"
        ok = images.ndim >= rank - 1 and images.shape[1 - rank :] == self.spec.shape[1:]
        expect(ok, "Model", what, images.shape, fix)
        most = 0 if isinstance(images, jax.core.Tracer) or images.dtype == jnp.uint8 else float(images.max(initial=0))
        fix = "Divide by 255, or pass uint8."
        expect(not most > BYTES, "Model", "floating images in [0, 1]", f"values up to {most:g}", fix)
        return _outputs(predictor(self.net, self.params, self.state), images)

    def read(self, *paths: Path | str) -> np.ndarray:
        """Return image files as the net takes them, uint8 (N, H, W, C), for `model(...)` and `classify`.

        Each is turned as its EXIF entry says, its short side resized to what the net takes, and the middle kept; grey
        if the net sees grey ones. Nothing else is done to it: white strokes on black stay what they are.

        Raises:
            ValueError: no path, a file that is no image or larger than 256 MB, a model of other than square images.
            ImportError: Pillow is not installed.
        """
        where, fix = "read", "Such nets take arrays: model(images)."
        _, *size, channels = self.spec.shape
        ok = len(size) == 2 and size[0] == size[1] and channels in (1, 3, 4)
        expect(ok, where, "a model of square images", self.spec.shape, fix)
        expect(bool(paths), where, "an image", "none", "Pass the path of one.")
        require_pillow()
        decode, images = Decoder(channels, size[0]), []
        for path in map(Path, paths):
            expect(path.is_file(), where, "an image file", path, "Look at its path.")
            small = path.stat().st_size <= MOST_BYTES
            expect(small, where, "an image file", f"{path} of more than 256 MB", "Reduce it.")
            try:
                images.append(decode(path.read_bytes()))
            except Exception as error:  # whatever Pillow finds wrong with it
                unknown = type(error).__name__ == "UnidentifiedImageError"
                reason = "of no format that Pillow knows" if unknown else " ".join(str(error).split())
                raise ValueError(f"{where}: expected an image file, got {path} ({reason}). Look at it.") from error
        return np.stack(images)

    def classify(self, images: Any, top: int = 5) -> list[list[tuple[str, float]]]:
        """Return the likeliest classes of each image, the likeliest first, with their probabilities.

        Args:
            images: (N, H, W, C), or one (H, W, C), uint8 or floating in [0, 1].
            top: how many classes, at most.

        Raises:
            ValueError: images of another shape; a net that has no classes, or that has them for every pixel.
            TypeError: images that are neither uint8 nor floating.
        """
        top = expect_count("classify", "top", top)
        expect(bool(self.class_names), "classify", "a model with class names", "none", "Save it with class_names.")
        outputs = self(images)
        logits = logits_of(outputs)
        fix = "Call the model itself, whose outputs may have any shape."
        expect(logits.ndim <= 2, "classify", "logits (N, classes)", f"outputs of shape {logits.shape}", fix)
        shares = np.atleast_2d(jax.nn.softmax(logits.astype(jnp.float32)))
        best = np.argsort(-shares, axis=-1, kind="stable")[:, :top]
        return [
            [(self.class_names[at], float(row[at])) for at in places] for row, places in zip(shares, best, strict=True)
        ]


@jax.jit
def _outputs(logits_fn: Any, images: jax.Array) -> Any:
    return logits_fn(images)

"""What an example holds, known in this one place: `augmentation` lifts functions of images to examples."""

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax

from jaxcnn.checking import expect, floating

__all__ = ["Example", "augmentation"]

Example = dict[str, Any]
Options = ParamSpec("Options")
ImageOrExample = TypeVar("ImageOrExample", jax.Array, Example)


def augmentation(
    fn: Callable[Concatenate[jax.Array, jax.Array, Options], jax.Array],
) -> Callable[Concatenate[jax.Array, ImageOrExample, Options], ImageOrExample]:
    """Return `fn`, a function of a key and a checked image, as one that takes examples too.

    Of an example (a dict) the "image" entry is transformed and the others are handed on as they are.

    Raises:
        TypeError: the image has no floating dtype.
        ValueError: it is no single image (H, W, C), or the example has no "image".
    """
    where = fn.__name__

    @functools.wraps(fn)
    def of_image_or_example(key: jax.Array, image: Any, *args: Options.args, **options: Options.kwargs) -> Any:
        if isinstance(image, dict):
            has = "image" in image
            expect(has, where, 'an example with an "image" entry', list(image), "Name the image's entry so.")
            return {**image, "image": of_image_or_example(key, image["image"], *args, **options)}
        image = floating(where, "image", image)
        lift = "Lift the function over a batch with jaxcnn.augment.batched, give grey images one channel."
        expect(image.ndim == 3, where, "one image (H, W, C)", f"shape {image.shape}", lift)
        return fn(key, image, *args, **options)

    return of_image_or_example

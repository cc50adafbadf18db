"""What an example holds, known in this one place: decorators lift functions of an image or its frame to examples."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from jaxcnn.augment.motion import Motion
from jaxcnn.checking import expect, expect_key, expect_names, floating, integral, is_int, shown

__all__ = ["Example", "augmentation", "geometric", "lifted"]

Example = dict[str, Any]
Options = ParamSpec("Options")
ImageOrExample = TypeVar("ImageOrExample", jax.Array, Example)


def augmentation(
    fn: Callable[Concatenate[jax.Array, jax.Array, Options], jax.Array],
) -> Callable[Concatenate[jax.Array, ImageOrExample, Options], ImageOrExample]:
    """Return `fn`, a function of a key and a checked image, as one that takes examples too.

    For what changes values and moves nothing: of an example (a dict) the "image" entry is transformed and the
    others are handed on as they are.

    Raises:
        TypeError: the image has no floating dtype.
        ValueError: it is no single image (H, W, C), or the example has no "image".
    """

    def change(key: jax.Array, example: Example, *args: Options.args, **options: Options.kwargs) -> Example:
        return {**example, "image": fn(key, example["image"], *args, **options)}

    return lifted(fn, change)


def geometric(
    fn: Callable[Concatenate[jax.Array, tuple[int, int], Options], Motion],
) -> Callable[Concatenate[jax.Array, ImageOrExample, Options], ImageOrExample]:
    """Return `fn`, a function of a key and a frame (H, W) that draws a motion, as one of an image or example.

    Of an example what lies in the plane moves together, and the other entries are handed on as they are:

    - "image", floating (H, W, C);
    - "mask" and names that end in "_mask", integer labels (H, W), to the nearest pixel; where `fn` lets
      something in from outside, the label there is its option `mask_fill`;
    - "boxes", floating (K, 4), x0, y0, x1, y1 in pixels, pixel (i, j) covering [j, j + 1] x [i, i + 1]: to
      the boxes around the moved corners, cut off at the frame; of area zero when nothing is left;
    - "keypoints", floating (K, 2), x, y likewise; they may leave the frame.

    Raises:
        TypeError: the image, boxes or keypoints have no floating dtype, or a mask no integer one.
        ValueError: no single image (H, W, C), no "image"; masks, boxes or keypoints of another shape; a
            `mask_fill` that the mask's dtype cannot hold.
    """
    where = fn.__name__

    def change(key: jax.Array, example: Example, *args: Options.args, **options: Options.kwargs) -> Example:
        frame, fill = example["image"].shape[:2], options.get("mask_fill", 0)
        entries = {name: _entry(where, name, value, frame, fill) for name, value in example.items()}
        motion = fn(key, frame, *args, **options)
        return {name: moved(motion) for name, moved in entries.items()}

    of_examples = lifted(fn, change)
    signature = inspect.signature(fn)
    key, frame, *options = signature.parameters.values()
    image = frame.replace(name="image", annotation=jax.Array | Example)
    signature = signature.replace(parameters=[key, image, *options], return_annotation=image.annotation)
    of_examples.__signature__ = signature  # pyrefly: ignore
    return of_examples


def lifted(fn: Callable[..., Any], change: Callable[..., Example]) -> Callable[..., Any]:
    """Return `change`, a function of a key and an example with a checked image, under the name of `fn`."""
    where = fn.__name__

    draws = next(iter(inspect.signature(fn).parameters)) == "key"  # what policies are made of is given a level

    @functools.wraps(fn)
    def of_image_or_example(key: jax.Array, image: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(image, dict):
            return of_image_or_example(key, {"image": image}, *args, **options)["image"]
        if draws:
            expect_key(where, key)
        expect_names(where, "an example", image)
        has = "image" in image
        expect(has, where, 'an example with an "image" entry', list(image), "Name the image's entry so.")
        checked = floating(where, "image", image["image"])
        lift = "Lift the function over a batch with jaxcnn.augment.batched, give grey images one channel."
        expect(checked.ndim == 3, where, "one image (H, W, C)", f"shape {checked.shape}", lift)
        expect(checked.size > 0, where, "an image with a pixel", f"shape {checked.shape}", "Leave empty images out.")
        return change(key, {**image, "image": checked}, *args, **options)

    return of_image_or_example


def _entry(where: str, name: str, value: Any, frame: tuple[int, int], fill: Any) -> Callable[[Motion], Any]:
    """Check an entry before anything is drawn; return what it becomes under a motion."""
    if name == "image":
        return lambda motion: motion.pixels(value)
    if name == "mask" or str(name).endswith("_mask"):
        mask = _mask(where, name, value, frame, fill)
        return lambda motion: motion.labels(mask)
    if name == "boxes":
        boxes = _rows(where, name, value, 4)
        return lambda motion: motion.boxes(_wide(boxes)).astype(boxes.dtype)
    if name == "keypoints":
        points = _rows(where, name, value, 2)
        return lambda motion: motion.points(_wide(points)).astype(points.dtype)
    return lambda motion: value


def _mask(where: str, name: str, value: Any, frame: tuple[int, int], fill: Any) -> jax.Array:
    mask = integral(where, name, value, "Convert it, booleans with .astype(jax.numpy.uint8).")
    fix = "Labels are (H, W), without a channel axis."
    expect(mask.shape == frame, where, f"{name} of the image's shape {frame}", mask.shape, fix)
    info = jnp.iinfo(mask.dtype)
    fits = is_int(fill) and info.min <= int(fill) <= info.max
    expect(
        fits, where, f"mask_fill within {name}'s dtype {mask.dtype}", shown(fill), "Choose a label that it can hold."
    )
    return mask


def _rows(where: str, name: str, value: Any, length: int) -> jax.Array:
    rows = floating(where, name, value)
    ok = rows.ndim == 2 and rows.shape[1] == length
    fix = f"Without any, K is 0: jax.numpy.zeros((0, {length}))."
    expect(ok, where, f"{name} (K, {length})", f"shape {rows.shape}", fix)
    return rows


def _wide(points: jax.Array) -> jax.Array:
    return points.astype(jnp.promote_types(points.dtype, jnp.float32))

"""Random augmentations of one image, as pure functions `(key, image, *, options) -> image`.

    from functools import partial
    from jaxcnn import augment

    one = augment.compose(augment.flip, partial(augment.crop, padding=4), partial(augment.rotate, degrees=15))
    many = jax.jit(augment.batched(one))
    batch = many(key, {"image": images, "label": labels})

An image is a floating array (H, W, C) in [0, 1], and stays one, of the same dtype. Instead of the image every
function takes an *example* as well, a dict with an "image" entry, and hands the other entries on. `batched`
lifts a function of one image or example over a batch, with a draw of its own for each image. Options are
static: bind them by `partial`.
"""

from jaxcnn.augment.colour import brightness, contrast
from jaxcnn.augment.composition import batched, compose
from jaxcnn.augment.mirror import flip
from jaxcnn.augment.warp import affine, rotate, scale
from jaxcnn.augment.window import crop, shift

__all__ = [
    "affine",
    "batched",
    "brightness",
    "compose",
    "contrast",
    "crop",
    "flip",
    "rotate",
    "scale",
    "shift",
]

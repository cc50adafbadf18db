"""Random augmentations of one image, as pure functions `(key, image, *, options) -> image`.

    from functools import partial
    from jaxcnn import augment

    one = augment.compose(augment.flip, partial(augment.crop, padding=4), partial(augment.rotate, degrees=15))
    many = jax.jit(augment.batched(one))
    batch = many(key, {"image": images, "label": labels})

An image is a floating array (H, W, C) in [0, 1], and stays one, of the same dtype. Instead of the image every
function takes an *example* as well, a dict with an "image" entry. What moves the image moves what lies in it: masks,
"boxes" and "keypoints" (see `jaxcnn.augment.example.geometric`); the other entries are handed on. `batched` lifts a
function of one image or example over a batch, with a draw of its own for each image. Options are static: bind them by
`partial`.
"""

from jaxcnn.augment.affine import affine
from jaxcnn.augment.alternating_flip import alternating_flip
from jaxcnn.augment.augmix import augmix
from jaxcnn.augment.colour import channel_shuffle, grayscale, hue, saturation
from jaxcnn.augment.composition import apply_with, batched, choose_one, compose
from jaxcnn.augment.elastic import elastic
from jaxcnn.augment.erasing import cutout, grid_mask, random_erasing
from jaxcnn.augment.filtering import blur, sharpen
from jaxcnn.augment.jpeg import jpeg
from jaxcnn.augment.lighting import colour_cast, pca_lighting, principal_components
from jaxcnn.augment.mirror import flip, vertical_flip
from jaxcnn.augment.mixing import cutmix, mixup
from jaxcnn.augment.noise import noise
from jaxcnn.augment.perspective import perspective
from jaxcnn.augment.quantization import posterize
from jaxcnn.augment.rand_augment import rand_augment, trivial_augment
from jaxcnn.augment.resized_crop import random_resized_crop
from jaxcnn.augment.tone import brightness, contrast, gamma, solarize
from jaxcnn.augment.views import mirrored, shifted, test_time
from jaxcnn.augment.warp import rotate, scale, shear
from jaxcnn.augment.window import crop, shift

__all__ = [
    "affine",
    "alternating_flip",
    "apply_with",
    "augmix",
    "batched",
    "blur",
    "brightness",
    "channel_shuffle",
    "choose_one",
    "colour_cast",
    "compose",
    "contrast",
    "crop",
    "cutmix",
    "cutout",
    "elastic",
    "flip",
    "gamma",
    "grayscale",
    "grid_mask",
    "hue",
    "jpeg",
    "mirrored",
    "mixup",
    "noise",
    "pca_lighting",
    "perspective",
    "posterize",
    "principal_components",
    "rand_augment",
    "random_erasing",
    "random_resized_crop",
    "rotate",
    "saturation",
    "scale",
    "sharpen",
    "shear",
    "shift",
    "shifted",
    "solarize",
    "test_time",
    "trivial_augment",
    "vertical_flip",
]

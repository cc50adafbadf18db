"""The same augmentations in three libraries, each a function `(key, image) -> image` of one image in [0, 1].

Every function draws once for an image, from the same interval in every library, and always changes the image unless
its purpose is not to. A table holds what its library has. The libraries define some of them differently:
- augmax moves images by interpolation whatever the motion, flips and crops included; its crop is by fractions of a
  pixel, its resized crop keeps the aspect, its elastic field is another one (left out: noise at every eighth pixel,
  enlarged, in the place of smoothed noise at every pixel), its brightness, contrast,
  saturation (which its jitter computes and drops) and grey are other formulas, its blur has one width.
- dm_pix changes the saturation of HSV, and shifts brightness and contrast out of [0, 1]: they are clipped here, as
  jaxcnn clips its own. It pads for a blur with zeros, and has no draws of its own for some of its functions.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from jaxcnn import augment

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]

MARGIN = 4  # pixels: of crops and shifts
DEGREES = 30.0  # of rotations
LEAN = 15.0  # degrees, of the affine map's shear
ZOOM = (0.8, 1.2)
AREA = (0.25, 1.0)  # of resized crops
DELTA = 0.2  # of brightness
FACTOR = (0.6, 1.4)  # of contrast and saturation
TURN = 0.1  # of hues
EXPONENT = (0.5, 2.0)
THRESHOLD = (0.3, 0.9)
SIGMA, SIZE = (0.5, 2.0), 5  # pixels, of the blur and its kernel
ALPHA, SMOOTHNESS = 50.0, 4.0  # of elastic deformations, as jaxcnn counts them


def ours() -> dict[str, Augmentation]:
    """Return the functions of jaxcnn, which has them all."""
    flip, crop = augment.flip, partial(augment.crop, padding=MARGIN)
    brightness, hue = partial(augment.brightness, delta=DELTA), partial(augment.hue, delta=TURN)
    contrast, saturation = partial(augment.contrast, factor=FACTOR), partial(augment.saturation, factor=FACTOR)
    warp = {"degrees": DEGREES, "factor": ZOOM, "shear_degrees": LEAN, "max_shift": MARGIN}
    return {
        "flip": flip,
        "vertical_flip": augment.vertical_flip,
        "crop": crop,
        "random_resized_crop": partial(augment.random_resized_crop, area=AREA),
        "rotate": partial(augment.rotate, degrees=DEGREES),
        "translate": partial(augment.affine, max_shift=MARGIN),
        "affine": partial(augment.affine, **warp),
        "elastic": partial(augment.elastic, alpha=ALPHA, sigma=SMOOTHNESS),
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "hue": hue,
        "colour_jitter": augment.compose(brightness, contrast, hue, saturation),
        "gamma": partial(augment.gamma, exponent=EXPONENT),
        "solarize": partial(augment.solarize, threshold=THRESHOLD),
        "grayscale": partial(augment.grayscale, p=0.5),
        "channel_shuffle": augment.channel_shuffle,
        "blur": partial(augment.blur, sigma=SIGMA, size=SIZE),
        "chain": augment.compose(flip, crop, brightness, contrast, saturation),
    }


def dm_pix() -> dict[str, Augmentation]:
    """Return the functions of dm_pix."""
    import dm_pix as pix  # pyrefly: ignore

    def crop(key: jax.Array, image: jax.Array) -> jax.Array:
        return pix.random_crop(key, _padded(image), image.shape)

    def rotate(key: jax.Array, image: jax.Array) -> jax.Array:
        return pix.rotate(image, _uniform(key, -1, 1) * math.radians(DEGREES), mode="constant")

    def affine(key: jax.Array, image: jax.Array) -> jax.Array:
        high = jnp.array([math.radians(DEGREES), math.radians(LEAN), MARGIN, MARGIN, ZOOM[1]])
        turn, lean, down, right, zoom = jax.random.uniform(key, (5,), minval=(-high).at[4].set(ZOOM[0]), maxval=high)
        cos, sin, slant = jnp.cos(turn) / zoom, jnp.sin(turn) / zoom, jnp.tan(lean)
        matrix = jnp.array([[cos, sin, 0], [slant * cos - sin, slant * sin + cos, 0], [0, 0, 1]])
        centre = (jnp.array(image.shape) - 1) / 2
        offset = centre - matrix @ (centre + jnp.array([down, right, 0]))
        return pix.affine_transform(image, matrix, offset=offset, mode="constant")

    def elastic(key: jax.Array, image: jax.Array) -> jax.Array:
        return pix.elastic_deformation(key, image, ALPHA / 2, SMOOTHNESS, mode="constant")

    def clipped(fn: Callable[..., jax.Array], *options: float) -> Augmentation:
        return lambda key, image: jnp.clip(fn(key, image, *options), 0, 1)

    brightness, contrast = clipped(pix.random_brightness, DELTA), clipped(pix.random_contrast, *FACTOR)

    def saturation(key: jax.Array, image: jax.Array) -> jax.Array:
        return pix.random_saturation(key, image, *FACTOR)

    def hue(key: jax.Array, image: jax.Array) -> jax.Array:
        return pix.random_hue(key, image, TURN)

    return {
        "flip": pix.random_flip_left_right,
        "vertical_flip": pix.random_flip_up_down,
        "crop": crop,
        "rotate": rotate,
        "affine": affine,
        "elastic": elastic,
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "hue": hue,
        "colour_jitter": augment.compose(brightness, contrast, hue, saturation),
        "gamma": lambda key, image: pix.random_gamma(key, image, *EXPONENT),
        "solarize": lambda key, image: pix.solarize(image, _uniform(key, *THRESHOLD)),
        "blur": lambda key, image: pix.gaussian_blur(image, _uniform(key, *SIGMA), SIZE),
        "chain": augment.compose(pix.random_flip_left_right, crop, brightness, contrast, saturation),
    }


def augmax() -> dict[str, Augmentation]:
    """Return the functions of augmax, with p = 1 where half of the images would stay as they are."""
    import augmax as amx  # pyrefly: ignore

    # An amount b of its brightness and contrast moves black, or the slope in the middle, about as far as ours.
    wide = -2 * DELTA, 2 * DELTA
    amounts = {"brightness": DELTA, "contrast": DELTA, "saturation": DELTA, "hue": TURN}

    def crop(key: jax.Array, image: jax.Array) -> jax.Array:
        return amx.RandomCrop(*_across(image))(key, _padded(image))

    def resized(key: jax.Array, image: jax.Array) -> jax.Array:
        zooms = AREA[1] ** -0.5, AREA[0] ** -0.5
        return amx.RandomSizedCrop(*_across(image), zoom_range=zooms)(key, image)

    def translate(key: jax.Array, image: jax.Array) -> jax.Array:
        return amx.Translate(*jax.random.uniform(key, (2,), minval=-MARGIN, maxval=MARGIN))(key, image)

    def solarize(key: jax.Array, image: jax.Array) -> jax.Array:
        return amx.Solarization(_uniform(key, *THRESHOLD), p=1.0)(key, image)

    def blur(key: jax.Array, image: jax.Array) -> jax.Array:
        return amx.GaussianBlur(SIZE / 2, p=1.0)(key, image, amx.InputType.IMAGE)

    def chain(key: jax.Array, image: jax.Array) -> jax.Array:
        colour = amx.ColorJitter(**{**amounts, "hue": 0.0}, p=1.0)
        return amx.Chain(amx.HorizontalFlip(), amx.RandomCrop(*_across(image)), colour)(key, _padded(image))

    return {
        "flip": amx.HorizontalFlip(),
        "vertical_flip": amx.VerticalFlip(),
        "crop": crop,
        "random_resized_crop": resized,
        "rotate": amx.Rotate(DEGREES),
        "translate": translate,
        "brightness": amx.RandomBrightness(wide, p=1.0),
        "contrast": amx.RandomContrast(wide, p=1.0),
        "colour_jitter": amx.ColorJitter(**amounts, p=1.0),
        "gamma": amx.RandomGamma(EXPONENT, p=1.0),
        "solarize": solarize,
        "grayscale": amx.RandomGrayscale(p=0.5),
        "channel_shuffle": amx.ChannelShuffle(p=1.0),
        "blur": blur,
        "chain": chain,
    }


PEERS: dict[str, Callable[[], dict[str, Augmentation]]] = {"dm_pix": dm_pix, "augmax": augmax}
PACKAGES = {"dm_pix": "dm-pix", "augmax": "augmax"}


def _uniform(key: jax.Array, low: float, high: float) -> jax.Array:
    return jax.random.uniform(key, (), minval=low, maxval=high)


def _padded(image: jax.Array) -> jax.Array:
    return jnp.pad(image, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))


def _across(image: jax.Array) -> tuple[int, int]:
    """Return (width, height), the order of augmax."""
    return image.shape[1], image.shape[0]

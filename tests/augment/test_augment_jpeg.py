"""JPEG against libjpeg, as PIL has it."""

import io
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxcnn import augment
from jaxcnn.augment.jpeg import steps

KEY = jax.random.key(0)


def picture(height: int, width: int, channels: int) -> np.ndarray:
    """Return a smooth image with edges, of 8 bits."""
    draw = np.random.default_rng(0).normal(size=(height, width, channels))
    smooth = ndimage.gaussian_filter(draw, (2, 2, 0)) * 4
    smooth[height // 3 :, : width // 2] += 0.3
    return np.round(255 * np.clip(smooth * 0.2 + 0.5, 0, 1)).astype(np.float32) / 255


def by_libjpeg(quality: int):
    def compressed(image):
        from PIL import Image

        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, subsampling=0)
        return Image.open(file)

    return compressed


@pytest.mark.parametrize("shape", [(24, 40, 3), (19, 21, 3), (24, 40, 1), (19, 21, 1)])
@pytest.mark.parametrize("quality", [5, 30, 50, 75, 95])
def test_agrees_with_libjpeg(shape, quality, by_pil):
    image = picture(*shape)
    theirs = by_pil(by_libjpeg(quality), image)
    difference = np.abs(255 * (augment.jpeg(KEY, image, quality=quality) - theirs))
    # A coefficient half way between two steps may go the other way in libjpeg's whole numbers.
    assert difference.mean() < 0.45
    assert (difference < 0.01).mean() > 0.7
    assert np.abs(theirs - image).max() > 1.5 / 255


def test_steps_are_libjpegs():
    pil_image = pytest.importorskip("PIL.Image", reason="PIL is not installed")
    ours = jax.jit(jax.vmap(steps))(jnp.arange(1, 101))
    for quality in range(1, 101):
        tables = by_libjpeg(quality)(pil_image.new("RGB", (8, 8))).quantization
        assert (ours[quality - 1] == np.array([tables[0], tables[1], tables[1]])).all()


@pytest.mark.slow
def test_draws_all_qualities():
    image = picture(16, 16, 1)
    keys = jax.random.split(KEY, 100)
    drawn = jax.jit(jax.vmap(partial(augment.jpeg, quality=(9, 12)), (0, None)))(keys, image)
    each = jnp.stack([augment.jpeg(KEY, image, quality=quality) for quality in range(9, 13)])
    same = (jnp.abs(drawn[:, None] - each[None]).max((2, 3, 4)) < 1e-4).sum(0)
    assert same.sum() == 100
    assert (same > 12).all()


@pytest.mark.parametrize("quality", [0, 101, (50, 20), 50.0])
def test_bad_quality(quality):
    with pytest.raises(ValueError, match=r"^jpeg: expected quality from 1 to 100, got .*\. Pass \(low, high\).*\.$"):
        augment.jpeg(KEY, picture(8, 8, 1), quality=quality)

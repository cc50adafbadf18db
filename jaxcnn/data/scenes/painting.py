"""A scene as an image, and what is true of each of its pixels."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.data.scenes.layout import Layout, Objects, Surfaces
from jaxcnn.data.scenes.shapes import CLASSES, PARTS, PARTS_OF, outline
from jaxcnn.data.scenes.textures import texture

__all__ = ["paint"]

RIM = 0.1  # the width of rims, in radii
REACH, SOFT, DARK = 0.035, 0.05, 0.45  # shadows: how far they fall and their blur, in heights of the image; how dark
_PARTS = np.array([[PARTS.index(part) for part in PARTS_OF[name]] for name in CLASSES], np.int32)


def paint(scene: Layout, *, size: int, shapes: tuple[int, ...]) -> dict[str, jax.Array]:
    """Return the example of a scene, its image without noise; the entries are those of `Scenes.draw`.

    From the bottom to the top each object darkens what lies in its shadow, then covers what lies under it:

        image <- a look + (1 - a) image,    a = clip(1/2 - d, 0, 1)

    with d the signed distance of a pixel's centre from the outline, in pixels: where the outline is straight
    about the share of the pixel that it covers. The pixel is the object's in the masks where a > 1/2.

    Args:
        scene: what `layout` returns.
        size: height and width, in pixels.
        shapes: of each class, its place in `CLASSES`.
    """
    objects = scene.objects
    order = jnp.argsort(-objects.depth)
    stack = Objects(*(field[order] for field in objects))
    layers = Surfaces(*(field[jnp.pad(order + 1, (1, 0))] for field in scene.surfaces))
    y, x = jnp.meshgrid(*[(jnp.arange(size, dtype=jnp.float32) + 0.5) / size] * 2, indexing="ij")
    shape = jnp.asarray(shapes, jnp.int32)[stack.label]
    # Each outline twice: of the object, and of its shadow.
    (distance, shadow), (seam, _) = jax.vmap(
        lambda by: jax.vmap(lambda one, kind: _outline(one, kind, x - by[0], y - by[1]))(stack, shape)
    )(REACH * jnp.stack([jnp.zeros(2), scene.sun]))
    pattern = jax.vmap(lambda surface: _pattern(surface, x, y, size))(layers)
    # Without the barrier XLA computes all of this again for each channel.
    distance, shadow, seam, pattern = jax.lax.optimization_barrier((distance, shadow, seam, pattern))
    colours = layers.first[:, None, None] + pattern[..., None] * (layers.second - layers.first)[:, None, None]

    image, number, part = colours[0], jnp.zeros((size, size), jnp.int32), jnp.zeros((size, size), jnp.int32)
    for k in range(len(order)):
        one, d, s = Objects(*(field[k] for field in stack)), distance[k], seam[k]
        dark = jnp.where(one.exists, DARK * (1 - scene.slope) * _smooth(0.5 - shadow[k] / SOFT), 0)
        rim = d + RIM * one.radius
        # The rim is lighter, the first part a little, and everything towards where the light comes from.
        away = ((x - one.x) * scene.sun[0] + (y - one.y) * scene.sun[1]) / one.radius
        look = colours[k + 1] * (0.82 - 0.1 * away)[..., None]
        glow = jnp.maximum(0.38 * (1 - _cover(rim, size)), 0.2 * _cover(s, size))
        look = look + glow[..., None] * (1 - look)
        image = image * (1 - dark)[..., None]
        image = image + jnp.where(one.exists, _cover(d, size), 0)[..., None] * (look - image)
        inside = one.exists & (d < 0)
        number = jnp.where(inside, order[k] + 1, number)
        first, second = jnp.asarray(_PARTS)[shape[k]]
        part = jnp.where(inside, jnp.where(rim > 0, PARTS.index("rim"), jnp.where(s < 0, first, second)), part)

    light = 1 - 2 * scene.slope * ((x - 0.5) * scene.sun[0] + (y - 0.5) * scene.sun[1])
    return {
        "image": jnp.clip(image * light[..., None], 0, 1),
        "label": objects.label[0],
        "object_mask": jnp.pad(objects.label + 1, (1, 0))[number],
        "instance_mask": number,
        "part_mask": part,
        "texture_mask": scene.surfaces.texture[number],
        "colour_mask": scene.surfaces.colour[number],
        **_boxes(number, objects.label),
    }


def _outline(one: Objects, shape: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How far points are from one object's outline and seam, in heights of the image."""
    cos, sin = jnp.cos(one.angle) / one.radius, jnp.sin(one.angle) / one.radius
    x, y = x - one.x, y - one.y
    distance, seam = outline(shape, cos * x + sin * y, cos * y - sin * x)
    return distance * one.radius, seam * one.radius


def _pattern(surface: Surfaces, x: jax.Array, y: jax.Array, size: int) -> jax.Array:
    cos, sin = jnp.cos(surface.angle) / surface.period, jnp.sin(surface.angle) / surface.period
    x, y = x - surface.x, y - surface.y
    u, v = cos * x + sin * y, cos * y - sin * x
    return texture(surface.texture, u, v, pixel=1 / (size * surface.period), seed=surface.seed)


def _cover(distance: jax.Array, size: int) -> jax.Array:
    return jnp.clip(0.5 - size * distance, 0, 1)


def _smooth(t: jax.Array) -> jax.Array:
    t = jnp.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _boxes(number: jax.Array, label: jax.Array) -> dict[str, jax.Array]:
    """The smallest box around each object's visible pixels."""
    visible = number == jnp.arange(1, len(label) + 1)[:, None, None]
    rows, columns = visible.any(2), visible.any(1)
    x0, y0 = jnp.argmax(columns, 1), jnp.argmax(rows, 1)
    x1, y1 = (number.shape[0] - jnp.argmax(line[:, ::-1], 1) for line in (columns, rows))
    seen = rows.any(1)
    boxes = jnp.stack([x0, y0, x1, y1], -1).astype(jnp.float32)
    return {"boxes": jnp.where(seen[:, None], boxes, 0), "box_class": jnp.where(seen, label, -1)}

"""Endless scenes, drawn on the device: each a function of a key and an index."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_choice, expect_count, expect_key, is_int, number, shown
from jaxcnn.data.dataset import Dataset, from_arrays
from jaxcnn.data.scenes.layout import layout
from jaxcnn.data.scenes.painting import paint
from jaxcnn.data.scenes.sensor import sense
from jaxcnn.data.scenes.shapes import CLASSES

__all__ = ["Scenes", "checked_indices", "load_scenes"]

# Scenes are drawn in chunks of this many by one program, so that neither the length of a batch nor a scene's place
# in it touches a bit: 16 fill whole vector registers, beyond which XLA may round otherwise. On CPU 64x64 scenes took
# half the time of chunks of 32; 128x128 ones would take 0.6 of it in chunks of 4.
CHUNK = 16
SIDES = (32, 128)
MOST = 8
BIASED = ("colour", "texture", "ground")


@dataclass(frozen=True)
class Scenes:
    """A distribution of scenes: coloured, textured shapes on a textured ground, with the truth of every pixel.

    Class, colour, texture, place, size and angle of each object are independent and uniform, and so are colour and
    texture of the ground. Objects hide each other in a random order, cast soft shadows, and stand in light that
    changes over the image. `draw(key)` gives one scene, `batch(key, indices)` many, `dataset(key, n)` a `Dataset`.

    Args:
        size: height and width of the images, 32 to 128 pixels.
        objects: the smallest and the largest number of objects, in 1..8; every number between is equally likely.
        classes: names out of `CLASSES`, in the order of the labels.
        bias: the probability, in [0, 1], that an object has the colour or texture of its class: that of the same
            place in `COLOURS` or `TEXTURES` as the class in `classes`. With 0 they tell nothing of the class.
        biased: "colour" or "texture", which of them; or "ground": then it is the ground that has both of the class of
            object 1, which is the label.
        noise: the largest standard deviation, in [0, 1], of the sensor's noise; each scene has its own, uniform
            from 0 on.

    Raises:
        ValueError: an argument out of its range.
    """

    size: int = 64
    objects: tuple[int, int] = (1, 3)
    classes: tuple[str, ...] = CLASSES
    bias: float = 0.0
    biased: Literal["colour", "texture", "ground"] = "colour"
    noise: float = 0.05

    def __post_init__(self):
        """Check the arguments; lists become tuples, so that equal distributions compare equal."""
        low, high = SIDES
        ok = is_int(self.size, low, high)
        expect(ok, "Scenes", f"size in {low}..{high} pixels", shown(self.size), "Draw at one of these and resize.")
        counts: tuple[Any, ...] = tuple(self.objects) if isinstance(self.objects, Sequence) else ()
        ok = len(counts) == 2 and all(is_int(count, 1, MOST) for count in counts)
        ok = ok and int(counts[0]) <= int(counts[1])
        fix = "Pass the smallest and the largest number, in that order."
        expect(ok, "Scenes", f"objects (low, high) with 1 <= low <= high <= {MOST}", shown(self.objects), fix)
        known = tuple(self.classes) if isinstance(self.classes, Sequence) else ()
        ok = bool(known) and all(isinstance(name, str) for name in known)
        ok = ok and len(set(known)) == len(known) and set(known) <= set(CLASSES)
        expect(ok, "Scenes", f"different classes out of {CLASSES}", shown(self.classes), "Name each class once.")
        expect_choice("Scenes", f"biased as one of {BIASED}", self.biased, BIASED)
        fix = "1 is all from black to white."
        values = {
            "size": int(self.size),
            "objects": (int(counts[0]), int(counts[1])),
            "classes": known,
            "bias": number("Scenes", "bias in [0, 1]", self.bias, lambda b: 0 <= b <= 1, "Pass a probability."),
            "noise": number("Scenes", "noise in [0, 1]", self.noise, lambda n: 0 <= n <= 1, fix),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def draw(self, key: jax.Array) -> dict[str, jax.Array]:
        """Return one scene, for use under `jit` and `vmap`.

        Args:
            key: a typed key.

        Returns:
            With S = size and K = objects[1]:
            "image": float32 (S, S, 3), multiples of 1/255 in [0, 1];
            "label": int32 (), the class of object 1, the largest;
            "object_mask": int32 (S, S), 0 for the ground, else 1 + the object's class;
            "instance_mask": int32 (S, S), 0 for the ground, else the object's number, 1..K;
            "part_mask": int32 (S, S), index into `PARTS`, 0 for the ground; `PARTS_OF` says what has which;
            "texture_mask", "colour_mask": int32 (S, S), indices into `TEXTURES` and `COLOURS`, of the ground too;
            "boxes": float32 (K, 4), row k the smallest box (x0, y0, x1, y1), in pixels, around the visible pixels
            of object k + 1; zeros for no such object or one that is hidden;
            "box_class": int32 (K,), the class of object k + 1, -1 for those without a box.
            A pixel belongs to the uppermost object that its centre lies in.
        """
        key_layout, key_noise = jax.random.split(key)
        scene = layout(key_layout, objects=self.objects, classes=len(self.classes), bias=self.bias, biased=self.biased)
        example = paint(scene, size=self.size, shapes=tuple(CLASSES.index(name) for name in self.classes))
        return {**example, "image": sense(key_noise, example["image"], self.noise * scene.grain)}

    def batch(self, key: jax.Array, indices: Sequence[int] | np.ndarray) -> dict[str, jax.Array]:
        """Return the scenes of these indices, drawn by one compiled program whatever their number.

            batch(key, indices)[n] = draw(fold_in(key, indices[n]))

        On one kind of device and one version of JAX, a scene of a key and an index has the same bits in every
        batch. (`draw` in a program of one's own may round the last bit otherwise.)

        Args:
            key: a typed key.
            indices: integers (N,), N > 0, in 0..2^31-1. Within `jit`, vmap `draw` instead.

        Returns:
            The entries of `draw` with a leading axis N.

        Raises:
            ValueError: indices of another rank, none, or out of range.
            TypeError: indices that are not integers.
        """
        expect_key("batch", key)
        index = checked_indices(indices)
        return jax.tree.map(lambda *parts: jnp.concatenate(parts)[: index.size], *self._chunks(key, index))

    def dataset(self, key: jax.Array, n: int, *, name: str = "scenes") -> Dataset:
        """Return the scenes 0..n-1 of a key in memory: images and masks uint8, else as of `draw`.

        Args:
            key: a typed key.
            n: the number of scenes, above 0; 33 kB each at 64x64.
            name: for the records.

        Raises:
            ValueError: n no positive int.
        """
        n = expect_count("dataset", "n", n, most=2**24)
        expect_key("dataset", key, known=True)
        expect(isinstance(name, str), "dataset", "name as a text", shown(name), 'Pass "scenes", say.', TypeError)
        chunks = [_compact(chunk) for chunk in self._chunks(key, np.arange(n, dtype=np.int32))]
        arrays = {entry: np.concatenate([chunk[entry] for chunk in chunks])[:n] for entry in chunks[0]}
        return from_arrays(
            **arrays, class_names=self.classes, name=name, source=f"jaxcnn.data.scenes, drawn from a key: {self}"
        )

    def _chunks(self, key: jax.Array, index: np.ndarray) -> Iterator[dict[str, jax.Array]]:
        """The scenes of these indices in whole chunks, the last one filled up."""
        program = _program(self)
        index = np.pad(index, (0, -index.size % CHUNK))
        return (program(key, part) for part in index.reshape(-1, CHUNK))


def load_scenes(split_seed: int) -> tuple[Dataset, Dataset]:
    """Return 8,000 training and 2,000 test scenes of 64x64 pixels; see `data.load`."""
    key_train, key_test = jax.random.split(jax.random.key(split_seed))
    train = Scenes().dataset(key_train, 8000)
    return train, Scenes().dataset(key_test, 2000).with_moments_of(train)


@functools.lru_cache(maxsize=32)
def _program(scenes: Scenes) -> Callable[[jax.Array, np.ndarray], dict[str, jax.Array]]:
    return jax.jit(lambda key, indices: jax.vmap(lambda i: scenes.draw(jax.random.fold_in(key, i)))(indices))


def checked_indices(indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the indices of scenes as int32 (N,); raise an error unless they are some."""
    fix = "Pass the numbers of the scenes, such as range(64)."
    try:
        index = np.asarray(indices)
    except (TypeError, ValueError):  # of traced ones, among others
        expect(False, "batch", "indices (N,), N > 0", shown(indices), fix, TypeError)
        raise
    expect(index.ndim == 1 and index.size > 0, "batch", "indices (N,), N > 0", f"shape {index.shape}", fix)
    expect(np.issubdtype(index.dtype, np.integer), "batch", "integer indices", index.dtype, fix, TypeError)
    ok = index.min() >= 0 and index.max() < 2**31
    expect(ok, "batch", "indices in 0..2^31-1", f"{index.min()}..{index.max()}", fix)
    return index.astype(np.int32)


def _compact(chunk: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    """The chunk in host memory, images and masks as uint8."""
    arrays = {entry: np.asarray(array) for entry, array in chunk.items()}
    arrays["image"] = np.rint(arrays["image"] * 255)
    small = {entry: array.astype(np.uint8) for entry, array in arrays.items() if array.ndim > 3 or "mask" in entry}
    return arrays | small

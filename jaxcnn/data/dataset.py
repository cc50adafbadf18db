"""A data set in memory: named arrays of one length, read-only, with what is known of them."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import array, expect, expect_dtype, shown
from jaxcnn.fingerprint import fingerprint

__all__ = ["Dataset", "DatasetInfo", "from_arrays", "index_of", "moments", "sealed", "to_float"]

MOST_CLASSES = 2**20


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set.

    Args:
        name: what `load` calls it, or the user.
        class_names: one name per label; empty without labels.
        mean, std: of each channel over the *training* images, in [0, 1], for a `Normalize` layer.
        source: where the images come from, and their licence.
        fingerprint: SHA-256 of the arrays, equal exactly when every bit is; of a stream, of the list of its files.
    """

    name: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Dataset(Mapping[str, np.ndarray]):
    """A read-only mapping of names to arrays with one example per row: `["image"]`, `["label"]` and perhaps others.

    `image` is uint8 (N, H, W, C) in 0..255 or floating in [0, 1]; `label` is int32 (N,). `size` is N (as in every
    mapping, `len` is the number of names); `take(indices)` gives some of the examples; `info` a `DatasetInfo`.
    """

    arrays: Mapping[str, np.ndarray]
    info: DatasetInfo

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the array called `name`."""
        text, examples = isinstance(name, str), 'Examples are train["image"][:5], train.take([0, 1]), and train.size.'
        fix = "Choose one of them." if text else examples
        expect(text and name in self.arrays, "Dataset", f"one of {list(self.arrays)}", shown(name), fix, KeyError)
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.arrays)

    def __len__(self) -> int:
        """Return the number of names; `size` is the number of examples."""
        return len(self.arrays)

    @property
    def size(self) -> int:
        """The number of examples."""
        return len(next(iter(self.arrays.values())))

    @property
    def spec(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one image as the net sees it: (1, H, W, C), float32."""
        return jax.ShapeDtypeStruct((1, *self["image"].shape[1:]), jnp.float32)

    def take(self, indices: Sequence[int] | np.ndarray) -> "Dataset":
        """Return the examples at `indices`, in that order; mean, std and source stay those of the whole.

        Args:
            indices: integers in 0..size-1, negative ones counted from the end; or a bool for each example.

        Raises:
            ValueError: no example is left; indices out of range.
            TypeError: indices that are neither integers nor bools.
        """
        index = index_of("Dataset", indices, self.size)
        return sealed({name: array[index] for name, array in self.arrays.items()}, self.info)

    def with_moments_of(self, train: "Dataset") -> "Dataset":
        """Return this set with the mean and standard deviation of `train` in its info."""
        return dataclasses.replace(self, info=dataclasses.replace(self.info, mean=train.info.mean, std=train.info.std))

    def __repr__(self) -> str:
        """Return name, size and shapes."""
        shapes = ", ".join(f"{name} {a.dtype}{list(a.shape[1:])}" for name, a in self.arrays.items())
        return f"Dataset({self.info.name!r}, {self.size} examples: {shapes})"


def from_arrays(
    image: np.ndarray,
    label: np.ndarray | None = None,
    *,
    class_names: Sequence[str] | None = None,
    name: str = "arrays",
    source: str = "the user's arrays",
    **others: np.ndarray,
) -> Dataset:
    """Return a data set of one's own arrays, with mean, standard deviation and fingerprint computed.

    Args:
        image: uint8 (N, H, W, C) in 0..255, or floating in [0, 1].
        label: integers (N,) in 0..classes-1, or None.
        class_names: one per class; "0", "1", ... unless given.
        name, source: for the records.
        others: further arrays of N rows, such as masks.

    Raises:
        ValueError: no examples, another rank, lengths that differ, labels or images out of range.
        TypeError: images neither uint8 nor floating, labels that are not integers, others of texts or objects.
    """
    arrays = {"image": _own("image", image)}
    if class_names is not None:
        ok = isinstance(class_names, Sequence | np.ndarray) and getattr(class_names, "ndim", 1) > 0
        ok = ok and all(isinstance(class_name, str) for class_name in class_names)
        fix = 'Pass ["cat", "dog"], say.'
        expect(ok, "from_arrays", "class_names as a sequence of texts", shown(class_names), fix, TypeError)
    for value in (name, source):
        expect(
            isinstance(value, str), "from_arrays", "name and source as texts", shown(value), "Pass a str.", TypeError
        )
    if label is not None:
        label = _own("label", label)
        expect(
            np.issubdtype(label.dtype, np.integer),
            "from_arrays",
            "labels of an integer dtype",
            label.dtype,
            "Pass class indices.",
            TypeError,
        )
        if class_names is None and label.ndim == 1 and label.size:
            expect(
                label.min() == 0,
                "from_arrays",
                "labels numbered from 0",
                f"{label.min()}..{label.max()}",
                "Subtract the smallest, or pass class_names for all classes from 0 on.",
            )
            fix = "Number the classes without gaps."
            expect(label.max() < MOST_CLASSES, "from_arrays", f"labels below {MOST_CLASSES}", int(label.max()), fix)
            class_names = [str(c) for c in range(int(label.max()) + 1)]
        arrays["label"] = label
    arrays |= {key: _own(key, value) for key, value in others.items()}
    dataset = _dataset(
        arrays, DatasetInfo(name, () if class_names is None else tuple(map(str, class_names)), (), (), source, "")
    )
    if dataset["image"].dtype != np.uint8:
        low, high = float(dataset["image"].min()), float(dataset["image"].max())
        expect(
            low >= 0 and high <= 1,  # False for NaN too
            "from_arrays",
            "floating images in [0, 1]",
            f"values from {low:g} to {high:g}",
            "Divide 0..255 by 255, or pass uint8; look for NaN.",
        )
    mean, std = moments(dataset["image"][i : i + 64] for i in range(0, dataset.size, 64))
    return dataclasses.replace(dataset, info=dataclasses.replace(dataset.info, mean=mean, std=std))


def index_of(where: str, indices: Any, size: int) -> np.ndarray:
    """Return what `take` of `where` is given as an array; raise an error unless it chooses some of `size` examples."""
    fix = "Pass integers, or a bool for each example."
    try:
        index = np.asarray(indices)
    except (TypeError, ValueError):  # of traced ones, among others
        index = np.asarray("none")
    index = index if index.size else index.astype(np.int64)  # an empty list has no dtype of its own
    ok = index.dtype.kind in "biu" and index.ndim == 1
    expect(ok, where, "indices of one axis, integers or bools", shown(indices), fix, TypeError)
    some = bool(index.any()) if index.dtype == bool else index.size > 0
    inside = len(index) == size if index.dtype == bool else not some or -size <= index.min() <= index.max() < size
    got = shown(index if index.dtype == bool else index.tolist())
    expect(bool(inside), where, f"indices of {size} examples", got, fix)
    _expect_some(where, some)
    return index


def to_float(image: jax.typing.ArrayLike, dtype: Any = jnp.float32) -> jax.Array:
    """Return images in [0, 1]: uint8 divided by 255, floating ones cast.

    Args:
        image: uint8 in 0..255, or floating in [0, 1], any shape.
        dtype: of the result, floating; the compute dtype of the net that sees it.

    Raises:
        TypeError: another dtype.
    """
    image, dtype = array("to_float", "image", image), expect_dtype("to_float", dtype)
    if image.dtype == jnp.uint8:
        return (image.astype(jnp.float32) / 255).astype(dtype)
    expect(
        jnp.issubdtype(image.dtype, jnp.floating),
        "to_float",
        "uint8 or floating images",
        image.dtype,
        "Scale them to uint8 0..255 or to floats in [0, 1].",
        TypeError,
    )
    return image.astype(dtype)


def moments(images: Iterable[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, in [0, 1], after one pass over the pixels.

    Args:
        images: arrays (..., W, C) of one dtype and one C, uint8 or floating in [0, 1]; sizes may differ. Blocks that
            stay in the processor's cache (64 small images) are many times faster than the whole at once.

    Returns:
        mean, std: tuples of C floats, rounded to six digits. Sums are kept in float64: exact for uint8.
    """
    count, total, squares, scale = 0, 0.0, 0.0, 1.0
    for block in images:
        width, channels = block.shape[-2:]
        rows = block.reshape(-1, width * channels).astype(np.float64)  # long rows: a sum over them is vectorized
        count += len(rows) * width
        total = total + rows.sum(axis=0).reshape(width, channels).sum(axis=0)
        squares = squares + np.einsum("ij,ij->j", rows, rows).reshape(width, channels).sum(axis=0)
        scale = 255.0 if block.dtype == np.uint8 else 1.0
    mean = np.asarray(total / count)
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return tuple((mean / scale).round(6).tolist()), tuple((std / scale).round(6).tolist())


def _own(name: str, array: Any) -> np.ndarray:
    """Return a copy: what happens to the caller's array later must not change the set behind its fingerprint.

    An array that is read-only and no view of another is taken as it is, so that large sets are in memory once.
    """
    frozen = isinstance(array, np.ndarray) and array.base is None and not array.flags.writeable
    own: Any = None
    with contextlib.suppress(TypeError, ValueError):  # of traced ones, among others
        own = array if frozen else np.array(array)
    fix = "Pass a NumPy array, with a row for each example."
    known = own is not None and own.dtype.kind not in "OSU"
    expect(known, "from_arrays", f"{name} as an array of numbers", shown(array), fix, TypeError)
    return own


def _dataset(arrays: dict[str, np.ndarray], info: DatasetInfo) -> Dataset:
    image = arrays["image"]
    expect(
        image.ndim == 4,
        "Dataset",
        "images of shape (N, H, W, C)",
        image.shape,
        "Grey images need a last axis: image[..., None].",
    )
    first = image.shape[1] == 3 and min(image.shape[2:]) > 4
    fix = "Move the channels last: np.moveaxis(image, 1, -1)."
    expect(not first, "Dataset", "images of shape (N, H, W, C)", f"{image.shape}, channels first", fix)
    _expect_some("Dataset", len(image) > 0)
    expect(image.size > 0, "Dataset", "images with a pixel", image.shape, "Look at how they were read.")
    expect(
        image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating),
        "Dataset",
        "uint8 or floating images",
        image.dtype,
        "Scale them to uint8 0..255 or to floats in [0, 1].",
        TypeError,
    )
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    expect(
        len(set(lengths.values())) == 1,
        "Dataset",
        "arrays of one length",
        lengths,
        "Give each example one row.",
    )
    if "label" in arrays:
        fix = "Of one-hot rows pass label.argmax(-1)."
        label = arrays["label"]
        expect(label.ndim == 1, "Dataset", "labels of shape (N,)", f"shape {label.shape}", fix)
        label, classes = arrays["label"], len(info.class_names)
        expect(
            label.min() >= 0 and label.max() < classes,
            "Dataset",
            f"labels in 0..{classes - 1}" if classes else "class_names with labels",
            f"{label.min()}..{label.max()}" if classes else "none",
            "Renumber the classes from 0, or pass all class_names.",
        )
        arrays["label"] = label.astype(np.int32)
    return sealed(arrays, info)


def _expect_some(where: str, some: bool) -> None:
    expect(some, where, "at least one example", "none", "Check how the examples were chosen.")


def sealed(arrays: dict[str, np.ndarray], info: DatasetInfo) -> Dataset:
    """Return the set of arrays that are known to make one, read-only, with their fingerprint."""
    arrays = {name: array.view() for name, array in arrays.items()}  # the caller's own arrays stay writable
    for own in arrays.values():
        own.setflags(write=False)
    return Dataset(arrays, dataclasses.replace(info, fingerprint=fingerprint(arrays)))

"""Encoded images with random access, decoded when asked for, and delivered in memory or as streams."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from jaxcnn.data.cropping import Choose
from jaxcnn.data.dataset import Dataset, DatasetInfo, from_arrays, moments
from jaxcnn.data.decoding import Decoder
from jaxcnn.data.splitting import held_out
from jaxcnn.data.stream import Stream
from jaxcnn.fingerprint import fingerprint

__all__ = ["BLOCK", "ImageSource", "Pair", "Progress", "Records", "deliver", "undecodable"]

BLOCK = 512  # images read at once
SAMPLE = 1000  # images that the mean and deviation of a stream are of
TEST_FRACTION = 0.2

Progress = Callable[[int, int], None]
Pair = tuple[Dataset, Dataset] | tuple[Stream, Stream]


class Records(Protocol):
    """Labelled image files, by number."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def read(self, indices: Sequence[int]) -> list[tuple[bytes, int]]:
        """Return the files and labels at `indices`; raise `undecodable` for one that cannot be read."""
        ...

    def name(self, index: int) -> str:
        """Return what an error calls the file at `index`."""
        ...

    def labels(self) -> np.ndarray:
        """Return all labels, int32 (N,)."""
        ...

    def listing(self) -> str:
        """Return a text that differs when the records do, without reading them all."""
        ...


@dataclass(frozen=True, eq=False)
class ImageSource:
    """Examples on disk: `source[i]` is {"image": uint8 (h, w, C), "label": int}, read and decoded each time.

    Args:
        records: the files.
        decoder: of every image.
        indices: which of the records, in which order.
    """

    records: Records
    decoder: Decoder
    indices: np.ndarray

    @classmethod
    def of(cls, records: Records, decoder: Decoder) -> "ImageSource":
        """Return the source of all records."""
        return cls(records, decoder, np.arange(len(records)))

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one example; raise `IndexError` beyond the last."""
        return self.read([index])[0]

    def read(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return several examples, which costs less than one at a time.

        Raises:
            ValueError: an image cannot be decoded; the message names it.
        """
        return self._examples(indices, [self.decoder] * len(indices))

    def parts(self, indices: Sequence[int], choose: Sequence[Choose], size: int) -> list[dict[str, Any]]:
        """Return examples with a part of their image alone, resized to (size, size, C).

        Args:
            indices: of the examples.
            choose: for each of them, which part.
            size: H and W of what comes back, in pixels.

        Raises:
            ValueError: an image cannot be decoded; the message names it.
        """
        return self._examples(indices, [functools.partial(self.decoder.part, choose=c, size=size) for c in choose])

    def labels(self) -> np.ndarray:
        """Return the labels of all examples, int32 (N,), read-only, without decoding an image."""
        return self._labels

    @functools.cached_property
    def _labels(self) -> np.ndarray:
        labels = self.records.labels()[self.indices]
        labels.setflags(write=False)
        return labels

    def take(self, chosen: np.ndarray) -> "ImageSource":
        """Return the source of the examples that are `chosen`: indices, or a bool for each."""
        return dataclasses.replace(self, indices=self.indices[chosen])

    def split(self, seed: int) -> tuple["ImageSource", "ImageSource"]:
        """Return training and test examples of a set without an official test set, as `data.split` chooses them."""
        held = held_out(self.labels(), TEST_FRACTION, key=jax.random.key(seed))
        return self.take(~held), self.take(held)

    def _examples(
        self, indices: Sequence[int], decoders: Sequence[Callable[[bytes], np.ndarray]]
    ) -> list[dict[str, Any]]:
        numbers = self.indices[np.asarray(indices)].tolist()
        examples = []
        for number, (data, label), decode in zip(numbers, self.records.read(numbers), decoders, strict=True):
            try:
                examples.append({"image": decode(data), "label": label})
            except Exception as error:  # Pillow raises nearly everything when it is given damaged or hostile files
                raise undecodable(self.records.name(number), error) from error
        return examples


def undecodable(name: str, error: Exception) -> ValueError:
    """Return the error for an image file that is damaged, or that would do harm."""
    return ValueError(
        f"load: expected images that can be decoded, got {name} ({error}). Repair or remove it; skip_corrupt=True "
        '(--skip-corrupt) leaves such files of a "folder" out.'
    )


def deliver(
    train: ImageSource,
    test: ImageSource,
    info: DatasetInfo,
    *,
    shape: tuple[int, int, int] | None,
    memory_limit: int,
    progress: Progress | None,
) -> Pair:
    """Return the two sources as `Dataset`s, or as `Stream`s if they do not fit.

    Args:
        train, test: the examples.
        info: with name, class_names and source; the rest is computed.
        shape: (H, W, C) of every image, or None if they have several sizes.
        memory_limit: of both together, decoded, in bytes.
        progress: is called with the numbers of images done and to do.
    """
    if shape is None or (len(train) + len(test)) * math.prod(shape) > memory_limit:
        return _streams(train, test, info, min(shape[:2]) if shape else None)
    report = _Counter(progress, len(train) + len(test))
    whole = _in_memory(train, info, shape, report)
    return whole, _in_memory(test, info, shape, report).with_moments_of(whole)


@dataclass
class _Counter:
    """Tell the caller, if it asked, how many images are done."""

    progress: Progress | None
    total: int
    done: int = 0

    def add(self, number: int) -> None:
        self.done += number
        if self.progress is not None:
            self.progress(self.done, self.total)


def _in_memory(source: ImageSource, info: DatasetInfo, shape: tuple[int, int, int], report: _Counter) -> Dataset:
    # One thread: small images hardly leave Python, and a second thread made them slower.
    image, label = np.empty((len(source), *shape), np.uint8), np.empty(len(source), np.int32)
    for start in range(0, len(source), BLOCK):
        examples = source.read(range(start, min(start + BLOCK, len(source))))
        for i, example in enumerate(examples, start):
            if example["image"].shape != shape:
                name, found = source.records.name(int(source.indices[i])), example["image"].shape
                raise ValueError(f"load: expected images of shape {shape}, got {name} of {found}. Pass image_size.")
            image[i], label[i] = example["image"], example["label"]
        report.add(len(examples))
    image.setflags(write=False)
    return from_arrays(image, label, class_names=info.class_names, name=info.name, source=info.source)


def _streams(train: ImageSource, test: ImageSource, info: DatasetInfo, side: int | None) -> tuple[Stream, Stream]:
    sample = np.unique(np.linspace(0, len(train) - 1, SAMPLE).astype(int))
    mean, std = moments(train[i]["image"] for i in sample)
    said = f"{info.source}; mean and deviation of {len(sample):,} of the training images"
    options: Any = {} if side is None else {"image_size": side}

    def stream(source: ImageSource) -> Stream:
        listing = np.frombuffer(source.records.listing().encode(), np.uint8)
        digest = fingerprint({"listing": listing, "indices": source.indices})
        known = dataclasses.replace(info, mean=mean, std=std, source=said, fingerprint=digest)
        # The stream resizes the images itself, after it has chosen a part of each.
        return Stream(dataclasses.replace(source, decoder=Decoder(source.decoder.channels)), known, **options)

    return stream(train), stream(test)

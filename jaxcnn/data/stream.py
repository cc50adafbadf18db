"""Data sets that do not fit into memory, or whose images have many sizes: read from disk batch by batch."""

import collections
import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, expect_key, installed, is_int, is_number, shown
from jaxcnn.data.cropping import Choose, draw, middle
from jaxcnn.data.dataset import Dataset, DatasetInfo, from_arrays, index_of
from jaxcnn.fingerprint import fingerprint

__all__ = ["Stream", "on_device"]

AHEAD = 2  # batches on their way to the device while it computes


class Source(Protocol):
    """Examples by number."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def parts(self, indices: Sequence[int], choose: Sequence[Choose], size: int) -> Sequence[Mapping[str, Any]]:
        """Return {"image": uint8 (size, size, C), "label": int} of each: the part that `choose` says, resized."""
        ...

    def take(self, chosen: np.ndarray) -> "Source":
        """Return the source of the examples that are `chosen`: indices, or a bool for each."""
        ...

    def labels(self) -> np.ndarray:
        """Return all labels, int32 (N,), without decoding an image."""
        ...


@dataclass(frozen=True, eq=False)
class Stream:
    """Examples on disk with the `.info`, `.size`, `.spec` and `take` of a `Dataset`; `batches` reads them.

    What a batch holds depends on the key and the number of the batch alone: neither on threads and worker processes
    nor on the batches before. Position n is therefore restored by `batches(..., start=n)`.

    Args:
        source: the examples.
        info: what is known of them.
        image_size: H and W of the images in a batch, in pixels.
        crop_scale: which part of an image's area a training crop has, (low, high) in (0, 1].
        workers: processes that read and decode, at most as many as there are cores; 0 does it in threads, which serve
            JPEGs as well. Processes need a script that begins with `if __name__ == "__main__":`.

    Raises:
        ValueError: options out of range, more workers than cores.
    """

    source: Source
    info: DatasetInfo
    image_size: int = 224
    crop_scale: tuple[float, float] = (0.25, 1.0)
    workers: int = 0

    def __post_init__(self) -> None:
        """Check the options."""
        expect_count("Stream", "image_size", self.image_size)
        scale = self.crop_scale
        ok = isinstance(scale, Sequence) and len(scale) == 2 and all(map(is_number, scale))
        ok = ok and 0 < scale[0] <= scale[1] <= 1
        expect(ok, "Stream", "crop_scale (low, high) in (0, 1]", shown(scale), "(0.25, 1), say.")
        cores = os.cpu_count() or 1
        ok = is_int(self.workers, 0, cores)
        expect(ok, "Stream", f"workers in 0..{cores}, the cores here", self.workers, "0 uses threads.")

    @property
    def size(self) -> int:
        """The number of examples."""
        return len(self.source)

    @property
    def spec(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one image as the net sees it: (1, image_size, image_size, C), float32."""
        return jax.ShapeDtypeStruct((1, self.image_size, self.image_size, len(self.info.mean)), jnp.float32)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names that `self[name]` knows."""
        return iter(("label",))

    def __contains__(self, name: object) -> bool:
        """Return whether `self[name]` is there: labels are, images are not."""
        return name in tuple(self)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return all labels, for "label"; the images do not fit."""
        fix = "Read them with batches, or some of them with take(...).dataset()."
        ok = isinstance(name, str) and name == "label"
        expect(ok, "Stream", 'the name "label"', shown(name), fix, KeyError)
        return self.source.labels()

    def take(self, indices: Sequence[int] | np.ndarray) -> "Stream":
        """Return the stream of the examples at `indices`, in that order; as `Dataset.take`, with the same errors."""
        index = np.arange(self.size)[index_of("Stream", indices, self.size)]
        of = np.frombuffer(self.info.fingerprint.encode(), np.uint8)
        info = dataclasses.replace(self.info, fingerprint=fingerprint({"of": of, "indices": index}))
        return dataclasses.replace(self, source=self.source.take(index), info=info)

    def dataset(self) -> Dataset:
        """Return the images in memory: the middle square of each, resized to `image_size`."""
        batches = list(self.batches(min(self.size, 256)))
        image, label = (np.concatenate([batch[name] for batch in batches]) for name in ("image", "label"))
        whole = from_arrays(
            image, label, class_names=self.info.class_names, name=self.info.name, source=self.info.source
        )
        return dataclasses.replace(whole, info=dataclasses.replace(whole.info, mean=self.info.mean, std=self.info.std))

    def batches(
        self, batch_size: int, *, key: jax.Array | None = None, start: int = 0, rows: slice | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Return an iterator over batches; `close` it where it is not read to its end.

        With a key: training, without end. In each epoch all examples in a new random order, full batches alone (the
        ragged tail is left out of that epoch); of each image a random crop of area `crop_scale` and of aspect ratio 3:4
        to 4:3, resized. Without a key: every example once, in order, the last batch perhaps smaller; of each image the
        middle square.

        Args:
            batch_size: examples of a batch, of all processes together.
            key: a PRNG key, or None.
            start: how many batches to leave out: the position from which to go on, whatever its epoch.
            rows: which rows of every training batch to read. Where several processes train together, each gets its
                share unless given.

        Returns:
            An iterator of {"image": uint8 (N, image_size, image_size, C), "label": int32 (N,), "index": int32 (N,)}.

        Raises:
            ValueError: options out of range; an image that cannot be decoded, which is named.
            TypeError: no key.
            ImportError: the extra is not installed.

        Source: the crop is torchvision's RandomResizedCrop, whose default for the area is (0.08, 1).
        """
        batch_size = expect_count("batches", "batch_size", batch_size)
        expect(is_int(start, 0), "batches", "start as an int >= 0", start, "0 begins the first epoch.")
        if key is None:
            return _read(_InOrder(self.source, self.image_size, batch_size, start), self.workers)
        expect_key("batches", key, known=True)
        expect(batch_size <= self.size, "batches", f"a batch_size of at most {self.size}", batch_size, "Lower it.")
        processes, process = jax.process_count(), jax.process_index()
        fix = "Change batch_size."
        expect(batch_size % processes == 0, "batches", f"rows for {processes} processes", batch_size, fix)
        seed = tuple(np.asarray(jax.random.bits(key, (2,), jnp.uint32)).tolist())
        mine = batch_size // processes
        rows = slice(process * mine, (process + 1) * mine) if rows is None else rows
        batches = _Shuffled(self.source, self.image_size, batch_size, start, self.crop_scale, seed, rows)
        return _read(batches, self.workers)

    def __repr__(self) -> str:
        """Return name, size and shape."""
        shape = "x".join(map(str, self.spec.shape[1:]))
        return f"Stream({self.info.name!r}, {self.size} examples: image uint8[{shape}], label int32[])"


@dataclass(frozen=True)
class _InOrder:
    """The batches of all examples, from number `start` on: what Grain reads, in whatever process."""

    source: Source
    image_size: int
    batch_size: int
    start: int

    def __len__(self) -> int:
        return max(-(-len(self.source) // self.batch_size) - self.start, 0)

    def __getitem__(self, at: int) -> dict[str, np.ndarray]:
        first = (self.start + at) * self.batch_size
        index = np.arange(first, min(first + self.batch_size, len(self.source)))
        return _batch(self.source, index, [middle] * len(index), self.image_size)


@dataclass(frozen=True)
class _Shuffled:
    """The rows of one process in the batches of all epochs."""

    source: Source
    image_size: int
    batch_size: int
    start: int
    crop_scale: tuple[float, float]
    seed: tuple[int, int]
    rows: slice  # of each batch

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, at: int) -> dict[str, np.ndarray]:
        epoch, batch = divmod(self.start + at, len(self.source) // self.batch_size)
        first = batch * self.batch_size
        index = _order(self.seed, epoch, len(self.source))[first : first + self.batch_size][self.rows]
        # From 1 on: a seed that ends in 0 draws what the one without it does, and that is the order's.
        randoms = [np.random.default_rng((*self.seed, epoch, i + 1)) for i in index.tolist()]
        parts = [functools.partial(draw, random=random, scale=self.crop_scale) for random in randoms]
        return _batch(self.source, index, parts, self.image_size)


@functools.lru_cache(maxsize=4)
def _order(seed: tuple[int, int], epoch: int, size: int) -> np.ndarray:
    """Return the order of an epoch; NumPy's, so that worker processes need no JAX."""
    return np.random.default_rng((*seed, epoch)).permutation(size)


def _batch(source: Source, index: np.ndarray, choose: Sequence[Choose], size: int) -> dict[str, np.ndarray]:
    examples = source.parts(index.tolist(), choose, size)
    image = np.stack([example["image"] for example in examples])
    label = np.asarray([example["label"] for example in examples], np.int32)
    return {"image": image, "label": label, "index": index.astype(np.int32)}


def _read(batches: Any, workers: int) -> Iterator[dict[str, np.ndarray]]:
    with installed("Stream", "Grain, which reads batches,", 'pip install "jaxcnn[data]"'):
        import grain
    # An element of Grain's is a batch: each costs it some 20 us, which a photograph would be charged else.
    elements = grain.MapDataset.source(batches)
    if not workers:
        cores = os.cpu_count() or 1
        return iter(elements.to_iter_dataset(grain.ReadOptions(num_threads=cores, prefetch_buffer_size=cores + 1)))
    from absl import flags

    if not flags.FLAGS.is_parsed():  # Grain's processes look at flags, which nobody parses here
        flags.FLAGS.mark_as_parsed()
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    several = grain.multiprocessing.MultiprocessingOptions(num_workers=workers)
    return iter(elements.to_iter_dataset(options).mp_prefetch(several))


def on_device(
    batches: Iterator[Mapping[str, np.ndarray]], place: Callable[[Any], Any] = jax.device_put
) -> Iterator[dict[str, jax.Array]]:
    """Yield the batches as arrays of the device, the next ones already on their way; closes what it reads.

    Args:
        batches: arrays of the host.
        place: puts a batch where it belongs.
    """
    waiting: collections.deque[dict[str, jax.Array]] = collections.deque()
    try:
        for batch in batches:
            waiting.append(place(dict(batch)))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting
    finally:
        getattr(batches, "close", lambda: None)()

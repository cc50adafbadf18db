"""Image classification sets that TFDS prepared as array_record, read without TensorFlow."""

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.data.array_record import require_tfds
from jaxcnn.data.dataset import DatasetInfo
from jaxcnn.data.decoding import MODES, Decoder
from jaxcnn.data.source import BLOCK, ImageSource, Pair, Progress, deliver

__all__ = ["command", "data_folder", "find_prepared", "load_prepared"]


def data_folder(data_dir: str | os.PathLike[str] | None) -> Path:
    """Return where sets lie: `data_dir`, else `$JAXCNN_DATA`, else TFDS's own folder."""
    own = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(data_dir or os.environ.get("JAXCNN_DATA") or own).expanduser()


def find_prepared(name: str, folder: Path) -> Path | None:
    """Return the folder of the newest version of a prepared set, or None.

    Args:
        name: "mnist", with a configuration "emnist/letters", with a version "mnist:3.0.1".
        folder: of all sets.

    Raises:
        ValueError: several configurations are there and the name chooses none.
        OSError: the folder cannot be read.
    """
    if not re.fullmatch(r"\w+(/[\w.+-]*\w)?(:\d+\.\d+\.\d+)?", name, re.ASCII):  # also keeps .. out
        return None
    config, _, version = name.partition(":")
    home = folder / config
    for path in (folder, home):
        hidden = path.exists() and not os.access(path, os.R_OK | os.X_OK)
        expect(not hidden, "load", "a folder that can be read", path, "Change its mode, or pass data_dir.", OSError)
    versions = [path.parent for path in home.glob(f"{version or '*'}/features.json") if _numbers(path.parent.name)]
    configs = [] if versions or "/" in config else sorted({p.parent.parent for p in home.glob("*/*/features.json")})
    several = f"{config}/<one of {[path.name for path in configs]}>"
    expect(len(configs) <= 1, "load", several, repr(name), "Say which configuration.")
    if configs:
        return find_prepared(f"{config}/{configs[0].name}{name[len(config) :]}", folder)
    return max(versions, key=lambda path: _numbers(path.name), default=None)


def load_prepared(
    name: str,
    home: Path,
    *,
    again: str,
    source: str = "",
    image_size: int | None,
    split_seed: int,
    memory_limit: int,
    progress: Progress | None,
) -> Pair:
    """Return the training and the test set in the folder of one version of a prepared set; see `data.load`.

    `again` says how to prepare the set again; `source` where the images are from, what TFDS knows of it unless given.
    """
    tfds = require_tfds()
    try:
        builder = tfds.builder_from_directory(home, file_format="array_record")
    except Exception as error:  # of many kinds where files are damaged, as for another format
        raise ValueError(
            f"load: expected {name} prepared as array_record in {home}, got another format or damaged files "
            f"({error}). {again}"
        ) from error
    features, splits = builder.info.features, builder.info.splits
    has = hasattr(features, "keys") and {"image", "label"} <= set(features.keys())
    image: Any = features["image"] if has else None
    label: Any = features["label"] if has else None
    expect(
        isinstance(image, tfds.features.Image)
        and image.np_dtype == np.uint8
        and image.shape[-1] in MODES
        and isinstance(label, tfds.features.ClassLabel),
        "load",
        f'{name} with an 8-bit "image" and a class "label"',
        ", ".join(str(features).split()),
        "Read it with tfds.data_source, and make a set of its arrays with data.from_arrays.",
    )
    found = {split: _Records(builder, split) for split in splits if splits[split].num_examples}
    expect("train" in found, "load", f'{name} with a "train" split', list(found), "Read it with tfds.data_source.")
    decoder = Decoder(image.shape[-1], image_size)
    train = ImageSource.of(found["train"], decoder)
    # Some test sets are published without labels: -1.
    tests = [s for s in ("test", "validation") if s in found and found[s].read([0])[0][1] >= 0]
    if tests:
        test, parts = ImageSource.of(found[tests[0]], decoder), f"splits train and {tests[0]}"
    else:
        train, test = train.split(split_seed)
        parts = f"split train: 80 % training, 20 % test, stratified, split_seed {split_seed}"
    height, width = (image_size, image_size) if image_size else image.shape[:2]
    return deliver(
        train,
        test,
        DatasetInfo(name, tuple(label.names), (), (), f"{source or _known(builder.info)}; {parts}", ""),
        shape=(height, width, decoder.channels) if height and width else None,
        memory_limit=memory_limit,
        progress=progress,
    )


def command(name: str, folder: Path) -> str:
    """Return the command that prepares a set, once, with TensorFlow."""
    return f'pip install "jaxcnn[prepare]" && tfds build {name} --data_dir {folder} --file_format array_record'


class _Records:
    """The examples of a split as they lie in the files."""

    def __init__(self, builder: Any, split: str) -> None:
        raw = require_tfds().decode.DeserializeMethod.RAW_BYTES
        self.files = builder.as_data_source(split, deserialize_method=raw)
        info = builder.info
        self.title = f"{info.full_name} {split}"
        self.text = f"{self.title} {info.splits[split].shard_lengths} {info.splits[split].num_bytes}"

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Sequence[int]) -> list[tuple[bytes, int]]:
        # Parsed here, as TFDS's own parser takes four times as long: 1.4 s against 0.4 s for 60,000.
        from tensorflow_datasets.proto import tf_example_pb2

        proto: Any = tf_example_pb2
        examples = [proto.Example.FromString(x).features.feature for x in self.files.__getitems__(indices)]
        return [(x["image"].bytes_list.value[0], x["label"].int64_list.value[0]) for x in examples]

    def name(self, index: int) -> str:
        return f"image {index} of {self.title}"

    def labels(self) -> np.ndarray:
        return self._labels

    @functools.cached_property
    def _labels(self) -> np.ndarray:
        blocks = [range(i, min(i + BLOCK, len(self))) for i in range(0, len(self), BLOCK)]
        return np.asarray([label for block in blocks for _, label in self.read(block)], np.int32)

    def listing(self) -> str:
        return self.text


def _known(info: Any) -> str:
    licence = info.redistribution_info.license if info.redistribution_info else ""
    return "; ".join(filter(None, (f"TFDS {info.full_name}, {info.homepage}", licence)))


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, none if it is no version."""
    return tuple(map(int, version.split("."))) if re.fullmatch(r"\d+\.\d+\.\d+", version, re.ASCII) else ()

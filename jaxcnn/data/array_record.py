"""Data sets written as TFDS writes them, as array_record, without TensorFlow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.checking import installed
from jaxcnn.data.plain_png import to_plain_png
from jaxcnn.data.source import Progress

__all__ = ["require_tfds", "write_prepared"]

REPORT_EVERY = 1000


def require_tfds() -> Any:
    """Return `tensorflow_datasets`; raise `ImportError`, saying how to install it, if it cannot be imported."""
    with installed("load", "TFDS", 'pip install "jaxcnn[data]", without TensorFlow'):
        import array_record  # noqa: F401
        import PIL  # noqa: F401
        import tensorflow_datasets as tfds
    return tfds


def write_prepared(
    folder: Path,
    name: str,
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    version: str,
    class_names: Sequence[str],
    description: str,
    homepage: str,
    progress: Progress | None = None,
) -> None:
    """Write images and labels into an empty folder so that `tfds.builder_from_directory` reads them.

    The examples keep their order. Each split is one file of `tf.train.Example`s with "image", a PNG, and "label".

    Args:
        folder: the folder, which exists.
        name, version: of the set: lower case; three numbers.
        parts: of each split images, uint8 (N, H, W, C), all of one size, C 1 or 3, and labels, integers (N,).
        class_names: one per label.
        description, homepage: kept beside the images.
        progress: is called with the numbers of images written and to write.
    """
    tfds = require_tfds()
    from array_record.python.array_record_module import ArrayRecordWriter

    (shape,) = {image.shape[1:] for image, _ in parts.values()}
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape, encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(class_names)),
        }
    )
    total = sum(len(label) for _, label in parts.values())
    done, splits = 0, []
    for split, (images, labels) in parts.items():
        writer = ArrayRecordWriter(str(folder / f"{name}-{split}.array_record-00000-of-00001"), "group_size:1")
        size = 0
        for image, label in zip(images, labels, strict=True):
            record = features.serialize_example({"image": to_plain_png(image), "label": int(label)})
            writer.write(record)
            size += len(record)
            done += 1
            if progress is not None and (done % REPORT_EVERY == 0 or done == total):
                progress(done, total)
        writer.close()
        splits.append(tfds.core.SplitInfo(name=split, shard_lengths=[len(labels)], num_bytes=size))
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=splits,
        version=version,
        check_data=False,  # would want TensorFlow
        description=description,
        homepage=homepage,
        supervised_keys=("image", "label"),
        disable_shuffling=True,
    )

"""Prepared sets, against TFDS itself: what it writes we read, what we write it reads."""

import json
import logging
import os
import pickle
import re

import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.data.tfds import data_folder, find_prepared
from tests.data.files import png

tfds = pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")
pytest.importorskip("PIL.Image", reason="Pillow is not installed")

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 5, 6, 3), np.uint8)
LABEL = np.arange(30) % 3
NAMES = ("cat", "dog", "owl")


@pytest.fixture
def by_tfds(tmp_path):
    """Return a function that lets a builder of TFDS write a set, and returns the folder of all sets."""
    pytest.importorskip("importlib_resources", reason="importlib_resources is not installed: TFDS's builders need it")

    def write(parts, *, name="pets", shape=(5, 6, 3), features=None, **builder_options):
        features = features or {
            "image": tfds.features.Image(shape=shape),
            "label": tfds.features.ClassLabel(names=list(NAMES)),
        }

        class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("2.1.0")

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, manager):
                return {split: enumerate(examples) for split, examples in parts.items()}

            def _generate_examples(self):
                raise NotImplementedError

        Builder.name = name
        folder = tmp_path / "sets"
        tfds.disable_progress_bar()
        Builder(data_dir=folder, file_format="array_record", **builder_options).download_and_prepare()
        return folder

    return write


def examples(chosen=slice(None), image=IMAGE):
    return [{"image": png(i.squeeze()), "label": int(n)} for i, n in zip(image[chosen], LABEL[chosen], strict=True)]


def by_bytes(dataset):
    return sorted((i.tobytes(), n) for i, n in zip(dataset["image"], dataset["label"], strict=True))


# --- what TFDS writes


@pytest.mark.slow
def test_train_and_test(by_tfds):
    folder = by_tfds({"train": examples(slice(20)), "test": examples(slice(20, 30)), "validation": examples()})
    train, test = data.load("pets", data_dir=folder)
    assert by_bytes(train) == sorted((i.tobytes(), n) for i, n in zip(IMAGE[:20], LABEL[:20], strict=True))
    assert by_bytes(test) == sorted((i.tobytes(), n) for i, n in zip(IMAGE[20:], LABEL[20:], strict=True))
    assert (train["image"].dtype, train["image"].shape) == (np.uint8, (20, 5, 6, 3))
    assert train.info.class_names == NAMES
    assert train.info.name == "pets"
    assert train.info.source.startswith("TFDS pets/2.1.0, http") and train.info.source.endswith("splits train and test")
    np.testing.assert_allclose(train.info.mean, IMAGE[:20].mean((0, 1, 2)) / 255, atol=1e-6)
    assert test.info.mean == train.info.mean
    reference = tfds.data_source("pets:2.1.0", split="train", data_dir=folder)
    np.testing.assert_array_equal(train["image"], [example["image"] for example in reference])
    np.testing.assert_array_equal(train["label"], [example["label"] for example in reference])


def test_validation_stands_in_for_a_test_set(by_tfds):
    _, test = data.load("pets", data_dir=by_tfds({"train": examples(slice(20)), "validation": examples(slice(20, 30))}))
    assert test.size == 10
    assert test.info.source.endswith("splits train and validation")


def test_validation_stands_in_for_a_test_set_without_labels(by_tfds):
    unlabelled = [example | {"label": -1} for example in examples(slice(6))]
    parts = {"train": examples(slice(20)), "test": unlabelled, "validation": examples(slice(20, 30))}
    assert data.load("pets", data_dir=by_tfds(parts))[1].size == 10


def test_without_a_test_set_a_stratified_fifth(by_tfds):
    folder = by_tfds({"train": examples()})
    train, test = data.load("pets", data_dir=folder, split_seed=5)
    np.testing.assert_array_equal(np.bincount(train["label"]), [8, 8, 8])
    np.testing.assert_array_equal(np.bincount(test["label"]), [2, 2, 2])
    assert sorted(by_bytes(train) + by_bytes(test)) == sorted(
        (i.tobytes(), n) for i, n in zip(IMAGE, LABEL, strict=True)
    )
    assert "80 % training, 20 % test, stratified, split_seed 5" in test.info.source
    assert data.load("pets", data_dir=folder, split_seed=5)[1].info == test.info
    assert data.load("pets", data_dir=folder, split_seed=6)[1].info.fingerprint != test.info.fingerprint


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels(by_tfds, channels):
    image = np.random.default_rng(1).integers(0, 256, (30, 5, 6, channels), np.uint8)
    parts = {"train": examples(slice(20), image), "test": examples(slice(20, 30), image)}
    train, _ = data.load("pets", data_dir=by_tfds(parts, shape=(5, 6, channels)))
    assert by_bytes(train) == sorted((i.tobytes(), n) for i, n in zip(image[:20], LABEL[:20], strict=True))


def test_several_sizes_are_a_stream(by_tfds):
    some = [IMAGE[i, : 2 + i % 4] for i in range(30)]
    parts = {"train": examples(slice(20), some), "test": examples(slice(20, 30), some)}
    folder = by_tfds(parts, shape=(None, None, 3))
    train, test = data.load("pets", data_dir=folder)
    assert isinstance(train, data.Stream) and isinstance(test, data.Stream)
    assert (len(train.source), len(test.source)) == (20, 10)
    reference = tfds.data_source("pets:2.1.0", split="train", data_dir=folder)
    again = pickle.loads(pickle.dumps(train.source))
    for i in (0, 7, 19):
        for source in (train.source, again):
            np.testing.assert_array_equal(source[i]["image"], reference[i]["image"])
            assert source[i]["label"] == reference[i]["label"] and type(source[i]["label"]) is int
    assert train.info.fingerprint != test.info.fingerprint
    assert data.load("pets", data_dir=folder)[0].info == train.info
    sized = data.load("pets", data_dir=folder, image_size=2)[0]
    assert sized["image"].shape == (20, 2, 2, 3)


def test_sets_beyond_the_limit_are_streams(by_tfds):
    folder = by_tfds({"train": examples()})
    assert isinstance(data.load("pets", data_dir=folder, memory_limit=IMAGE.size)[0], data.Dataset)
    train, test = data.load("pets", data_dir=folder, memory_limit=IMAGE.size - 1)
    for streamed, whole in zip((train, test), data.load("pets", data_dir=folder), strict=True):
        np.testing.assert_array_equal(
            [streamed.source[i]["image"] for i in range(len(streamed.source))], whole["image"]
        )
        assert streamed.info.mean == whole.info.mean
    assert train.info.fingerprint != test.info.fingerprint
    assert data.load("pets", data_dir=folder, memory_limit=1)[0].info == train.info
    assert (
        data.load("pets", data_dir=folder, memory_limit=1, split_seed=1)[0].info.fingerprint != train.info.fingerprint
    )


def test_progress(by_tfds):
    calls = []
    data.load("pets", data_dir=by_tfds({"train": examples()}), progress=lambda *call: calls.append(call))
    assert calls == [(24, 30), (30, 30)]


@pytest.mark.parametrize(
    ("features", "example"),
    [
        ({"image": tfds.features.Image(shape=(5, 6, 3))}, {"image": png(IMAGE[0])}),
        (
            {"picture": tfds.features.Image(shape=(5, 6, 3)), "label": tfds.features.ClassLabel(num_classes=3)},
            {"picture": png(IMAGE[0]), "label": 1},
        ),
        (
            {"image": tfds.features.Image(shape=(5, 6, 3)), "label": tfds.features.Scalar(np.float32)},
            {"image": png(IMAGE[0]), "label": 0.5},
        ),
        (
            {
                "image": tfds.features.Image(shape=(5, 6, 1), dtype=np.uint16),
                "label": tfds.features.ClassLabel(num_classes=3),
            },
            {"image": png(IMAGE[0, ..., 0].astype(np.uint16)), "label": 1},
        ),
    ],
    ids=["no label", "no image", "a number", "16 bits"],
)
def test_sets_that_are_no_classification(by_tfds, features, example):
    folder = by_tfds({"train": [example]}, features=features)
    message = (
        r'^load: expected pets with an 8-bit "image" and a class "label", got FeaturesDict\(.*\. Read it with tfds'
    )
    with pytest.raises(ValueError, match=message):
        data.load("pets", data_dir=folder)


def test_sets_without_training_images(by_tfds):
    folder = by_tfds({"test": examples()})
    with pytest.raises(ValueError, match=r'^load: expected pets with a "train" split, got \[\'test\'\]\. Read it'):
        data.load("pets", data_dir=folder)


def test_another_format(by_tfds):
    folder = by_tfds({"train": examples()})
    file = folder / "pets" / "2.1.0" / "dataset_info.json"
    info = json.loads(file.read_text())
    assert info["fileFormat"] == "array_record"
    file.write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    message = (
        r"^load: expected pets prepared as array_record in .*2\.1\.0, got another format or damaged files \(.*tfrec"
    )
    with pytest.raises(ValueError, match=message) as caught:
        data.load("pets", data_dir=folder)
    assert f"tfds build pets --data_dir {folder} --file_format array_record" in str(caught.value)
    file.write_text("{")
    with pytest.raises(ValueError, match=r"got another format or damaged files"):
        data.load("pets", data_dir=folder)


# --- what we write


@pytest.mark.parametrize("channels", [1, 3])
def test_tfds_reads_what_we_write(prepared, channels, caplog):
    image = IMAGE[..., :channels]
    calls = []
    folder = prepared("pets", {"train": (image, LABEL), "test": (image[:4], LABEL[:4])}, NAMES)
    caplog.set_level(logging.ERROR)
    for split, count in (("train", 30), ("test", 4)):
        source = tfds.data_source("pets:1.0.0", split=split, data_dir=folder)
        assert len(source) == count
        np.testing.assert_array_equal([example["image"] for example in source], image[:count])
        np.testing.assert_array_equal([example["label"] for example in source], LABEL[:count])
    info = tfds.builder("pets:1.0.0", data_dir=folder).info
    assert info.features["label"].names == list(NAMES)
    assert info.supervised_keys == ("image", "label")
    assert info.disable_shuffling
    train, _ = data.load("pets", data_dir=folder, progress=lambda *call: calls.append(call))
    np.testing.assert_array_equal(train["image"], image)
    np.testing.assert_array_equal(train["label"], LABEL)
    assert calls == [(30, 34), (34, 34)]


def test_images_and_labels_are_read_block_by_block(prepared, monkeypatch):
    folder = prepared("pets", {"train": (IMAGE, LABEL)}, NAMES)
    at_once = data.load("pets", data_dir=folder)
    for module in ("source", "tfds"):
        monkeypatch.setattr(f"jaxcnn.data.{module}.BLOCK", 7)
    for one, other in zip(at_once, data.load("pets", data_dir=folder), strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        assert one.info == other.info


# --- finding them


def test_versions_and_configurations(prepared):
    part = {"train": (IMAGE, LABEL)}
    for version in ("1.2.0", "1.10.0", "1.9.9"):
        folder = prepared("pets", part, NAMES, version)
    prepared("birds/small", part, NAMES)
    (folder / "pets" / "incomplete.x_9.0.0").mkdir()
    (folder / "pets" / "7.0.0").mkdir()
    assert find_prepared("pets", folder) == folder / "pets/1.10.0"
    assert find_prepared("pets:1.2.0", folder) == folder / "pets/1.2.0"
    assert find_prepared("birds/small", folder) == find_prepared("birds", folder) == folder / "birds/small/1.0.0"
    assert find_prepared("birds:1.0.0", folder) == folder / "birds/small/1.0.0"
    for name in ("birds/large", "pets:3.0.0", "fish", "", "../sets/pets", "pets/..", "/pets", "pets:*", "p*"):
        assert find_prepared(name, folder) is None, name
    prepared("birds/large", part, NAMES)
    message = r"^load: expected birds/<one of \['large', 'small'\]>, got 'birds'\. Say which configuration\."
    with pytest.raises(ValueError, match=message):
        find_prepared("birds", folder)
    assert data.load("birds/large", data_dir=folder)[0].size == 24


def test_where_sets_lie(monkeypatch, tmp_path):
    for name in ("JAXCNN_DATA", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert str(data_folder(None)) == "/home/me/tensorflow_datasets"
    monkeypatch.setenv("TFDS_DATA_DIR", "/sets")
    assert str(data_folder(None)) == "/sets"
    monkeypatch.setenv("JAXCNN_DATA", "~/data")
    assert str(data_folder(None)) == "/home/me/data"
    assert data_folder(tmp_path) == tmp_path


def test_folders_that_cannot_be_read(prepared, monkeypatch):
    folder = prepared("pets", {"train": (IMAGE, LABEL)}, NAMES)
    for hidden in (folder, folder / "pets"):
        monkeypatch.setattr(os, "access", lambda path, mode, hidden=hidden: path != hidden)
        message = (
            rf"^load: expected a folder that can be read, got {re.escape(str(hidden))}\. Change its mode, or pass data_"
        )
        with pytest.raises(OSError, match=message):
            data.load("pets", data_dir=folder)


def test_empty_splits_are_no_splits(prepared):
    folder = prepared("pets", {"train": (IMAGE, LABEL), "test": (IMAGE[:0], LABEL[:0])}, NAMES)
    assert [part.size for part in data.load("pets", data_dir=folder)] == [24, 6]


def test_images_of_another_size_than_declared(prepared):
    folder = prepared("pets", {"train": (IMAGE, LABEL), "test": (IMAGE, LABEL)}, NAMES)
    features = folder / "pets" / "1.0.0" / "features.json"
    declared = features.read_text()
    assert re.search(r'"5",\s*"6"', declared)
    features.write_text(re.sub(r'("5",\s*)"6"', r'\1"1"', declared))  # one pixel wide: NumPy would repeat it
    message = (
        r"^load: expected images of shape \(5, 1, 3\), got image 0 of pets/1\.0\.0 train of \(5, 6, 3\)\. Pass image_"
    )
    with pytest.raises(ValueError, match=message):
        data.load("pets", data_dir=folder)

"""Images in class folders as data sets."""

import pickle
import re
import zipfile

import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.data.cropping import middle, resized
from tests.data.files import pixels, png, write, zipped

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def load(path, **options):
    return data.load("folder", path=path, **options)


def many(count=10, classes=("cat", "ant"), **options):
    """Ten images of each class."""
    return {f"{c}/{i}.png": pixels(100 * k + i, **options) for k, c in enumerate(classes) for i in range(count)}


SPLIT = {
    "train/cat/1.png": pixels(1),
    "train/ant/2.PNG": pixels(2),
    "train/ant/deep/er/3.png": pixels(3),
    "test/cat/4.png": pixels(4),
    "test/cat/5.png": pixels(5),
    "README.md": b"no image",
    "train/cat/notes.txt": b"no image",
    "train/.hidden/6.png": b"no image",
    "__MACOSX/train/cat/._1.png": b"no image",
}


@pytest.mark.parametrize("kind", [lambda root: root, zipped], ids=["folder", "zip"])
def test_official_splits(tmp_path, kind):
    train, test = load(kind(write(tmp_path / "pets", SPLIT)))
    np.testing.assert_array_equal(train["image"], [pixels(2), pixels(3), pixels(1)])
    np.testing.assert_array_equal(train["label"], [0, 0, 1])
    np.testing.assert_array_equal(test["image"], [pixels(4), pixels(5)])
    np.testing.assert_array_equal(test["label"], [1, 1])
    for part in (train, test):
        assert part.info.class_names == ("ant", "cat")
        assert part.info.name == "pets"
        assert re.fullmatch(r"images in pets(\.zip)?; folders train and test", part.info.source)
    expected = np.stack([pixels(i) for i in (1, 2, 3)]).mean((0, 1, 2)) / 255
    np.testing.assert_allclose(train.info.mean, expected, atol=1e-6)
    assert test.info.mean == train.info.mean


@pytest.mark.parametrize("name", ["validation", "val"])
def test_validation_stands_in_for_a_test_set(tmp_path, name):
    files = {path.replace("test/", f"{name}/"): image for path, image in SPLIT.items()}
    train, test = load(write(tmp_path, files))
    assert (train.size, test.size) == (3, 2)
    assert test.info.source.endswith(f"folders train and {name}")


def test_a_test_set_goes_before_validation(tmp_path):
    files = SPLIT | {"val/cat/8.png": pixels(8), "validation/cat/9.png": pixels(9)}
    _, test = load(write(tmp_path, files))
    np.testing.assert_array_equal(test["image"], [pixels(4), pixels(5)])


@pytest.mark.parametrize("below", ["", "train/"])
def test_without_a_test_set_a_stratified_fifth(tmp_path, below):
    write(tmp_path, {below + name: image for name, image in many().items()})
    train, test = load(tmp_path, split_seed=3)
    assert train.info.class_names == ("ant", "cat")
    np.testing.assert_array_equal(np.bincount(train["label"]), [8, 8])
    np.testing.assert_array_equal(np.bincount(test["label"]), [2, 2])
    assert test.info.source.endswith("80 % training, 20 % test, stratified, split_seed 3")
    known = {image.tobytes(): name.startswith("cat") for name, image in many().items()}
    seen = [
        (i.tobytes(), label) for part in (train, test) for i, label in zip(part["image"], part["label"], strict=True)
    ]
    assert dict(seen) == known and len(seen) == 20
    assert load(tmp_path, split_seed=3)[1].info == test.info
    assert load(tmp_path, split_seed=4)[1].info.fingerprint != test.info.fingerprint


def test_images_and_masks_in_the_folders_of_the_splits_are_no_classes(tmp_path):
    """As segmentation sets have them."""
    files = {f"{part}/{n}.png": pixels(n) for part in ("train", "trainannot", "test") for n in range(4)}
    with pytest.raises(ValueError, match=r"^load: expected a folder for each class .*, got images in \['test', 'tr"):
        load(write(tmp_path, files))


def test_one_folder_around_all_is_looked_into(tmp_path):
    train, test = load(zipped(write(tmp_path / "x", {f"pets/v1/{name}": image for name, image in SPLIT.items()})))
    assert (train.size, test.size) == (3, 2)
    train, test = load(zipped(write(tmp_path / "y", {f"pets/{name}": image for name, image in many().items()})))
    assert train.info.class_names == ("ant", "cat")


def test_grey_only_if_all_are(tmp_path):
    grey = many(5, shape=(4, 5))
    train, _ = load(write(tmp_path / "grey", {f"train/{name}": image for name, image in grey.items()}), split_seed=0)
    assert train["image"].shape[1:] == (4, 5, 1)
    mixed = {f"train/{name}": image for name, image in grey.items()} | {"test/ant/x.png": pixels(0, (4, 5, 4))}
    train, test = load(write(tmp_path / "mixed", mixed))
    assert train["image"].shape[1:] == test["image"].shape[1:] == (4, 5, 3)
    np.testing.assert_array_equal(train["image"][0], np.repeat(grey["ant/0.png"][..., None], 3, -1))


def test_they_are_read_block_by_block(tmp_path, monkeypatch):
    write(tmp_path, many())
    at_once, calls = load(tmp_path), []
    monkeypatch.setattr("jaxcnn.data.source.BLOCK", 7)
    in_blocks = load(tmp_path, progress=lambda *call: calls.append(call))
    assert calls == [(7, 20), (14, 20), (16, 20), (20, 20)]
    for one, other in zip(at_once, in_blocks, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        assert one.info == other.info


# --- streams


SIZES = {f"{part}/{c}/{i}.png": pixels(i, (4 + i, 6, 3)) for part in ("train", "test") for c in "ab" for i in range(3)}


def test_several_sizes_are_a_stream(tmp_path):
    train, test = load(write(tmp_path, SIZES))
    assert isinstance(train, data.Stream) and isinstance(test, data.Stream)
    assert len(train.source) == len(test.source) == 6
    for i in range(6):
        example = train.source[i]
        assert example["label"] == i // 3 and type(example["label"]) is int
        np.testing.assert_array_equal(example["image"], pixels(i % 3, (4 + i % 3, 6, 3)))
    with pytest.raises(IndexError):
        train.source[6]
    flat = np.concatenate([pixels(i, (4 + i, 6, 3)).reshape(-1, 3) for i in range(3)]) / 255
    np.testing.assert_allclose(train.info.mean, flat.mean(0), atol=1e-6)
    np.testing.assert_allclose(train.info.std, flat.std(0), atol=1e-6)
    assert test.info.mean == train.info.mean
    assert "mean and deviation of 6 of the training images" in train.info.source
    assert train.info.class_names == ("a", "b")


def test_the_mean_of_a_stream_is_that_of_images_from_the_first_to_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxcnn.data.source.SAMPLE", 2)
    train, _ = load(write(tmp_path, SIZES))
    ends = np.concatenate([SIZES[f"train/{name}.png"].reshape(-1, 3) for name in ("a/0", "b/2")]) / 255
    np.testing.assert_allclose(train.info.mean, ends.mean(0), atol=1e-6)
    assert "mean and deviation of 2 of the training images" in train.info.source


def test_a_stream_is_known_by_its_files(tmp_path):
    one = load(write(tmp_path / "x", SIZES))[0].info
    assert load(write(tmp_path / "y", SIZES))[0].info.fingerprint == one.fingerprint
    other = SIZES | {"train/a/0.png": pixels(0, (9, 9, 3))}
    assert load(write(tmp_path / "z", other))[0].info.fingerprint != one.fingerprint
    assert load(write(tmp_path / "z", other))[1].info.fingerprint != one.fingerprint


def test_labels_are_made_once_and_cannot_be_changed(tmp_path):
    train, _ = load(write(tmp_path, SIZES))
    assert train["label"] is train["label"]
    with pytest.raises(ValueError, match="read-only"):
        train["label"][0] = 1
    some = train.take([4, 1])
    assert some["label"].tolist() == [1, 0]
    assert train["label"].tolist() == [0, 0, 0, 1, 1, 1]


def test_batches_are_of_the_files(tmp_path):
    train, _ = load(write(tmp_path, SIZES), memory_limit=1, image_size=3)
    (batch,) = train.batches(6)
    for i in range(6):
        size = (4 + i % 3, 6)
        np.testing.assert_array_equal(batch["image"][i], resized(pixels(i % 3, (*size, 3)), middle(*size), 3))
    assert (batch["label"].tolist(), batch["label"].dtype) == ([0, 0, 0, 1, 1, 1], np.int32)
    assert batch["image"].flags.writeable


def test_each_example_has_its_own_part(tmp_path):
    source = load(write(tmp_path, SIZES))[0].source
    boxes = [(0.0, 1.0, 3.0, 4.0), (2.0, 0.0, 5.0, 3.0)]
    parts = source.parts([4, 0], [lambda height, width, box=box: box for box in boxes], 2)
    for index, box, part in zip([4, 0], boxes, parts, strict=True):
        np.testing.assert_array_equal(part["image"], resized(source[index]["image"], box, 2))
        assert part["label"] == source[index]["label"]


def test_a_file_that_breaks_later_is_named(tmp_path):
    train, _ = load(write(tmp_path, SIZES))
    (tmp_path / "train/b/1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"load: expected images that can be decoded, got train/b/1\.png \("):
        list(train.batches(4))


@pytest.mark.parametrize("kind", [lambda root: root, zipped], ids=["folder", "zip"])
def test_a_source_can_be_sent_to_another_process(tmp_path, kind):
    source = load(kind(write(tmp_path / "x", SIZES)))[0].source
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again[4]["image"], source[4]["image"])


def test_image_size_brings_them_to_one_size(tmp_path):
    train, _ = load(write(tmp_path, SIZES), image_size=4)
    assert train["image"].shape == (6, 4, 4, 3)
    middle = Image.fromarray(SIZES["train/a/0.png"]).crop((1, 0, 5, 4))
    np.testing.assert_array_equal(train["image"][0], np.asarray(middle))


def test_sets_beyond_the_limit_are_streams(tmp_path):
    write(tmp_path, many())
    size = 20 * 6 * 7 * 3
    assert isinstance(load(tmp_path, memory_limit=size)[0], data.Dataset)
    train, test = load(tmp_path, memory_limit=size - 1)
    assert isinstance(train, data.Stream)
    in_memory = load(tmp_path)
    for streamed, whole in zip((train, test), in_memory, strict=True):
        np.testing.assert_array_equal(
            [streamed.source[i]["image"] for i in range(len(streamed.source))], whole["image"]
        )
        assert (streamed.info.mean, streamed.info.std) == (whole.info.mean, whole.info.std)


def test_streams_resize_themselves(tmp_path):
    sizes, one_size = write(tmp_path / "x", SIZES), write(tmp_path / "y", many())
    assert load(sizes)[0].image_size == 224
    assert load(one_size, memory_limit=1)[0].image_size == 6
    train, test = load(sizes, memory_limit=1, image_size=3)
    assert (train.image_size, test.image_size) == (3, 3)
    assert train.source[0]["image"].shape == (4, 6, 3)
    assert train.spec.shape == (1, 3, 3, 3)
    assert (train.size, train["label"].tolist()) == (6, [0, 0, 0, 1, 1, 1])


# --- damage


def test_progress(tmp_path):
    calls = []
    load(write(tmp_path, many()), progress=lambda *call: calls.append(call))
    assert calls == [(16, 20), (20, 20)]


DAMAGED = {"train/cat/bad.png": b"no image", "train/ant/cut.png": png(pixels(0))[:-40]}


def test_images_that_cannot_be_decoded_are_named(tmp_path):
    write(tmp_path, SPLIT | {"train/cat/bad.png": b"no image"})
    message = r"^load: expected images that can be decoded, got train/cat/bad\.png \(cannot identify .*\)\. Repair or"
    with pytest.raises(ValueError, match=message):
        load(tmp_path)
    (tmp_path / "train/cat/bad.png").write_bytes(png(pixels(0))[:-40])
    message = r"^load: expected images that can be decoded, got train/cat/bad\.png \(.*\)\. Repair .*skip_corrupt=True"
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("kind", [lambda root: root, zipped], ids=["folder", "zip"])
def test_skip_corrupt_leaves_them_out_and_says_so(tmp_path, kind):
    train, test = load(kind(write(tmp_path / "x", SPLIT | DAMAGED)), skip_corrupt=True)
    assert (train.size, test.size) == (3, 2)
    names = "train/ant/cut.png, train/cat/bad.png"
    assert train.info.source.endswith(f"; 2 files that cannot be decoded left out: {names}")


def test_of_many_corrupt_files_some_are_named(tmp_path):
    write(tmp_path, SPLIT | {f"test/cat/{i:02}.jpg": b"" for i in range(13)})
    source = load(tmp_path, skip_corrupt=True)[0].info.source
    assert source.endswith(
        "13 files that cannot be decoded left out: "
        + ", ".join(f"test/cat/{i:02}.jpg" for i in range(10))
        + " and 3 more"
    )


def test_nothing_is_left(tmp_path):
    for part, other in (("train", "test"), ("test", "train")):
        files = {f"{part}/{c}/{i}.png": b"" for c in ("ant", "cat") for i in range(2)}
        files |= {f"{other}/{c}/{i}.png": pixels(i) for c in ("ant", "cat") for i in range(2)}
        message = (
            r"^load: expected images to train on and to test on in .*, got none; 4 files that cannot be .*Repair them"
        )
        with pytest.raises(ValueError, match=message):
            load(write(tmp_path / part, files), skip_corrupt=True)


def test_damage_in_an_archive_is_named(tmp_path):
    large = pixels(0, (80, 80, 3))  # so that the header can be read before the archive notices
    path = zipped(write(tmp_path / "x", SPLIT | {"train/cat/1.png": large}))
    with zipfile.ZipFile(path) as file:
        inside = file.getinfo("train/cat/1.png").header_offset
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[inside + 30 + len("train/cat/1.png") + 15_000] ^= 255
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^load: expected images that can be decoded, got train/cat/1\.png \(.*\)\. Rep"
    ):
        load(path, image_size=4)
    train, _ = load(path, image_size=4, skip_corrupt=True)
    assert train.size == 2
    assert train.info.class_names == ("ant", "cat")  # the folder is still there


def test_bombs_are_named(tmp_path):
    header = png(np.zeros((1, 1), np.uint8))
    bomb = header[:16] + (20_000).to_bytes(4, "big") * 2 + header[24:29]
    bomb += __import__("zlib").crc32(bomb[12:]).to_bytes(4, "big") + header[33:]
    write(tmp_path, SPLIT | {"train/cat/bomb.png": bomb})
    with pytest.raises(ValueError, match=r"got train/cat/bomb\.png \(expected at most 89,478,485 pixels, got more\)"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"folders of images in .*, got none\. Make one folder"),
        ({"1.png": pixels(0), "2.png": pixels(1)}, r"folders of images in .*, got none\."),
        ({"cat/1.txt": b"", "ant/2.txt": b""}, r"folders of images in .*, got none\."),
        ({"cat/1.png": pixels(0), "cat/2.png": pixels(1)}, r"at least two classes in .*, got \['cat'\]\. Make one"),
        ({"train/cat/1.png": pixels(0)}, r"at least two classes in .*, got \['cat'\]\."),
        (
            SPLIT | {"test/dog/1.png": pixels(0)},
            r"in .*/test the classes of train, got \['dog'\]\. Give each class a f",
        ),
    ],
)
def test_layouts_without_classes(tmp_path, files, message):
    with pytest.raises(ValueError, match="^load: expected " + message):
        load(write(tmp_path, files))


def test_links_and_paths_in_archives(tmp_path):
    write(tmp_path / "x", SPLIT)
    (tmp_path / "x/train/cat/passwd.png").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match=r"got the link .*passwd\.png"):
        load(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        for name, image in many(5).items():
            file.writestr(f"../../{name}", png(image))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"folders of images in .*evil\.zip, got none"):
        load(tmp_path / "evil.zip")
    assert sorted(tmp_path.rglob("*")) == before


def test_real_photographs(shared):
    path = shared / "hymenoptera_224.zip"
    if not path.exists():
        pytest.skip(f"no {path}")
    train, test = load(path, image_size=32)
    assert (train.size, test.size) == (244, 153)
    assert train["image"].shape == (244, 32, 32, 3)
    assert train.info.class_names == ("ants", "bees")


def test_real_photographs_of_several_sizes(shared):
    path = shared / "clothing_small_128.zip"
    if not path.exists():
        pytest.skip(f"no {path}")
    train, test = load(path)
    assert len(train.info.class_names) == 10
    assert len(train.source) + len(test.source) <= 3781
    assert min(train.source[7]["image"].shape[:2]) == 128

"""Images with masks as data sets."""

import io
import zipfile

import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.data import decoding
from tests.data.files import pixels, png, write, zipped

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
NAMES = ("road", "sky", "tree")


def mask(number, shape=(6, 7)):
    return np.random.default_rng(100 + number).integers(0, 3, shape, np.uint8)


def jpeg(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG")
    return file.getvalue()


FILES = {
    "train/a.png": png(pixels(1)),
    "train/deep/b.png": png(pixels(2)),
    "train_masks/a.png": png(mask(1)),
    "train_masks/deep/b.png": png(mask(2), palette=[9, 200, 30, 250, 0, 1, 7, 7, 7]),
    "test/a.png": png(pixels(3)),
    "testannot/a.png": png(mask(3)),
    "val/c.png": png(pixels(4)),
    "train.txt": b"no image",
    "train/.hidden/x.png": b"no image",
    "__MACOSX/train/._a.png": b"no image",
}


@pytest.mark.parametrize("kind", [lambda root: root, zipped], ids=["folder", "zip"])
@pytest.mark.parametrize("around", ["", "streets/"])
def test_images_and_their_masks(tmp_path, kind, around):
    root = write(tmp_path / "cars", {around + name: content for name, content in FILES.items()})
    train, test = data.load_masks(kind(root), NAMES)
    np.testing.assert_array_equal(train["image"], [pixels(1), pixels(2)])
    np.testing.assert_array_equal(train["mask"], [mask(1), mask(2)])
    np.testing.assert_array_equal(test["image"], [pixels(3)])
    np.testing.assert_array_equal(test["mask"], [mask(3)])
    assert train["mask"].dtype == train["image"].dtype == np.uint8
    assert train.info.name == test.info.name == "cars"
    assert train.info.class_names == test.info.class_names == NAMES
    assert train.info.source.endswith("; folders train and test")
    expected = np.stack([pixels(1), pixels(2)]).mean((0, 1, 2)) / 255
    np.testing.assert_allclose(train.info.mean, expected, atol=1e-6)
    assert test.info.mean == train.info.mean


def test_photographs_with_masks_of_another_format(tmp_path):
    smooth = np.full((6, 7, 3), 90, np.uint8)
    files = {"train/a.jpg": jpeg(smooth), "trainannot/a.png": png(mask(1))}
    files |= {"val/b.JPG": jpeg(smooth), "valannot/b.png": png(np.full((6, 7), 255, np.uint8))}
    train, validation = data.load_masks(write(tmp_path, files), NAMES)
    np.testing.assert_allclose(train["image"][0], smooth, atol=3)
    assert (validation["mask"] == 255).all()
    assert validation.info.source.endswith("; folders train and val")


def changed(**files):
    """Return the files with some replaced, or, where None, left out."""
    names = {"mask": "train_masks/a.png", "image": "train/a.png", "test": "test/a.png", "annot": "testannot/a.png"}
    new = {names[key]: content for key, content in files.items()}
    return {name: content for name, content in (FILES | new).items() if content is not None}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (changed(mask=png(mask(0, (6, 8)))), r"an image and its mask of one size, got \{'train/a.png': \(6, 7\)"),
        (
            changed(test=png(pixels(0, (9, 7, 3))), annot=png(mask(0, (9, 7)))),
            r"images of one size \(6, 7\), got \{'test/a.png': \(9, 7\), .*\. Pass shape=",
        ),
        (changed(mask=png(mask(1) + 1)), r"masks of \[-1, 0, 1, 2, 255\], got \[3\] in train_masks/a\.png\. Pass"),
        (changed(mask=png(pixels(1))), r"images that can be decoded, got train_masks/a\.png \(mode RGB, where a mask"),
        (changed(image=b"none"), r"images that can be decoded, got train/a\.png \(.*\)\. Repair it"),
        (changed(mask=None), r"an image and a mask of each name, got train/a\.png alone\. Give it"),
        (changed(image=None), r"an image and a mask of each name, got train_masks/a\.png alone\. Give it"),
        (changed(annot=None), r"one folder of masks in .* for test, got \[\]\. Put images into train/"),
        (FILES | {"trainannot/a.png": b""}, r"one folder of masks in .* for train, got \['train_masks', 'trainan"),
        ({"images/a.png": b"", "masks/a.png": b""}, r"folders of images in .*, got \['images', 'masks'\]\. Put images"),
        ({"a.txt": b"x"}, r"folders of images in .*, got \[\]\. Put images into"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, files, message):
    with pytest.raises(ValueError, match=rf"^load_masks: expected {message}"):
        data.load_masks(write(tmp_path, files), NAMES)


def test_sizes_become_one(tmp_path):
    files = changed(test=png(pixels(0, (9, 7, 3))), annot=png(mask(0, (9, 7))))
    train, test = data.load_masks(write(tmp_path, files), NAMES, shape=(12, 14))
    assert train["image"].shape == (2, 12, 14, 3)
    assert test["mask"].shape == (1, 12, 14)
    whole, _ = data.load_masks(write(tmp_path, FILES), NAMES)
    np.testing.assert_array_equal(train["mask"], whole["mask"].repeat(2, 1).repeat(2, 2))
    assert np.abs(train["image"].mean((1, 2)) - whole["image"].mean((1, 2))).max() < 6


def test_masks_of_black_and_white_are_no_classes(tmp_path):
    """255 is void: all objects of such masks would be passed over without a word."""
    white = {name: png((mask(1) % 2) * np.uint8(255)) for name in FILES if "masks" in name or "annot" in name}
    message = r"pixels of two classes or more in the masks of train, got values \[0, 255\]\. Write the number"
    with pytest.raises(ValueError, match=f"^load_masks: expected {message}"):
        data.load_masks(write(tmp_path, FILES | white), NAMES)


def test_void_labels_are_named(tmp_path):
    root = write(tmp_path, changed(mask=png(mask(1) + 1)))
    train, _ = data.load_masks(root, NAMES, void=(3,))
    assert set(np.unique(train["mask"])) == {0, 1, 2, 3}


def test_hostile_files(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"^load: expected a folder or a zip archive, got .* not there\. Check"):
        data.load_masks(tmp_path / "nothing", NAMES)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in FILES.items():
            file.writestr(name, content)
        file.writestr("../train/outside.png", png(pixels(9)))
    before = sorted(tmp_path.parent.rglob("*"))
    assert data.load_masks(archive, NAMES)[0].size == 2
    assert sorted(tmp_path.parent.rglob("*")) == before
    monkeypatch.setattr(decoding, "MOST_PIXELS", 40)
    with pytest.raises(ValueError, match=r"got .*a\.png \(expected at most 40 pixels, got 7 x 6\)"):
        data.load_masks(archive, NAMES)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"class_names": "road"}, TypeError, r"class_names as a list of texts, got 'road'\."),
        ({"class_names": []}, TypeError, r"class_names as a list of texts, got \[\]\."),
        ({"class_names": [1, 2]}, TypeError, r"class_names as a list of texts, got \[1, 2\]\."),
        ({"class_names": NAMES, "void": 255}, ValueError, r"void as a tuple of ints, got 255\. Pass"),
        ({"class_names": NAMES, "void": (255, 2)}, ValueError, r"void labels outside 0\.\.2, got \[2\]\. Take"),
    ],
)
def test_bad_options(tmp_path, options, error, message):
    with pytest.raises(error, match=rf"^load_masks: expected {message}"):
        data.load_masks(tmp_path, **options)


@pytest.mark.slow
def test_camvid(shared):
    path = shared / "camvid_240x180.zip"
    if not path.is_file():
        pytest.skip(f"no {path}")
    train, test = data.load_masks(path, [str(n) for n in range(11)], void=(11,))
    assert (train.size, test.size) == (367, 233)
    assert train["image"].shape[1:] == (180, 240, 3)
    assert np.unique(train["mask"]).tolist() == list(range(12))

"""Images with boxes in Pascal VOC's form, as strangers publish them."""

import functools
import re
import zipfile

import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.data.annotation import objects_in
from tests.data.files import pixels as pixels_of
from tests.data.files import png, write, zipped

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
pixels = functools.partial(pixels_of, shape=(6, 8, 3))


def annotation(*objects, root="annotation"):
    """Return an annotation of (name, xmin, ymin, xmax, ymax); its size is wrong, as it sometimes is."""
    rows = "".join(
        f"<object><name> {name} </name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox><difficult>0</difficult></object>"
        for name, x0, y0, x1, y1 in objects
    )
    return f"<{root}><size><width>0</width><height>0</height></size>{rows}</{root}>".encode()


FILES = {
    "ImageSets/Main/train.txt": b"a\nb\n",
    "ImageSets/Main/test.txt": b"c 1\n\n",
    "JPEGImages/a.png": png(pixels(0)),
    "JPEGImages/b.PNG": png(pixels(1)),
    "JPEGImages/c.png": png(pixels(2)),
    "JPEGImages/unlisted.png": b"none",
    "Annotations/a.xml": annotation(("dog", 1, 1, 3, 4), ("cat", 5, 2, 10, 6)),
    "Annotations/b.xml": annotation(),
    "Annotations/c.xml": annotation(("cat", 2, 3, 2, 3)),
}


@pytest.mark.parametrize("kind", [lambda root: root, zipped], ids=["folder", "zip"])
def test_images_boxes_and_classes(tmp_path, kind):
    files = {f"VOC2007/{name}": content for name, content in FILES.items()} | {"__MACOSX/VOC2007/._x.png": b""}
    train, test = data.load_voc(kind(write(tmp_path / "pets", files)))
    np.testing.assert_array_equal(train["image"], [pixels(0), pixels(1)])
    np.testing.assert_array_equal(test["image"], [pixels(2)])
    # From 1, the last pixel in, to the edges of pixels; cut off at the frame.
    np.testing.assert_array_equal(train["boxes"][0], [[0, 0, 3, 4], [4, 1, 8, 6]])
    assert train["box_class"].tolist() == [[1, 0], [-1, -1]]
    assert test["boxes"].tolist() == [[[1, 2, 2, 3]]]
    assert train.info.class_names == test.info.class_names == ("cat", "dog")
    assert test.info.mean == train.info.mean
    assert train["boxes"].dtype == np.float32
    assert re.fullmatch(r"images in pets(\.zip)?, list train", train.info.source)


def test_images_are_resized_and_boxes_with_them(tmp_path):
    done = []
    train, _ = data.load_voc(write(tmp_path, FILES), shape=(3, 16), progress=lambda *at: done.append(at))
    assert train["image"].shape == (2, 3, 16, 3)
    np.testing.assert_array_equal(train["boxes"][0], [[0, 0, 6, 2], [8, 0.5, 16, 3]])
    assert done == [(1, 3), (2, 3), (3, 3)]
    by_hand = Image.fromarray(pixels(0)).resize((16, 3), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(train["image"][0], by_hand)


def test_more_objects_than_slots_are_counted_and_said(tmp_path):
    """Of training images: what is found in the test set has to be there."""
    three = annotation(("cat", 2, 3, 2, 3), ("dog", 1, 1, 8, 6), ("cat", 4, 4, 5, 5))
    train, test = data.load_voc(write(tmp_path, FILES | {"Annotations/c.xml": three}), slots=1)
    np.testing.assert_array_equal(train["boxes"], [[[4, 1, 8, 6]], [[0, 0, 0, 0]]])
    assert train.info.source.endswith("1 of its 2 boxes left out, beyond 1 of an image")
    assert test["box_class"].tolist() == [[0, 1, 0]]
    assert "left out" not in test.info.source


def test_the_lists_decide(tmp_path):
    """trainval goes before train; without a test set there is the validation set."""
    write(tmp_path, FILES)
    (tmp_path / "ImageSets/Main/trainval.txt").write_text("b\n")
    assert data.load_voc(tmp_path)[0].size == 1
    (tmp_path / "ImageSets/Main/test.txt").rename(tmp_path / "ImageSets/Main/val.txt")
    train, test = data.load_voc(tmp_path)
    assert (train.size, test.size) == (2, 1)


BAD = {
    "no lists": ({"ImageSets/Main/test.txt": None}, "expected lists of images in .*, got none. It holds JPEGImages"),
    "empty list": ({"ImageSets/Main/test.txt": b"\n"}, r"expected names in the lists .*, got none in \['test'\]"),
    "in both": ({"ImageSets/Main/test.txt": b"a"}, r"expected lists .* without a common name, got \['a'\]"),
    "damaged image": (
        {"JPEGImages/a.png": b"none"},
        r"that can be read, got JPEGImages/a\.png \(.*Repair or remove it",
    ),
    "no XML": ({"Annotations/a.xml": b"<a"}, r"got Annotations/a\.xml \(no XML: .*\)\. Repair"),
    "another XML": ({"Annotations/a.xml": b"<a/>"}, "a <a> instead of an <annotation>"),
    "no box": ({"Annotations/a.xml": b"<annotation><object><name>x</name></object></annotation>"}, "'x' without <bnd"),
    "no name": ({"Annotations/a.xml": annotation(("", 1, 1, 2, 2))}, "<name> '' in <object>"),
    "no number": ({"Annotations/a.xml": annotation(("x", "one", 1, 2, 2))}, "<xmin> 'one' in <bndbox>"),
    "NaN": ({"Annotations/a.xml": annotation(("x", "nan", 1, 2, 2))}, r"a box \(nan, .*\) that is not finite"),
    "inverted": ({"Annotations/a.xml": annotation(("x", 5, 1, 2, 2))}, r"an inverted box \(5, 1, 2, 2\)"),
    "outside": (
        {"Annotations/a.xml": annotation(("x", 20, 1, 22, 2))},
        r"boxes of Annotations/a\.xml within its image, 8x6 pixels, got \[\[19\.0, 0\.0, 22\.0, 2\.0\]\]\. Correct",
    ),
    "several sizes": ({"JPEGImages/a.png": pixels(0, shape=(6, 9, 3))}, "images of one size, .*Pass shape="),
    "no objects": ({f"Annotations/{n}.xml": annotation() for n in "abc"}, "expected objects in the annotations"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_files(tmp_path, change, message):
    files = {name: content for name, content in (FILES | change).items() if content is not None}
    with pytest.raises(ValueError, match=f"^load_voc: .*{message}"):
        data.load_voc(write(tmp_path, files))


@pytest.mark.parametrize("gone", ["Annotations/b.xml", "JPEGImages/b.PNG"])
def test_missing_files(tmp_path, gone):
    files = {name: content for name, content in FILES.items() if name != gone}
    with pytest.raises(FileNotFoundError, match=r"^load_voc: expected annotation and image .*none or one of 'b'.*Add"):
        data.load_voc(write(tmp_path, files))
    with pytest.raises(FileNotFoundError, match="which is not there"):
        data.load_voc(tmp_path / "nothing")


def test_bad_options(tmp_path):
    with pytest.raises(ValueError, match=r"^load_voc: expected shape as \(height, width\) in pixels, got 64"):
        data.load_voc(tmp_path, shape=64)
    with pytest.raises(ValueError, match=r"^load_voc: expected slots as a positive int, got 0"):
        data.load_voc(tmp_path, slots=0)


HARMFUL = {
    "entities": b'<!DOCTYPE a [<!ENTITY x "y">]><annotation><object><name>&x;</name></object></annotation>',
    "files": b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>',
    "hidden in UTF-16": '<!DOCTYPE a [<!ENTITY x "y">]><annotation/>'.encode("utf-16"),
    "long": b"<annotation>" + b" " * 2**20 + b"</annotation>",
}


@pytest.mark.parametrize("file", HARMFUL.values(), ids=HARMFUL)
def test_harmful_annotations(file):
    with pytest.raises(ValueError, match=r"document type|decode|more than 1,048,576 bytes"):
        objects_in(file)


def test_nothing_outside_is_read(tmp_path):
    """Lists may name anything: it is looked up among what the archive holds, and archives are never extracted."""
    root = write(tmp_path / "root", FILES | {"ImageSets/Main/test.txt": b"../../secret\n"})
    write(tmp_path, {"secret.png": png(pixels(3)), "secret.xml": annotation()})
    for path in (root, zipped(root)):
        with pytest.raises(FileNotFoundError, match="secret"):
            data.load_voc(path)
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        for name, content in FILES.items():
            file.writestr(name, content)
        file.writestr("../escaped.png", png(pixels(3)))
    before = sorted(tmp_path.parent.rglob("*"))
    assert data.load_voc(tmp_path / "bad.zip")[0].size == 2
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_boxes_in_slots_by_hand():
    small, large = [0, 0, 1, 1], [0, 0, 4, 4]
    found = data.box_slots([[large, small, large], [], [small]], [[2, 0, 1], [], [0]], 2)
    assert found.boxes.tolist() == [[large, large], [[0] * 4] * 2, [small, [0] * 4]]
    assert found.box_class.tolist() == [[2, 1], [-1, -1], [0, -1]]
    assert found.left_out == 1
    assert found.boxes.dtype == np.float32 and found.box_class.dtype == np.int32
    assert data.box_slots([[]], [[]]).box_class.tolist() == [[-1]]
    assert data.box_slots([[small, large]], [[0, 1]]).boxes.shape == (1, 2, 4)


@pytest.mark.parametrize(
    ("boxes", "classes", "error", "message"),
    [
        ([], [], ValueError, "expected boxes and classes of as many images, at least one, got 0 and 0"),
        ([[[0, 0, 1]]], [[0]], ValueError, r"expected boxes \(K, 4\) and classes \(K,\) of image 0"),
        ([[[0, 0, 1, 1]]], [[0, 1]], ValueError, r"got \(1, 4\) and \(2,\)"),
        ([[[0, 0, 1, 1]]], [[0.5]], TypeError, "expected integer classes of image 0, got float64"),
        ([[[0, 0, 1, 1]]], [[-1]], ValueError, r"expected classes of image 0 from 0 on, got \[-1\]"),
        ([[[0, 0, 1, np.nan]]], [[0]], ValueError, "expected finite boxes of image 0"),
        ([[], [[2, 0, 1, 1]]], [[], [0]], ValueError, r"expected boxes x0, y0, x1, y1 of image 1, got \[\[2\.0"),
    ],
)
def test_bad_boxes(boxes, classes, error, message):
    with pytest.raises(error, match=f"^box_slots: .*{message}"):
        data.box_slots(boxes, classes)


@pytest.mark.slow
def test_blood_cells(shared):
    path = shared / "bccd.zip"
    if not path.is_file():
        pytest.skip(f"no {path}")
    train, test = data.load_voc(path, shape=(60, 80))
    assert (train.size, test.size) == (292, 72)
    assert train.info.class_names == ("Platelets", "RBC", "WBC")
    kinds = np.concatenate([part["box_class"].ravel() for part in (train, test)])
    assert np.bincount(kinds[kinds >= 0]).tolist() == [361, 4155, 372]

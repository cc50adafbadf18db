"""The look at a data set: in memory, as a stream, with masks, from a folder."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import data as look
from experiments import train
from experiments.apparatus import training_options
from experiments.data import Config, coloured, main
from jaxcnn import data, report

pytestmark = pytest.mark.usefixtures("quick_compilation")


def pictures(result):
    found = {s.title: [b for b in s.blocks if isinstance(b, report.Picture)] for s in result.pictures}
    return {title: [p.figure for p in shown] for title, shown in found.items() if shown}


def test_digits(capsys):
    result = main(Config(per_class=3))
    shown = pictures(result)
    assert set(shown) == {"Images", "Classes", "Values"}
    (sheet,) = shown["Images"][0].axes
    assert [text.get_text() for text in sheet.texts] == list("0123456789")
    assert len(sheet.images) == 30
    train, _ = data.load("digits")
    threes = train["image"][train["label"] == 3][..., 0]
    for image in sheet.images[9:12]:
        assert (np.asarray(image.get_array())[..., 0] == threes).all((1, 2)).any()
    assert [axes.get_title("left") for axes in shown["Values"][0].axes] == ["grey"]
    assert "of all training images" in result.pictures[3].blocks[0].caption
    assert "uint8, 0..255" in capsys.readouterr().out


@pytest.mark.slow
def test_masks_and_boxes_of_scenes(monkeypatch):
    train = data.Scenes(size=32).dataset(jax.random.key(0), 16)
    monkeypatch.setattr(look.data, "load", lambda *args, **options: (train, train))
    shown = pictures(main(Config(dataset="scenes", per_class=1)))
    rows, boxes = shown["Truth"]
    names = ["image", "object_mask", "instance_mask", "part_mask", "texture_mask", "colour_mask"]
    assert {text.get_text() for text in rows.axes[0].texts} == set(names)
    assert len(rows.axes[0].images) == look.KNOWN * len(names)
    assert any(line.get_label() == "box" for line in boxes.axes[0].lines)


def test_a_folder_of_images_of_many_sizes_is_a_stream_and_resized_ones_are_not(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pytest.importorskip("grain", reason="Grain is not installed")
    for number in range(10):
        for kind, level in (("ant", 60), ("bee", 200)):
            (tmp_path / "pets" / kind).mkdir(parents=True, exist_ok=True)
            pixels = np.full((40 + number, 50, 3), level, np.uint8)
            image.fromarray(pixels).save(tmp_path / "pets" / kind / f"{number}.png")
    config = Config(dataset="folder", path=str(tmp_path / "pets"), per_class=2)
    result = main(config)
    assert "streamed from disk" in capsys.readouterr().out
    assert result.verdict == "pets: 16 training and 4 test images of 2 classes."
    (sheet,) = pictures(result)["Images"][0].axes
    assert [text.get_text() for text in sheet.texts] == ["ant", "bee"]
    assert [int(np.asarray(i.get_array()).mean()) for i in sheet.images] == [60, 60, 200, 200]
    main(Config(dataset="folder", path=str(tmp_path / "pets"), image_size=16))
    out = capsys.readouterr().out
    assert "16x16x3\n" in out
    assert "streamed" not in out


def test_a_damaged_file_of_a_folder_is_left_out_where_that_is_asked_for(tmp_path):
    from PIL import Image

    for name in ("ant/1", "ant/2", "ant/3", "bee/1", "bee/2", "bee/3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "ant/3.png").write_bytes(b"not an image")
    config = Config(dataset="folder", path=str(tmp_path), per_class=1)
    with pytest.raises(ValueError, match=r"ant/3\.png .*--skip-corrupt"):
        main(config)
    main(dataclasses.replace(config, skip_corrupt=True))
    options = train.Config(dataset="folder", path=str(tmp_path), model="lenet5", skip_corrupt=True, epochs=1)
    assert sum(part.size for part in training_options.load(training_options.resolve(options))) == 5


def test_a_class_may_have_no_test_images(tmp_path):
    from PIL import Image

    for name in ("train/ant/1", "train/ant/2", "train/bee/1", "train/bee/2", "train/cat/1", "test/ant/3", "test/bee/3"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").resize((8, 8)).convert("RGB").save(tmp_path / f"pets/{name}.png")
    (tmp_path / "run").mkdir()
    options = {"dataset": "folder", "path": str(tmp_path / "pets"), "model": "lenet5", "validation": 0.0, "epochs": 1}
    result = train.main(training_options.resolve(train.Config(run=str(tmp_path / "run"), **options)))
    assert (tmp_path / "run" / "labels.png").exists()
    assert result.pictures


def test_of_many_classes_the_first_are_shown(monkeypatch):
    monkeypatch.setattr(look, "MOST_CLASSES", 4)
    result = main(Config(per_class=1))
    (sheet,) = pictures(result)["Images"][0].axes
    assert [text.get_text() for text in sheet.texts] == list("0123")
    assert "6 more classes are not shown" in result.pictures[1].blocks[0].caption


def test_labels_have_colours_of_their_own():
    colours = coloured(np.array([[[0, 1, 2, 20, 21]]]))[0, 0]
    assert colours.dtype == np.uint8
    assert len(np.unique(colours, axis=0)) == 4
    assert (colours[1] == colours[4]).all()  # twenty colours, then again from the first
    assert colours[0].tolist() == [225, 228, 232]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"per_class": 0}, ValueError, "^data: expected at least 1 image of each class, got 0. "),
        ({"dataset": "digit"}, ValueError, "Did you mean 'digits'"),
        (
            {"path": "photos"},
            ValueError,
            r'^load: expected no path for .*, got photos\. Leave it out, or load "folder"\.',
        ),
        ({"dataset": "folder"}, ValueError, r"^load: expected the path of the folder of images, got none\. Pass path"),
        ({"image_size": 9}, ValueError, "^load: expected no image_size for digits, got 9"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        main(Config(**options))

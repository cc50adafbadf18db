"""What `load` does with names and options, before anything is read."""

import re
import sys

import pytest

from jaxcnn import data

NAMES = ["digits", "scenes", "mnist", "fashion_mnist", "cifar10"]


def test_names():
    assert data.names() == NAMES


def unknown(name):
    return re.escape(f'load: expected one of {NAMES}, "folder", or a set that TFDS prepared, got {name!r}. ')


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("digit", "Did you mean 'digits'?"),
        ("minst", "Did you mean 'mnist'"),
        ("fashion-mnist", "Did you mean 'fashion_mnist'?"),
        ("folders", "Did you mean 'folder'?"),
        ("?", "Choose one of them, or make your own with data.from_arrays."),
        ("", "Choose one of them"),
        ("../../etc", "Choose one of them"),
    ],
)
def test_unknown_names(tmp_path, name, fix):
    with pytest.raises(ValueError, match="^" + unknown(name) + re.escape(fix)):
        data.load(name, data_dir=tmp_path)


def test_names_of_tfds(tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")
    with pytest.raises(ValueError, match=r"Did you mean 'cats_vs_dogs'\?$"):
        data.load("cats_vs_dog", data_dir=tmp_path)
    for name in ("cats_vs_dogs", "emnist/letters", "emnist:3.1.0"):
        message = (
            f"load: expected {name} prepared as array_record in {tmp_path}, got none. Pass the data_dir where it is, "
            f'or let TFDS prepare it, once, with TensorFlow: pip install "jaxcnn[prepare]" && tfds build {name} '
            f"--data_dir {tmp_path} --file_format array_record."
        )
        with pytest.raises(FileNotFoundError, match="^" + re.escape(message)):
            data.load(name, data_dir=tmp_path)


def test_without_tfds(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(
        ValueError, match=unknown("cats_vs_dogs") + r'.*For a set of TFDS: pip install "jaxcnn\[data\]"\.$'
    ):
        data.load("cats_vs_dogs", data_dir=tmp_path)
    (tmp_path / "pets" / "1.0.0").mkdir(parents=True)
    (tmp_path / "pets" / "1.0.0" / "features.json").touch()
    fix = r'Install it with pip install "jaxcnn\[data\]", without TensorFlow\.$'
    missing = r"^load: expected TFDS to be installed, got none\. " + fix
    with pytest.raises(ImportError, match=missing):
        data.load("pets", data_dir=tmp_path)
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-binary.tar.gz").touch()
    with pytest.raises(ImportError, match=missing):
        data.load("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_limit": 0}, "memory_limit as a positive int, got 0. "),
        ({"memory_limit": 1.5}, "memory_limit as a positive int, got 1.5. "),
        ({"image_size": 0}, "image_size as a positive int, got 0. "),
        ({"image_size": (8, 8)}, "image_size as a positive int, got (8, 8). "),
        ({"image_size": 8}, "no image_size for digits, got 8. Resize with jax.image.resize."),
        ({"path": "x"}, 'no path for digits, got x. Leave it out, or load "folder"'),
        ({"skip_corrupt": True}, 'skip_corrupt with "folder" alone, got digits. '),
        ({"name": "folder"}, "the path of the folder of images, got none. Pass path"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match="^" + re.escape("load: expected " + message)):
        data.load(**{"name": "digits"} | options)

"""What a training takes for the options that are not given, and training from images on disk."""

import dataclasses
import functools

import numpy as np
import pytest

from experiments import train
from experiments.apparatus import recipes
from experiments.apparatus.training_options import first_batch, load

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_every_option_of_a_recipe_is_one_of_train_and_open_by_default():
    options = {field.name: field.default for field in dataclasses.fields(train.Config)}
    for field in dataclasses.fields(recipes.Recipe):
        assert options[field.name] is None


def test_what_is_given_stays_and_the_rest_is_the_recipes():
    config = train.resolve(train.Config(dataset="fashion_mnist", epochs=3, flip="no"))
    assert (config.epochs, config.flip) == (3, "no")
    assert (config.model, config.width, config.convolutions) == ("cifar_vgg", 32, (1, 2, 2, 2))
    assert train.resolve(config) == config
    other = train.resolve(train.Config(dataset="fashion_mnist", model="lenet5"))
    assert (other.width, other.convolutions) == (None, None)


def test_sets_and_platforms_without_a_recipe_of_their_own():
    assert recipes.recipe("digits", "gpu") == recipes.recipe("digits", "cpu")
    assert recipes.recipe("cifar10", "gpu") != recipes.recipe("cifar10", "cpu")
    assert recipes.recipe("cifar10", "tpu") == recipes.recipe("cifar10", "gpu")
    assert recipes.recipe("of one's own", "cpu", side=64) == dataclasses.asdict(recipes.Recipe())
    assert recipes.recipe("of one's own", "cpu", side=65)["model"] == "resnet18"
    assert recipes.recipe("digits", "cpu", side=224) == recipes.recipe("digits", "cpu")


def test_of_photographs_the_recipe_is_another_and_their_size_is_said(photographs, capsys):
    small, large = (train.Config(dataset="folder", path=str(photographs), image_size=n) for n in (16, None))
    assert train.resolve(small).model == "cifar_vgg"
    assert "recipe: images of 16x16 pixels, model cifar_vgg" in capsys.readouterr().out
    assert (train.resolve(large).model, train.resolve(large).width) == ("resnet18", 32)
    assert "recipe: images of 224x224 pixels, model resnet18" in capsys.readouterr().out


def test_the_first_images_of_the_page_are_of_all_classes(photographs):
    """The files of a folder lie class by class."""
    config = train.resolve(train.Config(dataset="folder", path=str(photographs), image_size=16))
    train_set, _ = load(config)
    bright = first_batch(config, train_set, None).mean(axis=(1, 2, 3)) > 0.5
    assert 0.3 < bright.mean() < 0.7


def test_of_a_few_photographs_a_step_takes_fewer(photographs):
    """At least four steps an epoch: of 60 images 48 are for training, and 43 of them for steps."""
    options = {"dataset": "folder", "path": str(photographs), "image_size": 16}
    assert train.resolve(train.Config(**options)).batch_size == 43 // 4
    assert train.resolve(train.Config(**options, validation=0.0)).batch_size == 48 // 4
    assert train.resolve(train.Config(**options, batch_size=128)).batch_size == 128


@pytest.fixture
def photographs(tmp_path):
    """A folder of dark and of bright pictures of several sizes."""
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    for label, name in enumerate(("dark", "bright")):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for number in range(30):
            shape = (20 + number % 3, 24, 3)
            values = random.integers(150 * label, 100 + 150 * label, shape).astype(np.uint8)
            image.fromarray(values).save(tmp_path / "photographs" / name / f"{number}.png")
    return tmp_path / "photographs"


@pytest.mark.parametrize("streamed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_trains_on_a_folder_of_images(photographs, tmp_path, monkeypatch, streamed):
    if streamed:
        pytest.importorskip("grain")
        monkeypatch.setattr(train.data, "load", functools.partial(train.data.load, memory_limit=1))
    run = tmp_path / "run"
    run.mkdir()
    options = {"model": "lenet5", "epochs": 6, "batch_size": 4, "flip": "alternating", "run": str(run)}
    config = train.Config(dataset="folder", path=str(photographs), image_size=16, **options)
    result = train.main(train.resolve(config))
    assert result.figures["test_accuracy"] == 1.0
    assert ("data_wait_ms" in result.figures) == streamed
    assert (run / "augmented.png").exists()

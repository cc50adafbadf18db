"""A trained net with its data, for experiments that look into one: of a training run, of a file, or made at once."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

import jaxcnn
from experiments import train
from experiments.apparatus.training_options import Config as TrainConfig
from experiments.apparatus.training_options import load, resolve
from experiments.framework.device import console
from experiments.framework.run_folder import stored_options
from experiments.framework.runner import Common, record
from jaxcnn import data
from jaxcnn.checking import expect
from jaxcnn.interop.model import Model
from jaxcnn.interop.safetensors import MODEL
from jaxcnn.layers.layer import Layer

__all__ = ["OfNet", "Trained", "trained"]


@dataclass(frozen=True)
class OfNet(Common):
    """The options of an experiment about a trained net."""

    source: Annotated[str, tyro.conf.Positional] = ""  # folder of a training run, or a file of jaxcnn.save; "": train
    dataset: str = "digits"  # to train on, or that the file's net was trained on
    epochs: int | None = None  # of that training; None for the recipe's
    split_seed: int = 0  # seed of the run that trained a file's net: it decides which images were left for testing


class Trained(NamedTuple):
    """A net, its weights, and its data."""

    net: Layer
    params: Any
    state: Any
    train: data.Dataset
    test: data.Dataset

    @property
    def model(self) -> Model:
        """The net as `jaxcnn.load` gives it."""
        return Model(self.net, self.params, self.state, self.train.spec, self.class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.train.info.class_names


def trained(where: str, config: Any, **training: Any) -> Trained:
    """Return the net that an experiment's options (`OfNet`) ask for; one that is trained has a folder in the run's own.

    Args:
        where: the experiment.
        config: its options.
        training: further options of `experiments.train`, for a net that is trained.

    Raises:
        OSError: a folder without a trained net.
        ValueError: a net that cannot be read, or a data set that does not fit it.
    """
    source = Path(config.source)
    if source.name == MODEL and (source.parent / "config.json").is_file():
        source = source.parent  # a run's own file: the run knows on what it was trained
    if config.source and source.is_dir():
        options = stored_options(where, "train", TrainConfig, source)
        options = dataclasses.replace(options, quick=options.quick or config.quick)
    elif config.source:
        options = TrainConfig(dataset=config.dataset, seed=config.split_seed, quick=config.quick)
        console.print(
            f"Of a set without a test part of its own, these are the images that a training with --seed {options.seed} "
            "left for testing; --split-seed says another.",
            markup=False,
        )
    else:
        source = Path(config.run) / "training"
        source.mkdir(parents=True)
        options = TrainConfig(dataset=config.dataset, epochs=config.epochs, seed=config.seed, quick=config.quick)
        options = resolve(dataclasses.replace(options, run=str(source), **training))
        console.print(f"training a net on {config.dataset} first, into {source}", markup=False)
        record("train", train.main, options, source)
    model = jaxcnn.load(source)
    train_set, test_set = load(options)
    fix = "Pass the data set that it was trained on as --dataset."
    shape, own = model.spec.shape[1:], train_set["image"].shape[1:]
    expect(shape == own, where, f"images of shape {shape}, which the net takes", own, fix)
    return Trained(model.net, model.params, model.state, train_set, test_set)

"""Train a classifier and look at what it learned: how well does a small convolutional net read handwriting?

`python -m experiments.train --dataset digits --model lenet5 --seed 0` trains, writes `runs/<name>/` (figures,
checkpoint, pictures, `report.html`) and prints the test accuracy: about 15 s on 2 cores. `--seeds 5` gives mean and
standard deviation, `--find-lr` a learning rate, `--overfit-batch` checks that the net can learn one batch by heart.
An option whose default is None is taken from the recipe of the data set, which is printed as the run begins.
"""

import dataclasses
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import jaxcnn
from experiments.device import console
from experiments.explanation import explained, surest_mistake, test_image
from experiments.predict import MODEL
from experiments.progress import ProgressBar
from experiments.recipes import Flip, Views, recipe
from experiments.robustness import BRIEF, broken
from experiments.run_folder import notes_resumption, write_json
from experiments.run_record import write_data
from experiments.runner import Common, Result, record, run
from experiments.statistics import sentence, summary
from experiments.tensorboard import event_files
from jaxcnn import augment, data, fingerprint, layers, losses, models, report, training
from jaxcnn.checking import expect
from jaxcnn.interop.model import Model
from jaxcnn.training.mesh import whole
from jaxcnn.training.processes import first_process, from_first

OF_MODEL = ("width", "convolutions")  # the options that the model's function takes
STEPS_BY_HEART = 200
QUICK_EPOCHS = 8  # that the recipe has with --quick
QUICK = 2000  # examples of a large set that --quick takes
SHOWN = 10_000  # test images of a stream that the page is about


def moved(down: int, right: int) -> list[Callable]:
    """Return two views: the image moved by whole pixels, and the same mirrored."""
    move = partial(augment.shifted, down=down, right=right)
    return [move, lambda images: move(augment.mirrored(images))]


# Airbench's: the image, moved up and to the left, down and to the right, each mirrored too.
VIEWS: dict[str, tuple[Callable, ...]] = {
    "one": (),
    "mirrored": (*moved(0, 0),),
    "moved": (*moved(0, 0), *moved(-1, -1), *moved(1, 1)),
}


@dataclass(frozen=True)
class Config(Common):
    # What is None here is the recipe's of the data set and the device: see experiments/recipes.py.
    dataset: str = "digits"  # one of jaxcnn.data.names(), a set of TFDS, or "folder"
    path: str | None = None  # of the images, for "folder": a folder for each class, or a zip of such
    image_size: int | None = None  # pixels: resize the images of a set on disk
    workers: int = 0  # processes that read a set too large for memory; 0 uses threads
    model: str | None = None  # one of jaxcnn.models.names()
    width: int | None = None  # maps of the model's first stage
    convolutions: tuple[int, ...] | None = None  # of each stage of a VGG
    epochs: int | None = None  # passes through the training set
    batch_size: int | None = None  # images per step
    learning_rate: float | None = None  # peak of the schedule: warm-up over a tenth, then half a cosine
    momentum: float = 0.9  # of SGD, Nesterov's
    weight_decay: float | None = None  # of kernels
    label_smoothing: float | None = None  # 0..1
    validation: float | None = None  # fraction of the training set held out, which chooses the epoch; 0 for none
    patience: int | None = None  # epochs without improvement before stopping; None trains to the end
    rotation: float | None = None  # augmentation: degrees either way
    zoom: float | None = None  # augmentation: fraction either way
    shift: float | None = None  # augmentation: pixels either way
    crop: int | None = None  # augmentation: pixels of zeros around, out of which a window is cut
    flip: Flip | None = None  # augmentation: left and right exchanged, half the time or by turns
    cutout: int | None = None  # augmentation: side of the square that is blotted out, in pixels
    brightness: float | None = None  # augmentation: of full scale, either way
    contrast: float | None = None  # augmentation: fraction either way
    dtype: Literal["float32", "bfloat16"] = "float32"  # of images and activations; parameters stay float32
    accumulate: int = 1  # parts of a batch that go through the net one after another, for memory
    rematerialize: bool = False  # compute the inside of each block again in the backward pass, for memory
    model_parallel: int = 1  # devices that share the parameters and the optimizer's state
    save_every: int | None = None  # steps between checkpoints; None for one a minute
    resume: str | None = None  # folder of a run to go on with; its options hold
    views: Views | None = None  # of a test image, over which the net's outputs are averaged
    explain: bool = False  # show why the net answered what it did to one test image: some 10 s
    attack: bool = False  # show how small a change fools the net: about a minute
    seeds: int = 1  # how many seeds, from --seed on
    overfit_batch: bool = False  # learn one batch by heart, as a check of the whole path
    find_lr: bool = False  # try learning rates and suggest one, instead of training


Resolved = Any
"""A `Config` of which nothing is open any more."""


def resolve(config: Config) -> Resolved:
    """Return the options with the recipe's for those that are not given."""
    known = recipe(config.dataset, jax.default_backend())
    if config.quick:
        known["epochs"] = min(known["epochs"], QUICK_EPOCHS)
    if config.model not in (None, known["model"]):
        known |= dict.fromkeys(OF_MODEL)  # they are for the model of the recipe
    chosen = {name: value for name, value in known.items() if getattr(config, name) is None}
    told = ", ".join(f"{name} {value}" for name, value in chosen.items() if value not in (None, 0.0, "no", "one"))
    console.print(f"recipe: {told}", markup=False)
    config = dataclasses.replace(config, **chosen)
    fix = "Pass --epochs 10, say."
    expect(config.epochs is not None and config.epochs >= 1, "train", "epochs as a positive int", config.epochs, fix)
    return config


def main(config: Resolved) -> Result:
    """Do what the options ask for, all of them known: see `resolve`."""
    expect(config.seeds >= 1, "train", "seeds as a positive int", config.seeds, "Pass --seeds 5, say.")
    if config.find_lr:
        return find_lr(config)
    if config.overfit_batch:
        return overfit_batch(config)
    return train_seeds(config) if config.seeds > 1 else train(config)


def train(config: Resolved) -> Result:
    folder = Path(config.run)
    train_set, test_set, net = prepare(config)
    write_data(folder, train_set, test_set)
    transform = augmentation(config)
    loss = losses.classification(config.label_smoothing)
    first = first_batch(config, train_set, transform)
    save_picture(report.image_grid(first), folder / "augmented.png")
    steps = config.epochs * steps_per_epoch(config, train_set)
    with ProgressBar(console) as bar:
        result = training.fit(
            net,
            train_set,
            validation=config.validation or None,
            optimizer=optimizer(config, steps),
            loss=loss,
            epochs=config.epochs,
            batch_size=config.batch_size,
            key=jax.random.key(config.seed),
            augment=transform,
            dtype=jnp.dtype(config.dtype),
            accumulate=config.accumulate,
            rematerialize=blocks(net) if config.rematerialize else (),
            mesh=training.device_mesh(model=config.model_parallel),
            patience=config.patience,
            run_dir=folder,
            resume=config.resume is not None,
            save_every=config.save_every,
            callbacks=[*resumption(config), bar, *event_files(folder)],
        )
    # Whole on every device: what follows looks at parameters as arrays.
    params, model_state = whole((result.state.params, result.state.model_state))
    state = dataclasses.replace(result.state, params=params, model_state=model_state)
    result = dataclasses.replace(result, state=state)
    streamed = isinstance(test_set, data.Stream)
    # The one look at the test set, every choice being made.
    views = VIEWS[config.views]
    single = training.evaluate(net, state.params, state.model_state, test_set)
    test = training.evaluate(net, state.params, state.model_state, test_set, views=views) if views else single
    write_json(folder / "net.json", json.loads(layers.to_json(net)))
    if first_process():
        classes = train_set.info.class_names
        jaxcnn.save(folder / MODEL, net, params, model_state, spec=train_set.spec, class_names=classes)
    figures = {
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        "test_accuracy_one_view": single["accuracy"],
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "params_sha256": fingerprint(state.params),
        "train_data_sha256": train_set.info.fingerprint,
        "test_data_sha256": test_set.info.fingerprint,
    }
    shown_set = test_set.take(range(min(SHOWN, test_set.size))).dataset() if streamed else test_set
    sections = report.classifier_sections(net, result, shown_set, views=views)
    shown = report.Picture(
        report.image_grid(first),
        "The first batch as the net saw it, after augmentation.",
        "Augmented training images.",
    )
    curves, *others = sections[0].blocks
    sections[0] = report.Section(sections[0].title, [curves, shown, *others])
    counts = {n: np.bincount(p["label"]) for n, p in (("train", train_set), ("test", test_set))}
    save_picture(report.label_counts(counts, train_set.info.class_names), folder / "labels.png")
    if config.attack:
        model = Model(net, params, model_state, train_set.spec, train_set.info.class_names)
        found = broken(model, train_set, test_set, effort=BRIEF, seed=config.seed)
        figures["robust_accuracy"] = found.figures["robust_accuracy"]
        sections[1:1] = found.sections
    if config.explain:
        sections[1:1] = explanation(net, state, train_set, shown_set, config.seed)
    accuracy = f"{100 * test['accuracy']:.2f} %"
    held = result.history[result.best_epoch - 1].get("validation_accuracy")
    chosen = f"epoch {result.best_epoch}: lowest loss"
    validated = [] if held is None else [report.Number("validation accuracy", f"{100 * held:.2f} %", chosen)]
    waiting = []
    if views:
        one = f"{100 * single['accuracy']:.2f} %"
        waiting.append(report.Number("test accuracy, one view", one, f"the other averages {len(views)} views"))
    skipped = sum(entry["skipped"] for entry in result.history)
    if skipped:
        waiting.append(report.Number("skipped steps", str(skipped), "infinite or NaN values"))
    figures["skipped"] = skipped
    if streamed:
        figures["data_wait_ms"] = statistics.median(entry["data_wait_ms"] for entry in result.history)
        waiting.append(report.Number("waiting for data", f"{figures['data_wait_ms']:.1f} ms", "a step, median epoch"))
    return Result(
        figures,
        sections,
        f"test accuracy {accuracy} ({config.model} on {config.dataset}, seed {config.seed}).",
        headline=[
            report.Number("test accuracy", accuracy, f"of {test_set.size} images never used before"),
            *validated,
            *waiting,
            report.Number("parameters", f"{figures['parameters']:,}"),
            report.Number(
                "training", f"{sum(e['seconds'] for e in result.history):.1f} s", f"{figures['epochs']} epochs"
            ),
        ],
    )


def explanation(net: layers.Layer, state: Any, train_set: Any, test_set: data.Dataset, seed: int) -> list[Any]:
    """Return the sections about the test image that the net got wrong most surely."""
    model = Model(net, state.params, state.model_state, train_set.spec, train_set.info.class_names)
    if isinstance(train_set, data.Stream):
        train_set = train_set.take(range(min(SHOWN, train_set.size))).dataset()
    image, title = test_image(test_set, surest_mistake(model, test_set))
    return explained(model, train_set, test_set, image, title=title, seed=seed)[0]


def train_seeds(config: Resolved) -> Result:
    """Train with several seeds, each in a folder of its own, and compare."""
    rows, accuracies, machines = [], [], []
    for seed in range(config.seed, config.seed + config.seeds):
        folder = Path(config.run) / f"seed{seed}"
        from_first(partial(folder.mkdir, exist_ok=config.resume is not None))
        begun = from_first(lambda folder=folder: int((folder / "config.json").exists()))
        resume = str(folder) if config.resume and begun else None
        one = dataclasses.replace(config, seed=seed, seeds=1, run=str(folder), resume=resume)
        result = record("train", train, one, folder)
        accuracies.append(result.figures["test_accuracy"])
        row = {"seed": seed, "test accuracy": round(accuracies[-1], 4), "best epoch": result.figures["best_epoch"]}
        if config.dataset == "digits":
            machines.append(support_vector_accuracy(*load(one)))
            row["support vector machine"] = round(machines[-1], 4)
        rows.append(row)
    figures: dict[str, Any] = {"test_accuracy": summary(accuracies)}
    if machines:
        figures["support_vector_accuracy"] = summary(machines)
        console.print(f"SVC(gamma=0.001) on the same splits: {sentence(summary(machines))}", markup=False)
    verdict = f"test accuracy {sentence(summary(accuracies))}"
    return Result(figures, [report.Section("Seeds", [report.Table(rows)])], verdict)


def resumption(config: Resolved) -> list[Callable[[training.Event], None]]:
    """Return what says from which step a run goes on, where it is one that does."""
    return [] if config.resume is None else [notes_resumption(Path(config.run), "train")]


def find_lr(config: Resolved) -> Result:
    train_set, _, net = prepare(config)
    found = training.find_learning_rate(
        net,
        train_set,
        key=jax.random.key(config.seed),
        loss=losses.classification(config.label_smoothing),
        augment=augmentation(config),
        batch_size=config.batch_size,
        steps=40 if config.quick else 100,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    figures = {"suggestion": found.suggestion, "rates": found.rates.tolist(), "losses": found.losses.tolist()}
    picture = report.Picture(
        report.learning_rates(found.rates, found.losses, found.suggestion),
        "The smoothed loss while the rate rises.",
        "Loss against learning rate.",
    )
    verdict = f"suggested learning rate {found.suggestion:.3g}: pass --learning-rate {found.suggestion:.2g}"
    return Result(figures, [report.Section("Learning rates", [picture])], verdict)


def overfit_batch(config: Resolved) -> Result:
    """Learn one batch by heart: a net that cannot has a fault."""
    train_set, test_set, net = prepare(config)
    write_data(Path(config.run), train_set, test_set)
    chosen = np.asarray(jax.random.permutation(jax.random.key(config.seed), train_set.size))[: config.batch_size]
    batch = train_set.take(chosen)
    result = training.fit(
        net,
        batch,
        optimizer=training.sgd(config.learning_rate / 5, momentum=config.momentum, weight_decay=0.0),
        epochs=STEPS_BY_HEART,
        batch_size=batch.size,
        key=jax.random.key(config.seed),
        run_dir=config.run,
        resume=config.resume is not None,
        callbacks=resumption(config),
    )
    measured = training.evaluate(net, result.state.params, result.state.model_state, batch)
    holds = measured["accuracy"] == 1.0
    words = "learned by heart" if holds else "NOT learned: look for a fault in the net, the loss or the labels"
    curve = report.Picture(report.curves(result.history), "Loss and accuracy on the batch.", "Training curves.")
    return Result(
        measured,
        [report.Section("One batch", [curve])],
        f"one batch of {batch.size} images, {STEPS_BY_HEART} steps: accuracy {measured['accuracy']:.4f}, {words}.",
        holds,
    )


def load(config: Resolved) -> tuple[Any, Any]:
    """Return training and test set; a set without an official test set is split by the run's seed."""
    options = {"path": config.path, "image_size": config.image_size, "split_seed": config.seed}
    train_set, test_set = (part_of(config, part) for part in data.load(config.dataset, **options))
    return train_set, test_set


def part_of(config: Resolved, part: Any) -> Any:
    """Return a set as it is used: some of a large one for `--quick`, with the workers of a stream."""
    if config.quick and part.size > QUICK:
        part = part.take(np.asarray(jax.random.permutation(jax.random.key(config.seed), part.size))[:QUICK])
    return dataclasses.replace(part, workers=config.workers) if isinstance(part, data.Stream) else part


def prepare(config: Resolved) -> tuple[data.Dataset, data.Dataset, layers.Sequential]:
    """Return training set, test set, and the net with the set's normalisation as its first layer."""
    train_set, test_set = load(config)
    info = train_set.info
    options = {name: getattr(config, name) for name in OF_MODEL if getattr(config, name) is not None}
    model = models.create(config.model, num_classes=len(info.class_names), **options)
    return train_set, test_set, layers.Sequential(normalize=layers.Normalize(info.mean, info.std), **model.layers)


def save_picture(figure: Any, path: Path) -> None:
    if first_process():
        figure.savefig(path, dpi=150)


def blocks(net: layers.Sequential) -> list[str]:
    """Return the names of the net's own layers that are made of layers."""
    return [name for name, layer in net.layers.items() if isinstance(layer, layers.Layer) and layer.children()]


def optimizer(config: Resolved, steps: int) -> Any:
    schedule = training.warmup_cosine(config.learning_rate, steps)
    return training.sgd(schedule, momentum=config.momentum, weight_decay=config.weight_decay)


def steps_per_epoch(config: Resolved, train_set: Any) -> int:
    if config.validation:  # how many are held out of each class does not depend on the key
        train_set, _ = data.split(train_set, config.validation, key=jax.random.key(0))
    return max(train_set.size // config.batch_size, 1)


def augmentation(config: Resolved) -> Callable[[jax.Array, Any], Any] | None:
    """Return the augmentation of a batch that the options ask for, or None."""
    steps: list[Callable] = []
    if config.rotation or config.zoom or config.shift:
        zoom = (1 - config.zoom, 1 + config.zoom)
        steps.append(partial(augment.affine, degrees=config.rotation, factor=zoom, max_shift=config.shift))
    if config.crop:
        steps.append(partial(augment.crop, padding=config.crop))
    if config.flip == "random":
        steps.append(augment.flip)
    if config.flip == "alternating":
        steps.append(partial(augment.alternating_flip, seed=config.seed))
    if config.cutout:
        steps.append(partial(augment.cutout, size=config.cutout))
    if config.brightness:
        steps.append(partial(augment.brightness, delta=config.brightness))
    if config.contrast:
        steps.append(partial(augment.contrast, factor=(1 - config.contrast, 1 + config.contrast)))
    return augment.batched(augment.compose(*steps)) if steps else None


def first_batch(config: Resolved, train_set: data.Dataset, transform: Callable | None) -> np.ndarray:
    """Return some training images as the net will see them."""
    some = train_set.take(range(min(32, train_set.size)))
    image = (some.dataset() if isinstance(some, data.Stream) else some)["image"]
    batch = {"image": data.to_float(image), "index": jnp.arange(len(image)), "epoch": jnp.zeros(len(image), jnp.int32)}
    return np.asarray((batch if transform is None else jax.jit(transform)(jax.random.key(config.seed), batch))["image"])


def support_vector_accuracy(train_set: data.Dataset, test_set: data.Dataset) -> float:
    """Return the test accuracy of scikit-learn's well-known support vector machine for the digits."""
    from sklearn.svm import SVC

    # gamma = 0.001 is for pixels in 0..16.
    flat = [part["image"].reshape(part.size, -1) * (16 / 255) for part in (train_set, test_set)]
    return float(SVC(gamma=0.001).fit(flat[0], train_set["label"]).score(flat[1], test_set["label"]))


def run_name(config: Resolved) -> str:
    what = "find-lr-" if config.find_lr else "overfit-" if config.overfit_batch else ""
    seeds = f"seeds{config.seed}-{config.seed + config.seeds - 1}" if config.seeds > 1 else f"seed{config.seed}"
    return f"{what}{config.dataset}-{config.model}-{seeds}"


if __name__ == "__main__":
    free = ("workers", "rematerialize", "model_parallel", "save_every")
    run(main, Config, name=run_name, resolve=resolve, free=free)

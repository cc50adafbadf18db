"""Train a classifier and look at what it learned: how well does a small convolutional net read handwriting?

`python -m experiments.train --dataset digits --model lenet5 --seed 0` trains, writes `runs/<name>/` (figures,
checkpoint, pictures, `report.html`) and prints the test accuracy: about 15 s on 2 cores. `--seeds 5` gives mean and
standard deviation, `--find-lr` a learning rate, `--overfit-batch` checks that the net can learn one batch by heart.
An option whose default is None is taken from the recipe of the data set, which is printed as the run begins, unless its
line says what None is.
"""

import dataclasses
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcnn
from experiments.apparatus.explanation import explained, surest_mistake, test_image
from experiments.apparatus.image_sets import taken
from experiments.apparatus.robustness import BRIEF, broken
from experiments.apparatus.statistics import sentence, summary
from experiments.apparatus.training_options import (
    VIEWS,
    Config,
    Resolved,
    augmentation,
    blocks,
    first_batch,
    load,
    optimizer,
    prepare,
    resolve,
    run_name,
    steps_per_epoch,
)
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.run_folder import notes_resumption, write_json
from experiments.framework.run_record import write_data
from experiments.framework.runner import Result, record, run
from experiments.framework.tensorboard import event_files
from jaxcnn import data, fingerprint, layers, losses, report, training
from jaxcnn.checking import expect
from jaxcnn.interop.model import Model
from jaxcnn.interop.safetensors import MODEL
from jaxcnn.training.mesh import whole
from jaxcnn.training.processes import first_process, from_first

STEPS_BY_HEART = 200
SHOWN = 10_000  # test images of a stream that the page is about


def main(config: Resolved) -> Result:
    """Do what the options ask for, all of them known: see `resolve`."""
    expect(config.seeds >= 1, "train", "seeds as a positive int", config.seeds, "Pass --seeds 5, say.")
    alone = config.seeds == 1 or not (config.find_lr or config.overfit_batch)
    expect(alone, "train", "--find-lr and --overfit-batch with one seed", f"--seeds {config.seeds}", "Leave it out.")
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
    shown_set = taken(test_set, range(min(SHOWN, test_set.size))) if streamed else test_set
    sections = report.classifier_sections(net, result, shown_set, views=views)
    shown = report.Picture(
        report.image_grid(first),
        "Training images as the net sees them, after augmentation.",
        "Augmented training images.",
    )
    curves, *others = sections[0].blocks
    sections[0] = report.Section(sections[0].title, [curves, shown, *others])
    names = train_set.info.class_names
    counts = {n: np.bincount(p["label"], minlength=len(names)) for n, p in (("train", train_set), ("test", test_set))}
    save_picture(report.label_counts(counts, names), folder / "labels.png")
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
        f"test accuracy {accuracy} ({config.model} on {config.called()}, seed {config.seed}).",
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
        train_set = taken(train_set, range(min(SHOWN, train_set.size)))
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
    batch = taken(train_set, chosen)  # of a stream the images themselves: it would cut others out of them each epoch
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


def save_picture(figure: Any, path: Path) -> None:
    if first_process():
        figure.savefig(path, dpi=150)


def support_vector_accuracy(train_set: data.Dataset, test_set: data.Dataset) -> float:
    """Return the test accuracy of scikit-learn's well-known support vector machine for the digits."""
    from sklearn.svm import SVC

    # gamma = 0.001 is for pixels in 0..16.
    flat = [part["image"].reshape(part.size, -1) * (16 / 255) for part in (train_set, test_set)]
    return float(SVC(gamma=0.001).fit(flat[0], train_set["label"]).score(flat[1], test_set["label"]))


if __name__ == "__main__":
    free = ("workers", "rematerialize", "model_parallel", "save_every")
    run(main, Config, name=run_name, resolve=resolve, free=free)

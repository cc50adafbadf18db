"""Does it help to learn from attacks? Five trainings under the standard evaluation, one that only seems to help.

`python -m experiments.adversarial_training` trains a small net on Fashion-MNIST plainly and by each adversarial
training of `jaxcnn.attack.defence`, all with as many steps: one step of attack from a random start, PGD, TRADES, free.
`attack.robust_accuracy` then attacks test images at the radius that was trained for. Trainings at a larger radius, with
and without the random start, show catastrophic overfitting: the accuracy under the attack that is trained with rises,
under any other it collapses. A net trained on noise, smoothed, comes with certificates. What it promises: the plain net
is right on less than 5 % of the attacked images, each defended one on half of those that it knows at least; without the
random start, the accuracy under PGD falls to less than half of its best; and noise makes certificates. About 13 min on
2 cores.

Source: Madry et al. 2018; Wong, Rice, Kolter 2020; Zhang et al. 2019; Shafahi et al. 2019; Cohen et al. 2019.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.apparatus.adversarial_pictures import (
    certified_section,
    gradient_section,
    overfitting_section,
    table_section,
)
from experiments.apparatus.image_sets import loaded, some
from experiments.apparatus.small_nets import head
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, losses, report, training
from jaxcnn import functional as F
from jaxcnn.attack.defence import certify, fast_training, free_training, noise_training, pgd_training, trades
from jaxcnn.attack.fgsm import fgsm
from jaxcnn.attack.pgd import pgd
from jaxcnn.attack.robust_accuracy import RobustReport, robust_accuracy
from jaxcnn.attack.standard import STANDARD
from jaxcnn.checking import expect
from jaxcnn.classifier import LogitsFn

UNDEFENDED = 0.05  # robust accuracy that the plain net may have
QUICK = {
    "images": 600, "epochs": 2, "steps": 2, "replays": 2, "attacked": 24, "evaluation_steps": 5, "queries": 20,
    "attacks": ("apgd-ce", "square"), "overfit_epochs": 2, "certified": 8, "samples": 100,
}  # fmt: skip


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # fashion_mnist unless given, or the digits where that is missing
    images: int = 20_000  # to learn from, at most
    epsilon: float = 0.1  # the largest change of a pixel, black being 0 and white 1
    epochs: int = 8  # passes through the images
    steps: int = 7  # of the attack in PGD training and TRADES
    beta: float = 6.0  # what robustness is worth to TRADES
    replays: int = 4  # of each batch in free training, which makes so many times fewer passes
    attacked: int = 200  # test images for the standard evaluation, at most
    attacks: tuple[str, ...] = STANDARD  # of it
    evaluation_steps: int = 100  # of those by gradient
    queries: int = 5000  # of the one without
    overfit_epsilon: float = 0.2  # of the trainings that overfit
    overfit_epochs: int = 15  # passes through the images in those
    sigma: float = 0.25  # standard deviation of the noise, in the unit of epsilon
    certified: int = 100  # test images with certificates, at most
    samples: int = 1000  # noisy copies of each
    batch_size: int = 100  # images per step
    learning_rate: float = 0.002  # Adam's peak: warm-up over a tenth, then half a cosine


class Trained(NamedTuple):
    """A net and what it cost."""

    logits_fn: LogitsFn
    accuracy: float  # on the whole test set
    seconds: float  # of training, without compilation


class Sets(NamedTuple):
    """The images to learn from, the test set, and some of it that are attacked: floats in [0, 1]."""

    train: data.Dataset
    test: data.Dataset
    x: jax.Array
    y: jax.Array


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, **QUICK)
    expect(config.epochs >= config.replays, "adversarial_training", "epochs >= replays", config.epochs, "Pass more.")
    keys = jax.random.split(jax.random.key(config.seed), 5)
    sets = chosen(config, keys[0])
    nets = {name: trained(config, sets, name, keys[1]) for name in ("plain", *trainings(config, sets))}
    reports = {name: evaluated(config, sets, net, name, keys[2]) for name, net in nets.items()}
    curves = {name: overfitted(config, sets, name, keys[3]) for name in ("FGSM", "random start")}
    nets["noise"] = trained(config, sets, "noise", keys[1])
    certificates = {name: certain(config, sets, nets[name], keys[4]) for name in ("noise", "plain", "PGD")}
    slopes = {name: gradients(nets[name].logits_fn, sets.x, sets.y) for name in reports}
    kept = promises(config, reports, curves, certificates)
    figures = {
        "dataset": sets.train.info.name,
        "epsilon": config.epsilon,
        "nets": {name: figures_of(nets[name], found) for name, found in reports.items()},
        "noise": {"accuracy": nets["noise"].accuracy, "seconds": nets["noise"].seconds},
        "input_gradient_l1": {n: float(np.abs(g).reshape(len(g), -1).sum(1).mean()) for n, g in slopes.items()},
        "overfitting": {"epsilon": config.overfit_epsilon} | curves,
        "certified": {"sigma": config.sigma, "images": len(sets.x[: config.certified])}
        | {name: {f"{r:.3f}": float(a) for r, a in zip(*found, strict=True)} for name, found in certificates.items()},
        "promises": kept,
    }
    answer = sentence(config, sets, nets, reports, curves, certificates)
    judgement = judge(config, answer, kept)
    sections = [
        table_section(figures["nets"], config.epsilon, len(sets.x)),
        gradient_section(np.asarray(sets.x), slopes),
        overfitting_section(curves, config.overfit_epsilon, config.epsilon),
        certified_section(certificates, config.sigma, config.samples),
    ]
    headline = [
        report.Number(
            name, f"{100 * float(found):.1f} %", f"of attacked images; {100 * nets[name].accuracy:.1f} % of others"
        )
        for name, found in reports.items()
    ]
    return Result(figures, sections, *judgement, headline)


def chosen(config: Config, key: jax.Array) -> Sets:
    """Return the images that are used."""
    train_key, test_key = jax.random.split(key)
    train, test = loaded(config.dataset, "fashion_mnist", "digits")
    few = some(test, max(config.attacked, config.certified), test_key)
    return Sets(some(train, config.images, train_key), test, data.to_float(few["image"]), jnp.asarray(few["label"]))


def small_net(info: data.DatasetInfo) -> layers.Sequential:
    """Return a net of two strided convolutions and two dense layers, in the form of Wong and Kolter (2018)."""
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        conv1=layers.Conv(16, 4, stride=2, padding=1), act1=F.relu,
        conv2=layers.Conv(32, 4, stride=2, padding=1), act2=F.relu,
        flatten=layers.Flatten(), dense=layers.Dense(100), act3=F.relu, head=head(info),
    )  # fmt: skip


def trainings(config: Config, sets: Sets) -> dict[str, Any]:
    """Return the options of `fit` of each adversarial training."""
    epsilon = config.epsilon
    free = {"epsilon": epsilon, "replays": config.replays, "batch_size": batch_size(config, sets)}
    passes = max(1, config.epochs // config.replays)
    return {
        "one step": fast_training(epsilon=epsilon),
        "PGD": pgd_training(epsilon=epsilon, steps=config.steps),
        "TRADES": trades(epsilon=epsilon, beta=config.beta, steps=config.steps),
        "free": free_training(small_net(sets.train.info), adam(config, sets, config.epochs), **free)
        | {"epochs": passes},
    }


def batch_size(config: Config, sets: Sets) -> int:
    return min(config.batch_size, sets.train.size)


def adam(config: Config, sets: Sets, epochs: int) -> optax.GradientTransformation:
    steps = epochs * (sets.train.size // batch_size(config, sets))
    return optax.adam(training.warmup_cosine(config.learning_rate, steps))


def trained(config: Config, sets: Sets, name: str, key: jax.Array) -> Trained:
    """Return the net that a training gives, plain or of a name of `trainings`; all begin with the same weights."""
    own = {"plain": {}, "noise": noise_training(sigma=config.sigma)} | trainings(config, sets)
    return fitted(config, sets, name, key, {"epochs": config.epochs} | own[name])


def fitted(
    config: Config, sets: Sets, name: str, key: jax.Array, options: Mapping[str, Any], *callbacks: Any
) -> Trained:
    console.print(f"training: {name}", markup=False)
    net = small_net(sets.train.info)
    clock: dict[str, float] = {}
    usual: dict[str, Any] = {
        "net": net,
        "optimizer": adam(config, sets, options["epochs"]),
        "batch_size": batch_size(config, sets),
    }
    with ProgressBar(console) as bar:
        note = lambda event: clock.update({event.kind: event.seconds})  # noqa: E731
        state = training.fit(train=sets.train, key=key, callbacks=[bar, note, *callbacks], **{**usual, **options}).state
    accuracy = training.evaluate(net, state.params, state.model_state, sets.test)["accuracy"]
    logits_fn = training.predictor(net, state.params, state.model_state)
    return Trained(logits_fn, accuracy, clock["epoch"] - clock["compiled"])


def evaluated(config: Config, sets: Sets, net: Trained, name: str, key: jax.Array) -> RobustReport:
    """Return what the standard evaluation finds."""
    console.print(f"attacking: {name}", markup=False)
    x, y = sets.x[: config.attacked], sets.y[: config.attacked]
    return robust_accuracy(
        key, net.logits_fn, x, y, epsilon=config.epsilon, attacks=config.attacks, steps=config.evaluation_steps,
        queries=config.queries,
    )  # fmt: skip


def overfitted(config: Config, sets: Sets, name: str, key: jax.Array) -> dict[str, list[float]]:
    """Return the accuracy under FGSM and under PGD after each epoch of training by one step, from the image or not."""
    epsilon = config.overfit_epsilon
    curves: dict[str, list[float]] = {"FGSM": [], "PGD": []}
    plain: dict[str, Any] = {"step_size": epsilon, "random_start": False} if name == "FGSM" else {}
    x, y = sets.x[: config.attacked], sets.y[: config.attacked]
    fit_key, attack_key = jax.random.split(key)

    def watch(event: training.Event) -> None:
        if event.kind == "epoch":
            assert event.state is not None
            logits_fn = training.predictor(net, event.state.params, event.state.model_state)
            moved = {"FGSM": fgsm(logits_fn, x, y, epsilon=epsilon), "PGD": pgd(attack_key, logits_fn, x, y, **how)}
            for attack, images in moved.items():
                curves[attack].append(float((logits_fn(images).argmax(-1) == y).mean()))

    net = small_net(sets.train.info)
    how: dict[str, Any] = {"epsilon": epsilon, "steps": 20}
    options = fast_training(epsilon=epsilon, **plain) | {"epochs": config.overfit_epochs}
    fitted(config, sets, f"{name}, epsilon {epsilon:g}", fit_key, options, watch)
    return curves


def certain(config: Config, sets: Sets, net: Trained, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return radii, and of how many images the smoothed net is right and certain to stay so within each."""
    x, y = sets.x[: config.certified], np.asarray(sets.y[: config.certified])
    found = certify(key, net.logits_fn, x, sigma=config.sigma, n=config.samples)
    radii = np.linspace(0, 4 * config.sigma, 33)
    right = found.prediction == y
    return radii, np.array([(right & (found.radius > r)).mean() for r in radii])


def gradients(logits_fn: LogitsFn, x: jax.Array, y: jax.Array) -> np.ndarray:
    """Return the gradient of the loss of each image."""
    return np.asarray(jax.jit(jax.grad(lambda x: losses.cross_entropy(logits_fn(x), y).sum()))(x))


def figures_of(net: Trained, found: RobustReport) -> dict[str, Any]:
    from scipy.stats import binomtest

    stood = int((~found.fooled).sum())
    interval = binomtest(stood, found.fooled.size).proportion_ci()
    return {
        "accuracy": net.accuracy,
        "accuracy_of_attacked": found.clean_accuracy,
        "robust_accuracy": float(found),
        "interval": [interval.low, interval.high],
        "after": {row.attack: row.accuracy for row in found.attacks},
        "warnings": list(found.warnings),
        "images": found.fooled.size,
        "seconds": net.seconds,
    }


def promises(config: Config, reports: Mapping[str, RobustReport], curves: Any, certificates: Any) -> dict[str, bool]:
    """Return what is promised, and whether it is so."""
    held = {f"the plain net withstands on less than {UNDEFENDED:.0%}": float(reports["plain"]) < UNDEFENDED}
    for name, found in reports.items():
        if name != "plain":
            held[f"{name}: at least half of what is right withstands"] = float(found) >= found.clean_accuracy / 2
    own = curves["FGSM"]
    collapsed = own["PGD"][-1] < max(own["PGD"]) / 2
    held["FGSM training at the larger radius: under PGD less than half of its best is left"] = collapsed
    held["while under FGSM it does better than at that best"] = own["FGSM"][-1] > own["FGSM"][np.argmax(own["PGD"])]
    noise, plain = (certificates[name][1][8] for name in ("noise", "plain"))
    held[f"noise in training makes certificates of radius {config.sigma:g} for more images"] = bool(noise > plain)
    return held


def sentence(config: Config, sets: Sets, nets: Any, reports: Any, curves: Any, certificates: Any) -> str:
    """Return the answer."""
    robust = ", ".join(f"{n} {100 * float(r):.1f} % (clean {100 * nets[n].accuracy:.1f} %)" for n, r in reports.items())
    own, other = curves["FGSM"], curves["random start"]
    best = int(np.argmax(own["PGD"]))
    percent = lambda value: f"{100 * value:.0f} %"  # noqa: E731
    images = f"{sets.train.size:,} images to learn from: of {len(reports['plain'].fooled)} test images"
    noise, without = (percent(certificates[name][1][8]) for name in ("noise", "plain"))
    return (
        f"{sets.train.info.name}, {images} these stay right under the standard evaluation at epsilon "
        f"{config.epsilon:g}: {robust}. FGSM training at {config.overfit_epsilon:g}: from epoch {best + 1} to "
        f"{len(own['PGD'])} accuracy under PGD goes from {percent(own['PGD'][best])} to {percent(own['PGD'][-1])}, "
        f"under FGSM from {percent(own['FGSM'][best])} to {percent(own['FGSM'][-1])}; with a random start PGD leaves "
        f"{percent(other['PGD'][-1])}. Certified to L2 radius {config.sigma:g}: {noise} with noise in training, "
        f"{without} without."
    )


if __name__ == "__main__":
    run(main, Config)

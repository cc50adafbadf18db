"""Objects erased by a small change of the image: how many, by how small a one, and what becomes of all else."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.largest_object import Objects
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.scene_tasks import Task, said
from experiments.apparatus.statistics import summary_of_many
from jaxcnn import attack, report, training
from jaxcnn.training import TrainState

__all__ = ["Erased", "erased"]

SHOWN = 6  # objects in the pictures
PGD, NOISE = "PGD", "random noise"


class Erased(NamedTuple):
    """What is shown, the figures, and the share of objects that each epsilon erases."""

    section: report.Section
    figures: dict[str, Any]
    attacked: np.ndarray
    noised: np.ndarray
    sentence: str
    headline: str


def erased(config: Any, task: Task, state: TrainState, objects: Objects, key: jax.Array) -> Erased:
    """Return what an attack does to the objects, and what noise of the same size does."""
    attack_key, noise_key = jax.random.split(key)
    logits_fn, x = training.predictor(task.net, state.params, state.model_state), objects.x
    epsilons = jnp.asarray(config.epsilons, jnp.float32) / 255
    there = attack.binary(logits_fn, objects.there, threshold=objects.threshold)
    signs = jax.random.rademacher(noise_key, x.shape, x.dtype)
    images = {
        PGD: attack.pgd(attack_key, there, x, 1, epsilon=epsilons, steps=config.steps),
        NOISE: jnp.clip(x + epsilons[:, None, None, None, None] * signs, 0, 1),
    }
    judged = {name: [objects.judge(said(task, state, some)) for some in each] for name, each in images.items()}
    shares = {name: np.array([one.erased.mean() for one in each]) for name, each in judged.items()}
    stays = {name: np.array([one.elsewhere.mean() for one in each]) for name, each in judged.items()}
    figures = {
        name: {
            f"{epsilon:g}/255": {"erased": summary_of_many(one.erased), "elsewhere": summary_of_many(one.elsewhere)}
            for epsilon, one in zip(config.epsilons, each, strict=True)
        }
        for name, each in judged.items()
    }
    words = (
        f"Erased: {objects.erasing}. Elsewhere: {objects.elsewhere}. Both are read from what the net gives for the new "
        f"image, of {len(x)} objects. PGD makes {config.steps} steps; noise changes each value by epsilon, up or down."
    )
    lines = {f"erased by {name}": 100 * share[None] for name, share in shares.items()}
    lines |= {"elsewhere, PGD": 100 * stays[PGD][None]}
    curves = report.Picture(
        spread_lines("share, %", "epsilon, of 255", config.epsilons, lines, ticks=True),
        "Objects that are erased, and what stays elsewhere, against the largest change of a pixel.",
        "Lines of shares against epsilon: erased by PGD, erased by noise, and what stays elsewhere.",
    )
    last = shares[PGD][-1], shares[NOISE][-1], stays[PGD][-1]
    sentence = f"at {config.epsilons[-1]:g}/255 PGD erases {last[0]:.0%}, noise {last[1]:.0%}, and {last[2]:.0%} stays"
    blocks = [words, curves, _table(config, judged)]
    outputs_of = lambda some: said(task, state, some)  # noqa: E731
    blocks += _pictures(config, objects, np.asarray(images[PGD][-1]), judged[PGD][-1].erased, outputs_of)
    section = report.Section(f"{task.name.capitalize()}: erased", blocks)
    note = f"objects erased within {config.epsilons[-1]:g}/255, {last[1]:.0%} by noise"
    return Erased(section, figures, shares[PGD], shares[NOISE], sentence, note)


def _table(config: Any, judged: Any) -> report.Table:
    share = lambda values: f"{100 * values.mean():.0f}"  # noqa: E731
    return report.Table(
        [
            {
                "epsilon, of 255": f"{epsilon:g}",
                **{f"erased by {name}, %": share(each[at].erased) for name, each in judged.items()},
                **{f"elsewhere, {name}, %": share(each[at].elsewhere) for name, each in judged.items()},
            }
            for at, epsilon in enumerate(config.epsilons)
        ]
    )


def _pictures(
    config: Any, objects: Objects, changed: np.ndarray, gone: np.ndarray, outputs_of: Any
) -> list[report.Picture]:
    """Return the first scenes before and after, with what was added, and with what the net says of both."""
    x, changed, gone = np.asarray(objects.x)[:SHOWN], changed[:SHOWN], gone[:SHOWN]
    names = [objects.scenes.info.class_names[label] for label in objects.scenes["label"][:SHOWN]]
    both = np.stack([x, changed], 1).reshape(-1, *x.shape[1:])
    captions = [word for fell in gone for word in ("before", "erased" if fell else "still there")]
    largest = f"{config.epsilons[-1]:g}/255"
    return [
        report.Picture(
            report.adversarial_rows(x, changed, names, captions[1::2], fooled=gone),
            f"Scenes, what PGD added within {largest}, enlarged, and the sum; with the largest object.",
            "Rows of a scene, coloured noise and the scene with that noise, which looks the same.",
        ),
        report.Picture(
            objects.draw(both, outputs_of(both), captions),
            f"The same scenes before and after, and what the net says of them. {objects.drawn}",
            "Pairs of scenes with what the net finds: before the attack, and after it, where the object is missing.",
        ),
    ]

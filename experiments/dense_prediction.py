"""Why does a net give an object this mask or this box, and how small a change makes it vanish?

`python -m experiments.dense_prediction` trains an FCN and a CenterNet on scenes, and asks of the largest object of
others: which pixels decide its mask or its box (Grad-CAM, HiResCAM, integrated gradients and occlusion of one score,
`segmentation.class_score` or `detection.object_score`), and whether PGD erases it within epsilon: its pixels get other
classes, or no box overlaps it any more, and how much of the net's answers elsewhere stays. Success is what the net
itself says of the new images, after decoding and suppression, beside random noise of the same size. What it promises:
HiResCAM's largest value lies on the object more often than the image's middle does, in both tasks (Grad-CAM takes the
mean of the gradient over all places, where that of one object is 0 almost everywhere: it says how that does); and with
the largest epsilon PGD erases at least 9 of 10 objects, and noise at most 1 of 10, in both. About 2 min on 2 cores.

Source: Vinogradova et al. 2020 (Seg-Grad-CAM); Xie et al. 2017 and Chow et al. 2020 (attacks on masks and boxes).
"""

import dataclasses
from dataclasses import dataclass

import jax
import optax

from experiments.apparatus.erased import Erased, erased
from experiments.apparatus.explained_outputs import explained_outputs
from experiments.apparatus.largest_object import largest_objects
from experiments.apparatus.scene_tasks import Task, drawn, said, tasks
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import augment, data, report, training
from jaxcnn.checking import expect
from jaxcnn.training import TrainState

GRAD_CAM, HIRES_CAM, MIDDLE = "Grad-CAM", "HiResCAM", "middle of the image"
ERASES, LEAVES = 0.9, 0.1  # the least share of objects that PGD erases, the most that noise does


@dataclass(frozen=True)
class Config(Common):
    scenes: int = 3000  # to learn from
    epochs: int = 10  # passes through them
    batch_size: int = 32
    learning_rate: float = 4e-3  # AdamW's, after a warm-up, falling to 0 along half a cosine
    width: int = 12  # maps of the nets' first stage
    test_scenes: int = 200  # of which are taken those whose largest object the net finds,
    images: int = 64  # at most so many
    stage: str = "stage2"  # where Grad-CAM looks: 16 x 16 places
    epsilons: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)  # rising, of 255: the largest change of a pixel
    steps: int = 20  # of PGD


def main(config: Config) -> Result:
    if config.quick:
        few = {
            "scenes": 512,
            "epochs": 8,
            "batch_size": 16,
            "test_scenes": 96,
            "images": 8,
            "epsilons": (4.0, 16.0),
            "steps": 3,
        }
        config = dataclasses.replace(config, **few, width=8)
    rising = list(config.epsilons) == sorted(set(config.epsilons)) and len(config.epsilons) > 0
    ok, fix = rising and config.epsilons[0] > 0, "Pass 1, 2 and 4, say."
    expect(ok, "dense_prediction", "rising epsilons above 0", config.epsilons, fix)
    train_key, test_key, *keys = jax.random.split(jax.random.key(config.seed), 4)
    train, test = drawn(train_key, config.scenes), drawn(test_key, config.test_scenes)
    figures, sections, parts, promises, headline = {}, [], [], {}, []
    for task, key in zip(tasks(train.info, config.width), keys, strict=True):
        fit_key, explain_key, attack_key = jax.random.split(key, 3)
        state = trained(config, task, train, fit_key)
        outputs = said(task, state, test["image"])
        reached = task.measure(outputs, test)
        console.print(f"{task.name}: {task.quantity} {reached:.3f}", markup=False)
        objects = largest_objects(task, test, outputs, config.images)
        explained = explained_outputs(config, task, state, objects, explain_key)
        gone = erased(config, task, state, objects, attack_key)
        sections += [explained.section, gone.section]
        figures[task.name] = {
            "quantity": task.quantity, "reached": reached, "explained": explained.figures, "erased": gone.figures,
        }  # fmt: skip
        hit, mean, blind = (explained.hits[name] for name in (HIRES_CAM, GRAD_CAM, MIDDLE))
        parts.append(
            f"{task.name} ({task.quantity} {reached:.2f}): on {len(objects.x)} objects HiResCAM's largest value lies "
            f"on {hit:.0%}, Grad-CAM's on {mean:.0%}, the middle of the image on {blind:.0%}; {gone.sentence}"
        )
        promises[f"HiResCAM in {task.name}"] = hit > blind
        promises[f"erasing in {task.name}"] = erases(gone)
        headline.append(report.Number(task.name, f"{gone.attacked[-1]:.0%}", gone.headline))
    answer = f"{'. '.join(parts)}."
    judgement = judge(config, answer, promises)
    return Result(figures, sections, *judgement, headline)


def erases(gone: Erased) -> bool:
    """Return whether the attack erases what noise of the same size leaves."""
    return gone.attacked[-1] >= ERASES and gone.noised[-1] <= LEAVES


def trained(config: Config, task: Task, train: data.Dataset, key: jax.Array) -> TrainState:
    """Return the state of the net that has learned the scenes."""
    steps = config.epochs * (config.scenes // config.batch_size)
    rate = training.warmup_cosine(config.learning_rate, steps)
    console.print(f"{task.name}: learning {train.size} scenes", markup=False)
    with ProgressBar(console) as bar:
        return training.fit(
            task.net, train, optimizer=optax.adamw(rate, weight_decay=1e-2), loss=task.loss, epochs=config.epochs,
            batch_size=config.batch_size, key=key, augment=augment.batched(augment.flip), callbacks=[bar],
        ).state  # fmt: skip


if __name__ == "__main__":
    run(main, Config)

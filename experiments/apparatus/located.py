"""Maps beside the truth: a small net learns which object a scene shows, and each method says where it is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.attributions import attributions
from experiments.apparatus.sanity_pictures import painted
from experiments.apparatus.scene_tasks import SCENES
from experiments.apparatus.small_nets import three_stages
from experiments.apparatus.trust_measures import answered, localization, pixels_of, rows, summaries
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from jaxcnn import augment, data, report, training

__all__ = ["Located", "located"]

SHOWN = 6  # scenes in the picture


class Located(NamedTuple):
    """What is shown, and the figures."""

    section: report.Section
    figures: dict[str, Any]


def located(config: Any, key: jax.Array) -> Located:
    """Return how well each method's maps lie on the object that the net was to name, on scenes that it names rightly.

    Args:
        config: with `methods`, `scenes`, `scene_epochs` and `scene_images`.
        key: of scenes, net and noise.
    """
    train_key, test_key, fit_key, key = jax.random.split(key, 4)
    train, test = SCENES.dataset(train_key, config.scenes), SCENES.dataset(test_key, 2 * config.scene_images)
    net = three_stages(train.info, 16)
    console.print(f"learning {train.size} scenes", markup=False)
    with ProgressBar(console) as bar:
        state = training.fit(
            net, train, optimizer=training.sgd(training.warmup_cosine(0.1, steps(config, train))), key=fit_key,
            epochs=config.scene_epochs, batch_size=64, augment=augment.batched(augment.flip), callbacks=[bar],
        ).state  # fmt: skip
    logits = training.predict(net, state.params, state.model_state, test)
    right = np.flatnonzero(logits.argmax(axis=-1) == test["label"])
    known = test.take(right[: config.scene_images])
    of = answered(net, state.params, state.model_state, data.to_float(known["image"]))
    masks = known["instance_mask"] == 1
    pixels = pixels_of(of, attributions(*of[:4], config.methods)) | blind(key, masks.shape)
    found = localization(pixels, masks)
    accuracy = len(right) / test.size
    words = (
        f"A small net learned {train.size:,} scenes of one object or two and names the larger one rightly in "
        f"{accuracy:.0%} of {test.size} others. On {known.size} of these: pointing game, how often the largest value "
        "lies on the object; IoU, the overlap of object and map, cut where it is largest; energy inside, the share of "
        "what is positive that lies on the object, which takes up "
        f"{masks.mean():.0%} of the image. What beats neither a blob in the middle nor random numbers knows nothing of "
        "the place. Mean ± standard deviation over images."
    )
    blocks = [words, report.Table(rows(found)), picture(of.x, masks, pixels)]
    section = report.Section("Is the map where the object is?", blocks)
    return Located(section, {"accuracy": accuracy, "images": known.size, "methods": summaries(found)})


def steps(config: Any, train: data.Dataset) -> int:
    return config.scene_epochs * max(train.size // 64, 1)


def blind(key: jax.Array, shape: tuple[int, ...]) -> dict[str, jax.Array]:
    """Return maps of what is known without looking: a blob in the middle of the image, and random numbers."""
    down, right = (jnp.linspace(-1, 1, side) for side in shape[-2:])
    blob = jnp.exp(-2 * (down[:, None] ** 2 + right**2))
    return {"middle of the image": jnp.broadcast_to(blob, shape), "random numbers": jax.random.uniform(key, shape)}


def picture(x: jax.Array, masks: np.ndarray, pixels: Mapping[str, jax.Array]) -> report.Picture:
    images = {"scene": np.asarray(x[:SHOWN]), "object": masks[:SHOWN].astype(np.float32)}
    images |= {name: painted(list(np.asarray(maps[:SHOWN]))) for name, maps in pixels.items()}
    return report.Picture(
        report.image_rows(images),
        "Scenes, the object whose class is explained, and where each method puts it. Each map has its own scale.",
        "Rows of scenes, their true masks and the maps of each method.",
    )

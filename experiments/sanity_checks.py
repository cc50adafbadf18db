"""Can the pictures be trusted? Sanity checks and measures of every attribution method, of a trained net.

`python -m experiments.sanity_checks` trains a net on the digits (`--dataset fashion_mnist --epochs 3`, or the folder of
a training run, for others), and explains test images by every method: for this net, with its layers drawn anew from the
output down, one at a time and all at once, and for a net of the same form that learned random labels. A method whose
maps stay the same shows the image, not the net, and fails. Then come the measures of trust, and for a small net trained
on `scenes`, where the truth is known, whether maps lie on the object. What it promises: gradients pass, guided
backpropagation and an edge detector fail. About 9 min on 2 cores.

Source: Adebayo et al. 2018, "Sanity checks for saliency maps".
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

from experiments.apparatus.attributions import attributions, edges
from experiments.apparatus.image_sets import some
from experiments.apparatus.located import located
from experiments.apparatus.sanity_pictures import cascade_lines, rows_of_maps
from experiments.apparatus.trained import OfNet, Trained, trained
from experiments.apparatus.trust_measures import answered, measures, rows, summaries
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Result, judge, run
from jaxcnn import data, report, training
from jaxcnn.checking import expect
from jaxcnn.explain import trust
from jaxcnn.layers.layer import Params, State

PASS, FAIL = ("gradient",), ("guided backprop", "edges of the image")  # what is known
QUICK = ("gradient", "guided backprop", "integrated gradients", "Grad-CAM")


@dataclass(frozen=True)
class Config(OfNet):
    methods: tuple[str, ...] = ()  # names of attribution methods; all unless given
    images: int = 32  # test images that are explained
    draws: int = 3  # of all weights, 2 or more
    threshold: float = 0.5  # similarity from which on a method fails
    label_images: int = 2000  # at most, that get random labels
    label_epochs: int = 100  # passes through them
    scenes: int = 6000  # to learn from
    scene_epochs: int = 15  # passes through them
    scene_images: int = 200  # on which maps are compared with the truth, at most


def main(config: Config) -> Result:
    if config.quick:
        few = {"methods": QUICK, "images": 16, "draws": 2, "label_images": 300, "label_epochs": 4}
        config = dataclasses.replace(config, **few, scenes=300, scene_epochs=1, scene_images=16)
    expect(config.images >= 2, "sanity_checks", "at least 2 images", config.images, "One has no spread.")
    found = trained("sanity_checks", config)
    keys = jax.random.split(jax.random.key(config.seed), 5)
    test = some(found.test, config.images, keys[0])
    of = answered(found.net, found.params, found.state, data.to_float(test["image"]))
    methods = attributions(*of[:4], config.methods) | edges()
    console.print(f"sanity checks of {', '.join(methods)}", markup=False)
    weights, accuracy = learned_by_heart(config, found, keys[1])
    checked = trust.sanity_checks(
        keys[2], *of, {name: method.fn for name, method in methods.items()}, random_label_weights=weights,
        draws=config.draws, threshold=config.threshold, keep_maps=True,
    )  # fmt: skip
    at = most_drawn(checked.maps)
    console.print("measures of trust", markup=False)
    measured = measures(keys[3], of, methods)
    scenes = located(config, keys[4])
    sections = [
        verdict_section(checked, accuracy),
        cascade_section(checked, at, found.class_names[int(of.target[at])]),
        line_section(checked, config.threshold),
        report.Section("Measures of trust", [MEASURED, report.Table(rows(measured))]),
        scenes.section,
    ]
    figures = {
        "criterion": checked.criterion,
        "verdicts": {name: dataclasses.asdict(v) | {"images": len(of.x)} for name, v in checked.verdicts.items()},
        "layers": list(checked.layers),
        "cascading": by_layer(checked.layers, checked.cascading),
        "independent": by_layer(checked.layers, checked.independent),
        "random_labels_accuracy": accuracy,
        "measures": summaries(measured),
        "scenes": scenes.figures,
    }
    judgement = judge(config, sentence(checked), promised(checked))
    return Result(finite(figures), sections, *judgement, headline(checked))


def learned_by_heart(config: Config, found: Trained, key: jax.Array) -> tuple[tuple[Params, State], float]:
    """Return the weights of a net of the same form that learned permuted labels, and on how many it is right."""
    some_key, label_key, key = jax.random.split(key, 3)
    images = some(found.train, config.label_images, some_key)
    label = np.asarray(jax.random.permutation(label_key, images["label"]))
    wrong = data.from_arrays(images["image"], label, class_names=found.class_names, name="random labels")
    console.print(f"learning {wrong.size} random labels by heart", markup=False)
    with ProgressBar(console) as bar:
        state = training.fit(
            found.net, wrong, optimizer=optax.adam(1e-3), epochs=config.label_epochs, key=key,
            batch_size=min(64, wrong.size), callbacks=[bar],
        ).state  # fmt: skip
    measured = training.evaluate(found.net, state.params, state.model_state, wrong)
    return (state.params, state.model_state), measured["accuracy"]


def most_drawn(maps: Mapping[str, np.ndarray]) -> int:
    """Return the number of the first image of which the fewest of the trained net's maps are blank."""
    drawn = sum(found[0].reshape(found.shape[1], -1).any(axis=1).astype(int) for found in maps.values())
    return int(np.argmax(drawn))


def verdict_section(checked: trust.SanityReport, accuracy: float) -> report.Section:
    words = (
        f"{checked.criterion} The net with random labels is right on {accuracy:.0%} of those that it was to learn. "
        "Beside it, how alike the maps of two nets with random weights are: what image and architecture alone give. "
        "Methods that multiply by the image (gradient x input, integrated gradients, DeepLIFT) are 0 wherever it is "
        "black, whatever the net: on a black ground that alone makes their maps alike."
    )
    caption = "Rank correlation of absolute maps with those of the trained net: 1 if they are the same, 0 if unlike."
    return report.Section("Who passes", [INTRODUCTION, report.Table(checked.table(), caption), words])


def cascade_section(checked: trust.SanityReport, at: int, class_name: str) -> report.Section:
    names = ["trained", *checked.layers, "labels"]
    passes = {name: verdict.passes for name, verdict in checked.verdicts.items()}
    maps = {name: list(found[:, at]) for name, found in checked.maps.items()}
    order, half = list(maps), -(-len(maps) // 2)
    pictures = []
    for part in (order[:half], order[half:]):
        images, captions = rows_of_maps({name: maps[name] for name in part}, passes, names)
        pictures.append(
            report.Picture(
                report.image_rows(images, captions),
                f"One test image, explained as {class_name!r}: by the trained net; with all layers down to the named "
                "one drawn anew; and by the net that learned random labels. Each map has its own scale.",
                "Rows of maps, one for each method, which ought to change from left to right.",
            )
        )
    return report.Section("Maps along the cascade", pictures)


def line_section(checked: trust.SanityReport, threshold: float) -> report.Section:
    picture = report.Picture(
        cascade_lines(checked, threshold),
        "Line: all layers down to this one are random; dots: this one alone is. Mean over images, a band of one "
        f"standard deviation. A method fails above the dashed line, at {threshold:g}, with all layers random.",
        "A panel for each method: similarity to the trained net's maps, layer by layer.",
    )
    return report.Section("Layer by layer", [picture])


def by_layer(layers: tuple[str, ...], found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Return by method and measure the mean over images at each layer."""
    mean = lambda row: float(row[np.isfinite(row)].mean()) if np.isfinite(row).any() else np.nan  # noqa: E731
    return {
        name: {m: dict(zip(layers, map(mean, v), strict=True)) for m, v in measured.items()}
        for name, measured in found.items()
    }


def promised(checked: trust.SanityReport) -> dict[str, bool]:
    """Return what is known of methods, and whether it came out."""
    known = dict.fromkeys(PASS, True) | dict.fromkeys(FAIL, False)
    return {
        f"{name} {'passes' if passes else 'fails'}": checked.verdicts[name].passes is passes
        for name, passes in known.items()
        if name in checked.verdicts
    }


def sentence(checked: trust.SanityReport) -> str:
    """Return who passes and who fails."""
    groups: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    for name, verdict in checked.verdicts.items():
        groups[verdict.passes].append(f"{name} {np.nanmax([verdict.similarity, verdict.labels or 0]):.2f}")
    words = f"Similarity to maps of random weights or labels: these pass: {', '.join(groups[True]) or 'none'}; these "
    words += f"fail: {', '.join(groups[False]) or 'none'}."
    if groups[None]:
        words += f" Blank maps: {', '.join(groups[None])}."
    return words


def headline(checked: trust.SanityReport) -> list[report.Number]:
    known = {name: checked.verdicts[name] for name in (*PASS, *FAIL) if name in checked.verdicts}
    told = {True: "passes", False: "fails", None: "blank maps"}
    return [report.Number(name, f"{v.similarity:.2f}", f"similarity, {told[v.passes]}") for name, v in known.items()]


def finite(tree: Any) -> Any:
    """Return the figures with None for what is not finite, as JSON wants it."""
    if isinstance(tree, Mapping):
        return {name: finite(part) for name, part in tree.items()}
    return None if isinstance(tree, float) and not np.isfinite(tree) else tree


INTRODUCTION = (
    "A picture of what a net looks at is worth something if it depends on what the net has learned. So everything "
    "that was learned is thrown away, layer by layer, and the same images are explained again. Maps that stay the "
    "same would have been drawn of any net: they show the image."
)
MEASURED = (
    "Deletion: how likely the class stays while the pixels that matter most go (small is good); insertion: how likely "
    "it becomes while they come into the blurred image (large is good). ROAD: how much more is left of the class if "
    "the least important pixels are filled in from their neighbours than if the most important are (large is good). "
    "Infidelity: the share of what removing squares does to the score that the map does not foretell (small is good). "
    "Max sensitivity: how far the map moves when the image hardly does (small is good). Sensitivity-n: correlation of "
    "what a tenth of the pixels is said to add and what is lost without them (1 is best). Mean ± standard deviation "
    "over images. A method that fails the checks above may well have good values here: edges matter, too."
)


if __name__ == "__main__":
    run(main, Config)

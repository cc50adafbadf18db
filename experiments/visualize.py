"""What does a trained net look for, layer by layer, and do the classes come apart on the way?

`python -m experiments.visualize` trains a net on digits, or takes one: the folder of a training run, or a file of
`jaxcnn.save` with `--dataset`. Of some layers behind activation functions, from the first to the last, it shows what
their units look for (the patches that excite the most selective ones), which classes they answer to, how many pixels
they see, and which never answer. In the features of each layer, at most 1024 numbers an image, the nearest training
images vote on the class of test images, and the silhouette says how far the classes lie apart; beside it, the pixels.
What it promises: the classes lie farther apart (mean silhouette) in the last of the layers than in the pixels. About
2 min on 2 cores for digits, with the training.

Source: Zeiler and Fergus 2014; Rousseeuw 1987 for the silhouette.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.apparatus.image_sets import some
from experiments.apparatus.layer_views import PIXELS, Space, Units, behind_activations, spaces_of, units_of
from experiments.apparatus.trained import OfNet, Trained, trained
from experiments.framework.runner import Result, judge, run
from jaxcnn import data, report
from jaxcnn.checking import expect
from jaxcnn.explain import inside
from jaxcnn.report.classifier import activation_maps, first_kernel

QUICK = {"images": 300, "test_images": 120, "units": 3, "patches": 5}
SHOWN = 3  # test images whose activations and neighbours are shown


@dataclass(frozen=True)
class Config(OfNet):
    layers: tuple[str, ...] = ()  # paths; () for up to 6 behind activation functions, from the first to the last
    images: int = 5000  # training images, drawn, that units are looked at with, and that vote
    test_images: int = 1000  # test images, drawn, whose neighbours are looked for
    units: int = 6  # of each layer, shown with the patches that excite them
    patches: int = 8  # of each unit
    neighbours: int = 5  # training images that vote on the class of a test image


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, **QUICK)
    for name in ("images", "test_images", "units", "patches", "neighbours"):
        value = getattr(config, name)
        expect(value >= 1, "visualize", f"{name} of at least 1", value, "Pass more.")
    found = trained("visualize", config)
    keys = jax.random.split(jax.random.key(config.seed), 3)
    train, test = some(found.train, config.images, keys[0]), some(found.test, config.test_images, keys[1])
    at = list(config.layers) or behind_activations(found)
    units = units_of(found, train, at, config.units, config.patches)
    spaces = spaces_of(found, train, test, at, config.neighbours)
    rows = {name: figures_of(units.get(name), space) for name, space in spaces.items()}
    farther = spaces[at[-1]].silhouette > spaces[PIXELS].silhouette
    answer = sentence(config, rows, at[-1])
    judgement = judge(config, answer, {"the classes lie farther apart than in the pixels": farther})
    pictures = [
        overview(rows, spaces, train, test, config, keys[2]),
        filters_and_activations(found, test),
        *(layer_section(path, units[path], train, config) for path in at),
        neighbours(spaces, at[-1], train, test, config),
    ]
    last = rows[at[-1]]
    headline = [
        report.Number(f"{config.neighbours} neighbours, pixels", f"{100 * rows[PIXELS]['accuracy']:.1f} %"),
        report.Number(f"{config.neighbours} neighbours, {at[-1]}", f"{100 * last['accuracy']:.1f} %"),
        report.Number("silhouette", f"{rows[PIXELS]['silhouette']:.2f} → {last['silhouette']:.2f}", "pixels → last"),
        report.Number("dead units", f"{sum(r.get('dead', 0) for r in rows.values())}", "of the layers looked at"),
    ]
    figures = {"train_images": train.size, "test_images": test.size, "layers": rows}
    return Result(figures, pictures, *judgement, headline)


def figures_of(units: Units | None, space: Space) -> dict[str, Any]:
    """Return the figures of a layer, or of the pixels, which have no units."""
    figures: dict[str, Any] = {"accuracy": space.accuracy, "silhouette": space.silhouette}
    if units is None:
        return figures
    used = units.statistics
    return figures | {
        "height": units.shape[0],
        "width": units.shape[1],
        "units": units.shape[2],
        "receptive_field": units.field.size,
        "stride": units.field.stride,
        "dead": int(used.dead.sum()),
        "stuck": int(used.stuck.sum()),
        "positive_positions": float(used.positions.mean()),
        "selectivity": float(units.selectivity.mean()),
    }


def sentence(config: Config, rows: Mapping[str, Mapping[str, Any]], last: str) -> str:
    """Return the answer."""
    pixels, deep = rows[PIXELS], rows[last]
    apart = "farther apart" if deep["silhouette"] > pixels["silhouette"] else "no farther apart"
    dead, every = (sum(row.get(name, 0) for row in rows.values()) for name in ("dead", "units"))
    return (
        f"classes lie {apart} in {last} than in the pixels: silhouette {deep['silhouette']:.2f} against "
        f"{pixels['silhouette']:.2f}, accuracy of {config.neighbours} neighbours {100 * deep['accuracy']:.1f} % "
        f"against {100 * pixels['accuracy']:.1f} %; {dead} of {every} units are dead."
    )


def overview(
    rows: Mapping[str, Mapping[str, Any]],
    spaces: Mapping[str, Space],
    train: data.Dataset,
    test: data.Dataset,
    config: Config,
    key: jax.Array,
) -> report.Section:
    """Return the table of all layers, and how far apart the classes lie in them."""
    names = dict.fromkeys([PIXELS, list(rows)[1], list(rows)[-1]])
    pca, tsne = {}, {}
    for name in names:
        features = spaces[name].features
        projection = inside.project(features)
        share = 0.0 if projection.explained is None else projection.explained.sum()
        pca[f"{name}: {share:.0%} of variance"] = projection.points
        few = min(30.0, (len(features) - 1) / 3)
        tsne[name] = inside.project(features, "tsne", key=jax.random.clone(key), perplexity=few).points
    labels, classes = test["label"], test.info.class_names
    voted = f"{config.neighbours} nearest training images"
    lines = {
        voted: {name: [row["accuracy"]] for name, row in rows.items()},
        "silhouette": {name: [row["silhouette"]] for name, row in rows.items()},
    }
    return report.Section(
        "From pixels to classes",
        [
            report.Picture(
                report.by_layer(lines, quantity="share classified rightly; mean silhouette"),
                f"How well the {config.neighbours} nearest of {train.size:,} training images tell the class of "
                f"{test.size:,} test images, and how far the classes lie apart: a silhouette of 1 is far apart, 0 is "
                "touching.",
                "A dot a layer, from the pixels down to the last layer: accuracy of neighbours and silhouette.",
            ),
            report.Table([table_row(name, row) for name, row in rows.items()], "The layers"),
            TABLE,
            report.Picture(
                report.embedding_scatter(pca, labels, classes),
                "Principal components of the test images: the two directions of largest variance.",
                "Test images as points coloured by class, in the pixels, the first and the last layer.",
            ),
            report.Picture(
                report.embedding_scatter(tsne, labels, classes),
                "t-SNE of the same: images that are alike lie together; distances between groups mean little.",
                "Test images as points coloured by class, placed by t-SNE, in pixels, first and last layer.",
            ),
        ],
    )


def table_row(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer's line of the table."""
    if "units" not in row:
        return {"layer": name}
    field = row["receptive_field"]
    return {
        "layer": name,
        "map": f"{row['height']}×{row['width']}",
        "units": row["units"],
        "sees": "all" if field is None else f"{field[0]}×{field[1]}",
        "apart": None if row["stride"] is None else row["stride"][0],
        "dead": row["dead"],
        "saturated": row["stuck"],
        "positive": f"{row['positive_positions']:.0%}",
        "selectivity": round(row["selectivity"], 3),
    }


def filters_and_activations(found: Trained, test: data.Dataset) -> report.Section:
    """Return the first filters, and a few test images layer by layer."""
    blocks: list[Any] = []
    kernel = first_kernel(found.params, found.net)
    if kernel is not None:
        words = f"The {kernel.shape[-1]} filters of the first convolution."
        blocks.append(report.Picture(report.filters(np.asarray(kernel)), words, "Filters as small images."))
    for number in of_different_classes(test["label"]):
        maps = activation_maps(found.net, found.params, found.state, test["image"][number])
        if maps:
            name = test.info.class_names[test["label"][number]]
            figure = report.feature_maps(maps, test["image"][number])
            words = f"A test image, a {name!r}, layer by layer."
            blocks.append(report.Picture(figure, words, f"Activations of an image of class {name}, a row a layer."))
    return report.Section("Filters and activations", blocks or ["The net has no convolutions."])


def layer_section(path: str, units: Units, train: data.Dataset, config: Config) -> report.Section:
    """Return what the units of one layer look for."""
    classes = [str(name) for name in train.info.class_names]
    best = np.nanargmax(units.means, axis=0)
    names = [f"unit {u}\n{classes[best[u]]}, {units.selectivity[u]:.2f}" for u in units.chosen]
    captions = [[classes[train["label"][i]] for i in row] for row in units.top.index]
    field = units.field.size
    size = train["image"].shape[1:3]
    if field is None or field[0] >= size[0] or field[1] >= size[1]:
        seen = "all of each"
    else:
        seen = f"the parts that they see, {field[0]}×{field[1]} pixels, black beyond the border"
    return report.Section(
        path,
        [
            report.Picture(
                report.unit_patches(units.patches, units.top.value, names, captions),
                f"What excites the most selective units of {path} most, of {train.size:,} training images: {seen}. "
                "Beside each unit the class that it answers to most and its selectivity; below each patch its "
                "activation and the image's class.",
                f"Rows of image patches, one for each of {len(names)} units of {path}.",
            ),
            report.Picture(
                report.class_means(units.means, classes, title=path),
                f"The mean activation of all {units.shape[2]} units for each class.",
                f"Heat map of {len(classes)} classes by {units.shape[2]} units, sorted by their class.",
            ),
        ],
    )


def neighbours(
    spaces: Mapping[str, Space], last: str, train: data.Dataset, test: data.Dataset, config: Config
) -> report.Section:
    """Return a few test images with the training images nearest to them, as pixels and in the last layer."""
    rows, captions, classes = {}, {}, train.info.class_names
    for number in of_different_classes(test["label"]):
        true = classes[test["label"][number]]
        for name in (PIXELS, last):
            index = spaces[name].nearest[number]
            title = f"a {true!r}, and what is nearest in {name}"
            rows[title] = np.concatenate([test["image"][number][None], train["image"][index]])
            captions[title] = [str(true), *(str(classes[train["label"][i]]) for i in index)]
    picture = report.Picture(
        report.image_rows(rows, captions),
        f"Test images, each with its {config.neighbours} nearest training images: as pixels, and in {last}.",
        "Rows of a test image and its nearest training images, with their classes.",
    )
    return report.Section("Nearest training images", [picture])


def of_different_classes(labels: np.ndarray) -> list[int]:
    """Return the numbers of the first examples of a few classes."""
    return sorted(np.unique(labels, return_index=True)[1].tolist())[:SHOWN]


TABLE = (
    "In the table, sees: pixels of a unit's receptive field; apart: pixels between neighbouring fields; dead: units "
    "above 0 in no image; saturated: units at a bound of their range at 95 % of all positions; positive: positions "
    "above 0; selectivity: how much more a unit answers to its best class than to the others, mean."
)

if __name__ == "__main__":
    run(main, Config)

"""The gallery of `experiments.augmentation`: every operation of `jaxcnn.augment`, ever stronger, and what it moves.

A cell is a caption, a function (key, example) -> example, and the number of its key. Within a row either the strength
rises and the key stays, or the key changes and the strength stays.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import augment, data, report

Example = dict[str, Any]
COLUMNS = 5
ROWS = 8  # of one picture: with more of them there are two, side by side
NEAR = 1.5  # pixels: how far what moved may stray from the object it lies on,
BENT = 4.0  # and after elastic, whose boxes follow their corners alone while their sides bend
OTHERS = 31  # images that mixing has beside the one that is shown


class Cell(NamedTuple):
    caption: str
    fn: Callable[[jax.Array, Example], Example]
    draw: int = 0


def rising(fn: Callable, option: str, *values: Any, unit: str = "", **fixed: Any) -> list[Cell]:
    return [Cell(f"{value:g}{unit}", partial(fn, **{option: value}, **fixed)) for value in values]


def exactly(fn: Callable, option: str, *values: float, unit: str = "", **fixed: Any) -> list[Cell]:
    """Return the cells of an option that is an interval to draw from: of one number each."""
    return [Cell(f"{value:g}{unit}", partial(fn, **{option: (value, value)}, **fixed)) for value in values]


def draws(fn: Callable, **options: Any) -> list[Cell]:
    return [Cell(f"draw {number + 1}", partial(fn, **options), number) for number in range(COLUMNS)]


def affine(step: int) -> Cell:
    degrees, factor, shear = 9.0 * step, 1 - 0.08 * step, 5.0 * step
    fn = partial(augment.affine, degrees=(degrees, degrees), factor=(factor, factor), shear_degrees=(shear, shear))
    return Cell(f"{degrees:g}°, ×{factor:g}", partial(fn, max_shift=2.0 * step))


def turns(epoch: int) -> Cell:
    return Cell(f"epoch {epoch}", lambda key, x: augment.alternating_flip(key, {**x, "index": 1, "epoch": epoch}))


def mixed(fn: Callable, alpha: float) -> Cell:
    """Return the cell of a function of a batch: of its first image, whose share of the label is in the example."""

    def mix(key: jax.Array, example: Example) -> Example:
        batch = {"image": example["others"].at[0].set(example["image"]), "label": jnp.arange(OTHERS + 1)}
        both = fn(key, batch, alpha=alpha, classes=OTHERS + 1)
        return {"image": both["image"][0], "share": both["label"][0, 0]}

    return Cell(f"α {alpha:g}", mix)


def view(caption: str, fn: Callable[[jax.Array], jax.Array]) -> Cell:
    return Cell(caption, lambda key, example: {**example, "image": fn(example["image"])})


STEPS = (
    partial(augment.flip, p=1.0),
    partial(augment.rotate, degrees=20.0),
    partial(augment.crop, padding=8),
    partial(augment.brightness, delta=(0.2, 0.2)),
    partial(augment.cutout, size=20),
)

GEOMETRY = {
    "flip": draws(augment.flip),
    "vertical_flip": draws(augment.vertical_flip),
    "alternating_flip": [turns(epoch) for epoch in range(COLUMNS)],
    "shift": rising(augment.shift, "max_shift", 4, 8, 16, 24, 32, unit=" px"),
    "crop": rising(augment.crop, "padding", 2, 4, 8, 16, 24, unit=" px"),
    "random_resized_crop": exactly(augment.random_resized_crop, "area", 0.9, 0.6, 0.4, 0.2, 0.1, unit=" area"),
    "rotate": exactly(augment.rotate, "degrees", 5, 15, 30, 60, 120, unit="°"),
    "scale": exactly(augment.scale, "factor", 0.5, 0.75, 1.25, 1.5, 2, unit="×"),
    "shear": exactly(augment.shear, "degrees", 5, 10, 20, 30, 45, unit="°"),
    "affine": [affine(step) for step in range(1, COLUMNS + 1)],
    "perspective": rising(augment.perspective, "distortion_scale", 0.1, 0.2, 0.35, 0.5, 0.65),
    "elastic": rising(augment.elastic, "alpha", 20.0, 50.0, 100.0, 150.0, 200.0, unit=" px"),
}
POLICIES = {
    "compose": [Cell(f"{n} of {COLUMNS}", augment.compose(*STEPS[:n])) for n in range(1, COLUMNS + 1)],
    "choose_one": draws(augment.choose_one(*STEPS)),
    "apply_with": draws(augment.apply_with(partial(augment.solarize, threshold=(0.5, 0.5)), 0.5)),
    "rand_augment": rising(augment.rand_augment, "magnitude", 3, 9, 15, 21, 30),
    "trivial_augment": draws(augment.trivial_augment),
    "augmix": rising(augment.augmix, "severity", 1, 3, 5, 8, 10),
}
VIEWS = {
    "mirrored": [view("", augment.mirrored)],
    "shifted": [
        view(f"{down}, {right} px", partial(augment.shifted, down=down, right=right))
        for down, right in ((4, 0), (0, 4), (-4, 0), (0, -4), (12, 12))
    ],
}


def families(example: Example) -> dict[str, dict[str, list[Cell]]]:
    """Return all cells by family and operation; the principal components are those of the example's colours."""
    values, vectors = augment.principal_components(np.asarray(example["others"]))
    colour = {
        "brightness": exactly(augment.brightness, "delta", -0.4, -0.2, 0.2, 0.4, 0.6),
        "contrast": exactly(augment.contrast, "factor", 0, 0.5, 1.5, 2, 4, unit="×"),
        "saturation": exactly(augment.saturation, "factor", 0, 0.5, 1.5, 2, 4, unit="×"),
        "hue": exactly(augment.hue, "delta", 0.1, 0.2, 0.3, 0.4, 0.5, unit=" turn"),
        "gamma": exactly(augment.gamma, "exponent", 0.3, 0.6, 1.5, 2.5, 4),
        "channel_shuffle": draws(augment.channel_shuffle),
        "grayscale": draws(augment.grayscale, p=0.5),
        "colour_cast": rising(augment.colour_cast, "delta", 0.08, 0.2, 0.3, 0.45, 0.6, p=1.0),
        "pca_lighting": rising(
            augment.pca_lighting, "std", 0.25, 0.5, 1.0, 2.0, 4.0, eigenvalues=values, eigenvectors=vectors
        ),
        "solarize": exactly(augment.solarize, "threshold", 0.9, 0.7, 0.5, 0.3, 0.1),
        "posterize": rising(augment.posterize, "bits", 5, 4, 3, 2, 1, unit=" bit"),
        "blur": exactly(augment.blur, "sigma", 0.5, 1, 1.5, 2, 3, unit=" px"),
        "sharpen": exactly(augment.sharpen, "factor", 0, 2, 4, 8, 16, unit="×"),
        "noise": rising(augment.noise, "std", 0.02, 0.05, 0.1, 0.2, 0.4),
        "jpeg": exactly(augment.jpeg, "quality", 75, 50, 25, 10, 3),
    }
    erasing = {
        "cutout": rising(augment.cutout, "size", 8, 16, 24, 32, 40, unit=" px"),
        "random_erasing": exactly(
            augment.random_erasing, "area", 0.02, 0.05, 0.1, 0.2, 0.33, unit=" area", p=1.0, fill="random"
        ),
        "grid_mask": rising(augment.grid_mask, "ratio", 0.8, 0.7, 0.6, 0.5, 0.4, period=(16, 16)),
    }
    mixing = {
        "mixup": [mixed(augment.mixup, alpha) for alpha in (0.1, 0.3, 1.0, 3.0, 10.0)],
        "cutmix": [mixed(augment.cutmix, alpha) for alpha in (0.1, 0.3, 1.0, 3.0, 10.0)],
    }
    return {
        "Geometry": GEOMETRY,
        "Colour": colour,
        "Erasing and mixing": erasing | mixing,
        "Policies": POLICIES,
        "Views for test_time": VIEWS,
    }


def scene(seed: int) -> Example:
    """Return a scene with all its truth, and others to mix it with; keypoints are the outermost pixels of object 1."""
    scenes = data.Scenes(size=64, objects=(3, 3), noise=0.0).batch(jax.random.key(seed), range(OTHERS + 1))
    example = {name: scenes[name][0] for name in ("image", "object_mask", "instance_mask", "boxes")}
    rows, columns = np.nonzero(np.asarray(example["instance_mask"]) == 1)
    outermost = [columns.argmin(), columns.argmax(), rows.argmin(), rows.argmax()]
    points = np.stack([columns, rows], 1)[outermost] + 0.5
    return {**example, "keypoints": jnp.asarray(points, jnp.float32), "others": scenes["image"]}


def apply(cell: Cell, key: jax.Array, example: Example) -> Example:
    return cell.fn(jax.random.fold_in(key, cell.draw), example)


def sections(key: jax.Array, example: Example, columns: int) -> Iterator[report.Section]:
    """Yield a section for each family, its pictures with the original and `columns` cells a row."""
    for title, rows in families(example).items():
        shown, captions = {}, {}
        for name, cells in rows.items():
            chosen = cells[-columns:]
            made = [apply(cell, key, example) for cell in chosen]
            shares = [f", {float(x['share']):.0%}" if "share" in x else "" for x in made]
            shown[name] = np.stack([example["image"], *(x["image"] for x in made)])
            captions[name] = ["original", *(c.caption + share for c, share in zip(chosen, shares, strict=True))]
        names = list(rows)
        parts = -(-len(names) // ROWS)
        groups = [names[part * len(names) // parts : (part + 1) * len(names) // parts] for part in range(parts)]
        pictures = [
            report.Picture(
                report.image_rows({n: shown[n] for n in group}, {n: captions[n] for n in group}),
                f"{', '.join(group)}.",
                f"Rows of images: the original, then {', '.join(group)} at rising strengths.",
            )
            for group in groups
        ]
        yield report.Section(title, pictures)


def moved(key: jax.Array, example: Example) -> dict[str, Example]:
    """Return what the operations that move something make of the example."""
    chosen = {name: cells[2] for name, cells in GEOMETRY.items()}
    # Where the draw decides whether anything moves, one that does.
    chosen |= {fn.__name__: Cell("", partial(fn, p=1.0)) for fn in (augment.flip, augment.vertical_flip)}
    chosen |= {"alternating_flip": GEOMETRY["alternating_flip"][0]}
    chosen |= {"compose": POLICIES["compose"][1], "rand_augment": POLICIES["rand_augment"][1]}
    chosen["trivial_augment"] = POLICIES["trivial_augment"][-1]
    known = {name: value for name, value in example.items() if name != "others"}
    return {"original": known, **{name: apply(cell, key, known) for name, cell in chosen.items()}}


def strays(example: Example) -> dict[str, float]:
    """Return by how many pixels the objects stick out of their boxes, and the keypoints lie off object 1, at most.

    Of keypoints at the frame, or beyond, nobody can see where their object is.
    """
    mask = np.asarray(example["instance_mask"])
    outside = 0.0
    for number, (x0, y0, x1, y1) in enumerate(np.asarray(example["boxes"]), start=1):
        rows, columns = np.nonzero(mask == number)
        if rows.size:
            over = (x0 - columns.min(), columns.max() + 1 - x1, y0 - rows.min(), rows.max() + 1 - y1)
            outside = max(outside, *map(float, over))
    rows, columns = np.nonzero(mask == 1)
    points = np.asarray(example["keypoints"])
    seen = points[np.all((points > NEAR) & (points < np.array(mask.shape[::-1]) - NEAR), axis=1)]
    gaps = np.hypot(seen[:, :1] - columns - 0.5, seen[:, 1:] - rows - 0.5)
    off = float(gaps.min(1).max()) if gaps.size else 0.0
    return {"boxes": outside, "keypoints": off}


def left_behind(moved: Mapping[str, Example]) -> list[str]:
    """Return the operations after which something strays further than it may."""
    far = {name: max(strays(example).values()) for name, example in moved.items()}
    return [name for name, stray in far.items() if stray > (BENT if name == "elastic" else NEAR)]


def pictured(examples: Mapping[str, Example]) -> report.Picture:
    shown = [{**x, "mask": x["object_mask"]} for x in examples.values()]
    return report.Picture(
        report.annotated(shown, list(examples), columns=4),
        "What moves the image moves its mask (the rest is veiled), boxes and keypoints (the outermost pixels of the "
        "largest object).",
        "The same scene under each geometric operation, with mask, boxes and keypoints drawn on it.",
    )

"""Do hidden units construct features? Codes for eight inputs, features that part XOR, layers that part classes.

`python -m experiments.hidden_features` looks at what hidden units come to stand for, three times, forty seeds each but
for the last: a net of 8 inputs, 3 hidden units and 8 outputs that repeats its input must find a distributed code, three
units for eight things (Rumelhart et al. 1986; Mitchell 1997, section 4.6.4); a net of 2 hidden units that learns XOR
must find two features in which a line parts it; and of a convolutional net trained on images (five seeds), linear
classifiers on each layer say how separable the classes have become, beside the same net untrained. Its first kernels
are shown. Without Fashion-MNIST (`$JAXCNN_DATA`) the images are the digits. What it promises: most seeds find eight
different codes; no line parts XOR's inputs, and with most seeds one parts its hidden values; with every seed the linear
classifiers are right more often on the last hidden layer than on the pixels, and than on that layer untrained. What
each layer adds, it says. About 2 min on 2 cores.

The small nets learn as the textbook's do, by plain gradient descent from small weights, chosen by other seeds than
those of the run.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.apparatus.image_sets import loaded, some
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.small_nets import head
from experiments.apparatus.statistics import in_points, summary
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, report, training
from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.explain import probes
from jaxcnn.report.canvas import BLUE, INK, MUTED, ORANGE, drawing, figure, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROBED = ("normalize", "pool1", "pool2", "hidden")  # the first are the pixels
EIGHT = np.eye(8, dtype=np.float32)
START = 0.5  # the largest weight of the small nets at the start
XOR = (np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([[0], [1], [1], [0]], np.float32))


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    small_seeds: int = 40  # of the nets for eight inputs and for XOR, 2 or more
    steps: int = 5000  # of their plain gradient descent, on all inputs at once
    learning_rate: float = 1.0
    train_images: int = 4000  # at most, for the convolutional net
    probe_images: int = 2000  # that the linear classifiers learn from, and as many to measure on
    seeds: int = 5  # of the convolutional net, 2 or more
    epochs: int = 3  # of its training


class Small(NamedTuple):
    """Of small nets, a seed each: hidden values (seeds, inputs, units), and whether every output is right."""

    hidden: np.ndarray
    learned: np.ndarray


def main(config: Config) -> Result:
    if config.quick:
        few = {"dataset": "digits", "small_seeds": 3, "train_images": 400, "probe_images": 150, "seeds": 2}
        config = dataclasses.replace(config, epochs=2, **few)
    where = "hidden_features"
    fewest = min(config.seeds, config.small_seeds)
    expect(fewest >= 2, where, "at least 2 seeds", fewest, "One has no standard deviation.")
    expect(config.steps >= 1, where, "at least 1 step", config.steps, "5000 are the default.")
    code_key, xor_key, key = jax.random.split(jax.random.key(config.seed), 3)
    eight = small(code_key, EIGHT, EIGHT, 3, config)
    xor = small(xor_key, *XOR, 2, config)
    codes = np.array([len({tuple(row) for row in (one > 0.5).tolist()}) for one in eight.hidden])
    parted = np.array([separable(one, XOR[1][:, 0]) for one in xor.hidden])
    trained, untrained, kernels = layer_by_layer(key, config)
    rises = [summary(rise) for rise in np.diff(trained, axis=1).T.tolist()]
    over_pixels = trained[:, -1] - trained[:, 0]
    over_untrained = trained[:, -1] - untrained[:, -1]
    figures = {
        "different_codes_of_eight": codes.tolist(),
        "eight_learned": int(eight.learned.sum()),
        "xor_learned": int(xor.learned.sum()),
        "xor_parted": int(parted.sum()),
        "probe": {
            name: {layer: summary(values[:, at].tolist()) for at, layer in enumerate(PROBED)}
            for name, values in (("trained", trained), ("untrained", untrained))
        },
        "rise_to": dict(zip(PROBED[1:], rises, strict=True)),
        "over_pixels": summary(over_pixels.tolist()),
        "over_untrained": summary(over_untrained.tolist()),
    }
    promises = {
        "most seeds find eight different codes of three units": bool((codes == 8).mean() > 0.5),
        "XOR: with most seeds a line parts the hidden values": bool(parted.mean() > 0.5),
        "the last hidden layer parts the classes better than pixels, with every seed": bool((over_pixels > 0).all()),
        "and better than untrained, with every seed": bool((over_untrained > 0).all()),
    }
    facts = {"XOR: no line parts the inputs": not separable(XOR[0], XOR[1][:, 0])}
    steps = ", ".join(
        f"{layer} {100 * rise['mean']:+.1f} ({in_points(rise)})" for layer, rise in figures["rise_to"].items()
    )
    answer = (
        f"8-3-8: {(codes == 8).sum()} of {config.small_seeds} seeds give the eight inputs different codes of three "
        f"bits. XOR: {xor.learned.sum()} learn it, and with {parted.sum()} a line parts what the hidden units say. "
        f"Linear classifiers are right in {100 * trained[:, 0].mean():.1f} % on pixels and "
        f"{100 * trained[:, -1].mean():.1f} % on the last hidden layer ({100 * untrained[:, -1].mean():.1f} % "
        f"untrained); points from layer to layer: {steps}."
    )
    judgement = judge(config, answer, promises, facts)
    headline = [
        report.Number("8-3-8", f"{(codes == 8).sum()} of {config.small_seeds}", "seeds with eight codes"),
        report.Number("pixels to hidden", f"{100 * over_pixels.mean():+.1f}", "points of a linear classifier"),
    ]
    lines = {"trained": 100 * trained, "untrained": 100 * untrained}
    return Result(figures, sections(config, eight, xor, lines, kernels), *judgement, headline)


def small(key: jax.Array, x: np.ndarray, y: np.ndarray, units: int, config: Config) -> Small:
    """Return what nets of one hidden layer of sigmoid units learn, all seeds as one program."""
    draw = partial(jax.random.uniform, minval=-START, maxval=START)

    def outputs(params, x):
        hidden = F.sigmoid(x @ params["in"] + params["in_bias"])
        return F.sigmoid(hidden @ params["out"] + params["out_bias"]), hidden

    @jax.jit
    @jax.vmap
    def learn(key):
        first, second = jax.random.split(key)
        params = {
            "in": draw(first, (x.shape[1], units)),
            "in_bias": jnp.zeros(units),
            "out": draw(second, (units, y.shape[1])),
            "out_bias": jnp.zeros(y.shape[1]),
        }

        def step(params, _):
            gradient = jax.grad(lambda p: jnp.sum((outputs(p, x)[0] - y) ** 2))(params)
            return jax.tree.map(lambda value, slope: value - config.learning_rate * slope, params, gradient), None

        params, _ = jax.lax.scan(step, params, length=config.steps)
        given, hidden = outputs(params, x)
        return hidden, ((given > 0.5) == (y > 0.5)).all()

    return Small(*map(np.asarray, learn(jax.random.split(key, config.small_seeds))))


def separable(points: np.ndarray, label: np.ndarray) -> bool:
    """Return whether a line parts points of two classes: whether a linear program has a solution."""
    from scipy.optimize import linprog

    signs = np.where(label > 0.5, 1.0, -1.0)[:, None]
    rows = -signs * np.concatenate([points, np.ones((len(points), 1))], axis=1)
    return bool(linprog(np.zeros(rows.shape[1]), A_ub=rows, b_ub=-np.ones(len(rows)), bounds=(None, None)).success)


def net(info: data.DatasetInfo) -> layers.Sequential:
    """Return the convolutional net whose layers are probed."""
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        conv1=layers.Conv(16, 5),
        act1=F.relu,
        pool1=layers.MaxPool(2),
        conv2=layers.Conv(32, 3),
        act2=F.relu,
        pool2=layers.MaxPool(2),
        flatten=layers.Flatten(),
        dense=layers.Dense(64),
        hidden=F.relu,
        head=head(info),
    )


def layer_by_layer(key: jax.Array, config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the accuracy of a linear classifier on each layer, trained and untrained (seeds, layers), and kernels."""
    train_set, test_set = loaded(config.dataset, "fashion_mnist", "digits")
    images_key, probe_key, test_key, *keys = jax.random.split(key, 3 + config.seeds)
    train_set = some(train_set, config.train_images, images_key)
    probe_set, test_set = some(train_set, config.probe_images, probe_key), some(test_set, config.probe_images, test_key)
    model = net(train_set.info)
    found: tuple[list[list[float]], list[list[float]]] = ([], [])
    kernels = np.zeros(())
    for number, seed_key in enumerate(keys, start=1):
        init_key, fit_key = jax.random.split(seed_key)
        first = model.init(init_key, train_set.spec)
        ended = training.fit(
            model, train_set, start=first, epochs=config.epochs, batch_size=50, key=fit_key,
            optimizer=optax.adam(1e-3),
        ).state  # fmt: skip
        for rows, (params, state) in zip(found, ((ended.params, ended.model_state), first), strict=True):
            fitted = probes.linear_probes(model, params, state, probe_set, test_set, PROBED)
            rows.append([float(fitted[name].accuracy) for name in PROBED])
        if number == 1:
            kernels = np.asarray(ended.params["conv1"]["kernel"])
        told = ", ".join(f"{name} {100 * a:.1f}" for name, a in zip(PROBED, found[0][-1], strict=True))
        console.print(f"seed {number} of {config.seeds}: {told} % right", markup=False)
    return np.array(found[0]), np.array(found[1]), kernels


def sections(
    config: Config, eight: Small, xor: Small, lines: Mapping[str, np.ndarray], kernels: np.ndarray,
) -> list[report.Section]:  # fmt: skip
    """Return the pictures."""
    rows = [
        {"input": "".join(str(int(v)) for v in EIGHT[at])}
        | {f"unit {unit + 1}": f"{value:.2f}" for unit, value in enumerate(one)}
        | {"code": "".join("1" if value > 0.5 else "0" for value in one)}
        for at, one in enumerate(eight.hidden[int(eight.learned.argmax())])
    ]
    first = int(xor.learned.argmax())
    names = ("pixels", "after pooling 1", "after pooling 2", "last hidden layer")
    places = list(range(len(PROBED)))
    layer = f"layer: {', '.join(f'{a} {b}' for a, b in zip(places, names, strict=True))}"
    return [
        report.Section(
            "Eight inputs, three units",
            [report.Table(rows, "What the hidden units of one seed say of each input, and the code that this is.")],
        ),
        report.Section(
            "XOR",
            [
                report.Picture(
                    xor_picture(xor.hidden[first]),
                    f"The four inputs, and what two hidden units of one seed make of them: a line "
                    f"{'parts' if separable(xor.hidden[first], XOR[1][:, 0]) else 'does not part'} the classes there.",
                    "Four points at the corners of a square, and where the hidden units put them.",
                )
            ],
        ),
        report.Section(
            "Layer by layer",
            [
                report.Picture(
                    spread_lines("right, %", layer, places, lines, ticks=True),
                    f"Accuracy of a linear classifier on what each layer gives; mean and standard deviation of "
                    f"{config.seeds} seeds.",
                    "Lines of accuracy against the layer, of the trained and of the untrained net.",
                ),
                report.Picture(
                    report.filters(kernels),
                    "The first kernels of one seed, trained.",
                    "Small tiles of weights.",
                ),
            ],
        ),
    ]  # fmt: skip


@drawing
def xor_picture(hidden: np.ndarray) -> "Figure":
    """Return the inputs of XOR beside the hidden values of them."""
    blank = figure(2.6)
    axes = blank.subplots(1, 2)
    for panel_axes, points, title in zip(axes, (XOR[0], hidden), ("inputs", "hidden units"), strict=True):
        panel(panel_axes, title, grid="")
        for label, mark, colour in ((0, "o", BLUE), (1, "s", ORANGE)):
            panel_axes.plot(*points[XOR[1][:, 0] == label].T, mark, color=colour, markersize=8, linestyle="none")
        for (x, y), name in zip(points, ("00", "01", "10", "11"), strict=True):
            panel_axes.annotate(name, (x, y), (7, 5), textcoords="offset points", **style(INK))
        panel_axes.set(xlim=(-0.2, 1.3), ylim=(-0.2, 1.3), aspect="equal", xticks=[0, 1], yticks=[0, 1])
        panel_axes.tick_params(labelcolor=MUTED)
    return blank


if __name__ == "__main__":
    run(main, Config)

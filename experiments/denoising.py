"""How much of noise can be taken away? A U-Net from images to images, beside the filters that one has without it.

`python -m experiments.denoising` adds Gaussian noise to images of CIFAR-10, drawn anew in every step from a key, of a
strength that is drawn too and that nobody tells the net. A small U-Net learns to subtract it (Ronneberger et al. 2015;
Zhang et al. 2017), three seeds with other images, noise and weights. On test images it is compared with a Gaussian, a
median and a Wiener filter, each of the width that does best on training images at that strength, the last told the
strength besides: peak signal-to-noise ratio, worst images first. One strength is beyond all that the net has seen.
Without CIFAR-10 (`$JAXCNN_DATA`) it takes scenes. What it promises: at the strengths seen in training the net is better
than the best filter by 1 dB, with every seed. About 3 min on 2 cores.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.apparatus.image_sets import few_scenes, loaded, some
from experiments.apparatus.lines import spread_lines
from experiments.apparatus.statistics import mean_sd, summary
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, models, report, training
from jaxcnn.checking import expect
from jaxcnn.layers import LayerScale, Normalize, Residual, Sequential

NOISY, NET = "noisy", "U-Net"
GAUSSIAN, MEDIAN, WIENER = "Gaussian", "median", "Wiener"
FILTERS = (GAUSSIAN, MEDIAN, WIENER)
WAYS = (NOISY, *FILTERS, NET)
WIDTHS: Mapping[str, Sequence[float]] = {
    GAUSSIAN: (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5),  # standard deviation, in pixels
    MEDIAN: (3, 5, 7),  # side of the window, in pixels
    WIENER: (3, 5, 7),  # likewise
}
PROMISED = 1.0  # dB
SHOWN = 6  # images of a picture
FULL = 255  # the unit of strengths: a step of 8 bits


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for cifar10 where it is, else scenes
    train_images: int = 4000  # of each seed, at most
    test_images: int = 200  # of each seed, at most
    strengths: tuple[float, ...] = (15, 25, 50, 75)  # standard deviations of the noise in tests, of 255, rising
    largest: float = 55  # that is drawn in training, of 255; the smallest is 0
    seeds: int = 3  # other images, noise and weights; 2 or more
    epochs: int = 8  # passes through the training images
    batch_size: int = 32  # images per step
    learning_rate: float = 4e-3  # AdamW's, after a warm-up, falling to 0 along half a cosine
    width: int = 16  # maps at the image's own size
    depth: int = 2  # how many times the image is halved


class Restored(NamedTuple):
    """Of one seed: clean images (N, H, W, C), and by strength and way what is made of them, clipped to [0, 1]."""

    clean: np.ndarray
    made: dict[float, dict[str, np.ndarray]]

    def ratios(self, strength: float, way: str) -> np.ndarray:
        """Return the peak signal-to-noise ratio of each image, dB."""
        return np.asarray(signal_to_noise(self.made[strength][way], self.clean))


def main(config: Config) -> Result:
    if config.quick:
        few = {"train_images": 64, "test_images": 16, "strengths": (25, 75), "seeds": 2, "epochs": 2, "width": 4}
        config = dataclasses.replace(config, **few, batch_size=16, depth=1)
    where, rising = "denoising", sorted(set(config.strengths))
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    ok = len(rising) >= 2 and list(config.strengths) == rising and rising[0] > 0
    expect(ok, where, "two rising strengths or more above 0", config.strengths, "Pass 15 25 50, of 255.")
    what = f"a strength that is seen in training, of {config.largest:g} at most"
    expect(rising[0] <= config.largest, where, what, config.strengths, "Nothing is promised of others.")
    if config.quick:
        train_set, test_set = few_scenes(config.train_images, config.test_images)
    else:
        train_set, test_set = loaded(config.dataset, "cifar10", "scenes")
    filter_key, key = jax.random.split(jax.random.key(config.seed))
    widths = best_widths(config, train_set, filter_key)
    found, histories = [], []
    for seed, one_key in enumerate(jax.random.split(key, config.seeds)):
        console.print(f"seed {seed}", markup=False)
        tested, history = measured(config, train_set, test_set, widths, one_key)
        found.append(tested)
        histories.append(history)
    ratios = {
        way: np.array([[one.ratios(s, way).mean() for s in config.strengths] for one in found]) for way in WAYS
    }  # (seeds, strengths)
    best = np.max([ratios[way] for way in FILTERS], axis=0)
    gain = ratios[NET] - best
    by_strength = lambda v: {f"{s:g}": summary(v[:, at].tolist()) for at, s in enumerate(config.strengths)}  # noqa: E731
    figures = {
        "dataset": train_set.info.name,
        "psnr_db": {way: by_strength(values) for way, values in ratios.items()},
        "gain_over_the_best_filter_db": by_strength(gain),
        "widths": {f"{strength:g}": dict(of) for strength, of in widths.items()},
        "history": histories[0],
    }
    seen = [at for at, strength in enumerate(config.strengths) if strength <= config.largest]
    promises = {
        f"{PROMISED:g} dB over the best filter at {config.strengths[at]:g}": bool(gain[:, at].min() >= PROMISED)
        for at in seen
    }
    answer = sentence(config, train_set, ratios, gain)
    judgement = judge(config, answer, promises)
    headline = [
        report.Number(
            f"noise of {strength:g}",
            f"{ratios[NET][:, at].mean():.1f} dB",
            f"{ratios[NOISY][:, at].mean():.1f} noisy, {best[:, at].mean():.1f} by the best filter",
        )
        for at, strength in enumerate(config.strengths)
    ]
    sections = [compared(config, train_set, ratios), shown(config, found[0], histories[0])]
    return Result(figures, sections, *judgement, headline)


def signal_to_noise(made: Any, clean: Any) -> jax.Array:
    """Return the peak signal-to-noise ratio of each image, -10 log10 of its mean squared error, dB: 1 is the peak."""
    error = jnp.mean(jnp.square(jnp.asarray(made) - jnp.asarray(clean)), axis=(-3, -2, -1))
    return -10 * jnp.log10(jnp.maximum(error, 1e-10))


def ratio_of_batch(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Return the trainer's metric: the ratio of each image, dB."""
    return signal_to_noise(jnp.clip(outputs, 0, 1), batch["clean"])


def error_of_batch(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Return the trainer's loss: the mean squared error of each image."""
    return jnp.mean(jnp.square(outputs - batch["clean"]), axis=(-3, -2, -1))


def with_noise(largest: float) -> Callable[[jax.Array, Any], Any]:
    """Return the trainer's augmentation: noise of strength uniform on 0..largest, and the image itself as "clean"."""

    def noisy(key: jax.Array, batch: Any) -> Any:
        strength_key, noise_key = jax.random.split(key)
        clean = batch["image"]
        strength = jax.random.uniform(strength_key, (len(clean), 1, 1, 1), clean.dtype, maxval=largest)
        return {**batch, "clean": clean, "image": clean + strength * jax.random.normal(noise_key, clean.shape)}

    return noisy


def denoiser(config: Config, info: data.DatasetInfo) -> Residual:
    """Return the net: what a U-Net sees as noise is added to the image, nothing at first."""
    unet = models.unet(len(info.mean), width=config.width, depth=config.depth, batch_norm=True, dropout=0.0)
    return Residual(Sequential(normalize=Normalize(info.mean, info.std), unet=unet, scale=LayerScale()))


def measured(
    config: Config,
    train_set: data.Dataset,
    test_set: data.Dataset,
    widths: Mapping[float, Mapping[str, float]],
    key: jax.Array,
) -> tuple[Restored, list[dict[str, Any]]]:
    """Return what a seed's net and the filters make of its noisy test images, and the history of its training."""
    train_key, test_key, fit_key, noise_key = jax.random.split(key, 4)
    train, test = some(train_set, config.train_images, train_key), some(test_set, config.test_images, test_key)
    net = denoiser(config, train_set.info)
    steps = config.epochs * (train.size // config.batch_size)
    rate = training.warmup_cosine(config.learning_rate, steps)
    with ProgressBar(console) as bar:
        result = training.fit(
            net, data.from_arrays(train["image"], name=train.info.name), loss=error_of_batch,
            metrics={"ratio": ratio_of_batch}, augment=with_noise(config.largest / FULL), epochs=config.epochs,
            batch_size=config.batch_size, key=fit_key, optimizer=optax.adamw(rate, weight_decay=1e-4), callbacks=[bar],
        )  # fmt: skip
    state, clean = result.state, np.asarray(data.to_float(test["image"]))
    made = {}
    for strength, one_key in zip(config.strengths, jax.random.split(noise_key, len(config.strengths)), strict=True):
        noisy = disturbed(one_key, clean, strength)
        of = {way: filtered(way, noisy, widths[strength][way], strength) for way in FILTERS}
        of[NET] = training.predict(net, state.params, state.model_state, {"image": noisy})
        made[strength] = {way: np.clip(image, 0, 1) for way, image in {NOISY: noisy, **of}.items()}
    return Restored(clean, made), result.history


def disturbed(key: jax.Array, clean: np.ndarray, strength: float) -> np.ndarray:
    """Return images with noise of a strength of 255."""
    return clean + np.asarray(strength / FULL * jax.random.normal(key, clean.shape))


def filtered(way: str, noisy: np.ndarray, width: float, strength: float) -> np.ndarray:
    """Return images that went through a filter of a width; the Wiener filter knows the noise's strength, of 255.

    Source: Lee 1980 (digital image enhancement by use of local statistics), of the mean and variance around each pixel;
    inside the border it agrees with `scipy.signal.wiener`, which takes what lies outside for black.
    """
    from scipy import ndimage

    if way == GAUSSIAN:
        return ndimage.gaussian_filter(noisy, (0, width, width, 0))
    size = (1, int(width), int(width), 1)
    if way == MEDIAN:
        return ndimage.median_filter(noisy, size)
    mean, power = ndimage.uniform_filter(noisy, size), (strength / FULL) ** 2
    variance = ndimage.uniform_filter(noisy**2, size) - mean**2
    return mean + np.maximum(variance - power, 0) / np.maximum(variance, power) * (noisy - mean)


def best_widths(config: Config, train_set: data.Dataset, key: jax.Array) -> dict[float, dict[str, float]]:
    """Return the width of each filter that does best on noisy training images, by strength."""
    choice_key, noise_key = jax.random.split(key)
    clean = np.asarray(data.to_float(some(train_set, config.test_images, choice_key)["image"]))
    chosen: dict[float, dict[str, float]] = {}
    for strength, one_key in zip(config.strengths, jax.random.split(noise_key, len(config.strengths)), strict=True):
        noisy, chosen[strength] = disturbed(one_key, clean, strength), {}
        for way, widths in WIDTHS.items():
            made = [np.clip(filtered(way, noisy, width, strength), 0, 1) for width in widths]
            chosen[strength][way] = widths[int(np.argmax([signal_to_noise(m, clean).mean() for m in made]))]
        told = ", ".join(f"{way} {width:g}" for way, width in chosen[strength].items())
        console.print(f"noise of {strength:g}, widths that do best: {told}", markup=False)
    return chosen


def sentence(config: Config, dataset: data.Dataset, ratios: Mapping[str, np.ndarray], gain: np.ndarray) -> str:
    """Return the answer."""
    parts = []
    for at, strength in enumerate(config.strengths):
        of = {way: ratios[way][:, at].mean() for way in FILTERS}
        best, beyond = max(of, key=lambda way, of=of: of[way]), strength > config.largest
        parts.append(
            f"at {strength:g}{' (more than it has seen)' if beyond else ''} {mean_sd(ratios[NET][:, at], 2)} dB, noisy "
            f"{ratios[NOISY][:, at].mean():.2f}, {best} filter {of[best]:.2f}"
        )
    return (
        f"{dataset.info.name}, {config.seeds} seeds, noise of standard deviations of 255: the U-Net gives "
        f"{'; '.join(parts)}. It gains {gain.min():+.2f} dB at least over the best filter."
    )


def compared(config: Config, dataset: data.Dataset, ratios: Mapping[str, np.ndarray]) -> report.Section:
    """Return how the ways compare."""
    rows = [
        {"noise, of 255": f"{s:g}", **{way: mean_sd(ratios[way][:, at], 2) for way in WAYS}}
        for at, s in enumerate(config.strengths)
    ]
    marks = {"largest in training": config.largest} if config.largest < config.strengths[-1] else {}
    return report.Section(
        "Net and filters",
        [
            report.Picture(
                spread_lines(
                    "peak signal-to-noise ratio, dB", "standard deviation of the noise, of 255", config.strengths,
                    {way: ratios[way] for way in reversed(WAYS)}, ticks=True, marks=marks,
                ),
                f"{dataset.info.name}: mean of test images and {config.seeds} seeds, a band of one standard deviation "
                "of these; higher is better, 10 dB are a tenth of the squared error. Filters have the width that "
                "does best at that strength.",
                "Lines of the ratio against the strength of the noise, falling, one for each filter and the net.",
            ),
            report.Table(rows, "Peak signal-to-noise ratio, dB: mean ± standard deviation of the seeds."),
        ],
    )  # fmt: skip


def shown(config: Config, tested: Restored, history: Sequence[Mapping[str, Any]]) -> report.Section:
    """Return images before and after, worst first."""
    seen = [strength for strength in config.strengths if strength <= config.largest]
    middle = seen[len(seen) // 2]
    order = np.argsort(tested.ratios(middle, NET), kind="stable")
    worst = {middle: "that the net restores worst"} | {config.strengths[-1]: "restored worst at the largest strength"}
    pictures = [before_after(tested, s, np.argsort(tested.ratios(s, NET))[:SHOWN], what) for s, what in worst.items()]
    first = before_after(tested, middle, np.sort(order[len(order) // 2 :][:SHOWN]), "of middling quality")
    return report.Section(
        "Images",
        [
            *pictures[:1],
            first,
            *pictures[1:],
            report.Picture(
                report.curves(history), "Loss and ratio (dB) by epoch, first seed.", "Curves of loss and ratio."
            ),
        ],
    )


def before_after(tested: Restored, strength: float, chosen: np.ndarray, what: str) -> report.Picture:
    """Return a picture of some test images: clean, noisy, by the best filter, by the net."""
    best = max(FILTERS, key=lambda way: tested.ratios(strength, way).mean())
    rows = {"clean": tested.clean[chosen]} | {way: tested.made[strength][way][chosen] for way in (NOISY, best, NET)}
    captions = {name: [""] * len(chosen) for name in rows} | {
        way: [f"{ratio:.1f} dB" for ratio in tested.ratios(strength, way)[chosen]] for way in (NOISY, best, NET)
    }
    return report.Picture(
        report.image_rows(rows, captions),
        f"Test images {what}, first seed, noise of {strength:g}: clean, noisy, through the {best} filter and through "
        "the net, with the peak signal-to-noise ratio.",
        "Rows of the same images: clean, with noise, smoothed by a filter, and restored by the net.",
    )


if __name__ == "__main__":
    run(main, Config)

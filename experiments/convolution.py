"""What is a convolution? A weighted moving sum: fixed kernels on a photograph, and `conv` against sums by hand.

`python -m experiments.convolution` moves kernels that people wrote down over a photograph (box, Gaussian, sharpening,
Sobel, Laplacian, Gabor), and checks with numpy loops what `functional.conv` does: each output is the sum of the
products of kernel and window, over all input channels, plus a bias, for each output map; nets correlate, and a
convolution in the sense of signal processing is the same with the kernel turned round; a moved image gives moved maps.
What it promises: equality with the loops and with scipy to 1e-5, and of maps moved with the image exactly, away from
its edges, where strides divide the shift; with a stride of 2 and an odd shift they differ. Some seconds on 2 cores.
"""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import filters, report
from jaxcnn import functional as F
from jaxcnn.checking import expect

NEAR = 1e-5
BORDER = 8  # pixels of an output's edge that depend on what lies beyond the image
SHARPEN = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32)[..., None]


@dataclass(frozen=True)
class Config(Common):
    size: int = 160  # pixels of the photograph's shorter side, as it is shown
    by_hand: int = 24  # pixels of a side of the image that loops in Python work on
    maps: int = 4  # output maps by hand
    shift: int = 2  # pixels, even, by which an image is moved


def main(config: Config) -> Result:
    if config.quick:
        config = dataclasses.replace(config, size=64, by_hand=10)
    where = "convolution"
    expect(config.size >= 34, where, "at least 34 pixels", config.size, "160 are the default.")
    expect(3 <= config.by_hand <= config.size, where, f"3 to {config.size} pixels by hand", config.by_hand, "Pass 24.")
    ok = 2 <= config.shift <= 8 and config.shift % 2 == 0
    expect(ok, where, "a shift of 2, 4, 6 or 8 pixels", config.shift, "Pass 2.")
    photo = photograph(config.size)
    kernel = jax.random.normal(jax.random.key(config.seed), (3, 3, 3, config.maps))
    off = {"loops": by_loops(photo[: config.by_hand, : config.by_hand], kernel), **against_scipy(photo)}
    moved = {f"stride {stride}, shift {shift}": left_behind(photo, kernel, shift, stride)
             for stride, shift in ((1, config.shift), (1, 1), (2, config.shift), (2, 1))}  # fmt: skip
    figures = {"difference": off, "left_behind": moved}
    kept = {name: value for name, value in moved.items() if name != "stride 2, shift 1"}
    promises = {
        f"conv equals the loops over windows, channels and maps to {NEAR:g}": off["loops"] <= NEAR,
        f"conv equals scipy's correlation to {NEAR:g}": off["correlation"] <= NEAR,
        f"conv with the turned kernel equals scipy's convolution to {NEAR:g}": off["convolution"] <= NEAR,
        "maps move with the image where the stride divides the shift": max(kept.values()) <= NEAR,
        "with a stride of 2 and a shift of 1 they do not": moved["stride 2, shift 1"] > 0.01,
    }
    answer = (
        f"conv differs from sums by hand by {off['loops']:.0e}, from scipy's correlation by {off['correlation']:.0e}, "
        f"and with the kernel turned from its convolution by {off['convolution']:.0e}. An image moved by "
        f"{config.shift} pixels gives the same maps, moved (off by {max(kept.values()):.0e}); with a stride of 2 and a "
        f"shift of 1 they differ by {moved['stride 2, shift 1']:.2f} of the largest value."
    )
    judgement = judge(config, answer, facts=promises)
    return Result(figures, sections(photo), *judgement)


def photograph(size: int) -> np.ndarray:
    """Return the middle of a photograph of a temple that scikit-learn carries, (size, size, 3) in [0, 1]."""
    from sklearn.datasets import load_sample_image

    image = jnp.asarray(load_sample_image("china.jpg"), jnp.float32) / 255
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return np.asarray(jnp.clip(jax.image.resize(square, (size, size, 3), "linear"), 0, 1))


def by_loops(image: np.ndarray, kernel: jax.Array) -> float:
    """Return how far `conv` is from a loop over windows: the largest difference by the largest value."""
    weights = np.asarray(kernel, np.float64)
    kh, kw, _, maps = weights.shape
    height, width = (n - k + 1 for n, k in zip(image.shape[:2], (kh, kw), strict=True))
    bias = np.arange(maps) / maps
    out = np.empty((height, width, maps))
    for row in range(height):
        for column in range(width):
            window = image[row : row + kh, column : column + kw]  # (kh, kw, channels)
            for at in range(maps):
                out[row, column, at] = (window * weights[..., at]).sum() + bias[at]
    found = F.conv(jnp.asarray(image), kernel, jnp.asarray(bias, jnp.float32), padding="VALID")
    return float(np.abs(np.asarray(found) - out).max() / np.abs(out).max())


def against_scipy(photo: np.ndarray) -> dict[str, float]:
    """Return how far `conv` with an uneven kernel is from scipy's correlation, and, turned, from its convolution."""
    from scipy.signal import convolve2d, correlate2d

    grey = photo.mean(axis=-1)
    kernel = np.array([[1, 2, 0], [0, -1, 3], [-2, 0, 1]], np.float32)
    found = {}
    for name, fn, weights in (("correlation", correlate2d, kernel), ("convolution", convolve2d, kernel[::-1, ::-1])):
        theirs = fn(grey, kernel, mode="valid")
        ours = F.conv(jnp.asarray(grey)[..., None], jnp.asarray(weights)[..., None, None], padding="VALID")[..., 0]
        found[name] = float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())
    return found


def left_behind(photo: np.ndarray, kernel: jax.Array, shift: int, stride: int) -> float:
    """Return how far the maps of a moved image are from the moved maps, inside, by their largest value."""
    maps = np.asarray(F.conv(jnp.asarray(photo), kernel, stride=stride))
    of_moved = np.asarray(F.conv(jnp.asarray(np.roll(photo, shift, (0, 1))), kernel, stride=stride))
    inside = slice(BORDER, -BORDER)
    moved = np.roll(maps, shift // stride, (0, 1))
    return float(np.abs(of_moved - moved)[inside, inside].max() / np.abs(maps).max())


def banks() -> dict[str, jax.Array]:
    """Return kernels that are written down, (kh, kw, n) each."""
    return {
        "box, 7x7": filters.Box(7)(),
        "Gaussian, sigma 2": filters.Gaussian(13, 2.0)(),
        "sharpening": jnp.asarray(SHARPEN),
        "Sobel": filters.Sobel()(),
        "Laplacian": filters.Laplacian()(),
        "Gabor": filters.Gabor(11)(),
    }


def sections(photo: np.ndarray) -> list[report.Section]:
    """Return the pictures."""
    grey = jnp.asarray(photo.mean(axis=-1, keepdims=True))
    shown = {name: np.asarray(F.moving_sum(grey, bank))[..., :4] for name, bank in banks().items()}
    smooth = {"the photograph": photo.mean(axis=-1)[None]}
    smooth |= {name: np.clip(shown[name][..., 0], 0, 1)[None] for name in list(shown)[:3]}
    row = np.concatenate(list(smooth.values()))
    signed = {
        name: 0.5 + 0.5 * np.moveaxis(maps, -1, 0) / np.abs(maps).max()
        for name, maps in list(shown.items())[3:]
    }  # fmt: skip
    weights = {name: np.moveaxis(np.asarray(bank)[..., :4], -1, 0) for name, bank in banks().items() if name in signed}
    weights = {name: 0.5 + 0.5 * bank / np.abs(bank).max() for name, bank in weights.items()}
    rows = {}
    for name, maps in signed.items():
        rows[f"{name}: kernels"] = weights[name]
        rows[f"{name}: what they give"] = maps
    return [
        report.Section(
            "Kernels that people wrote down",
            [
                report.Picture(
                    report.image_grid(row, list(smooth), columns=4),
                    "Sums of neighbours: with equal weights, with weights of a bell, and with more than the whole of "
                    "the pixel itself less its neighbours.",
                    "A photograph, blurred twice, and sharpened.",
                ),
                report.Picture(
                    report.image_rows(rows),
                    "Differences of neighbours: bright where the kernel fits, grey where there is nothing, dark where "
                    "its opposite fits. Below each kernel what it gives.",
                    "Edges of a photograph in several directions, beside the kernels that find them.",
                ),
            ],
        ),
    ]


if __name__ == "__main__":
    run(main, Config)

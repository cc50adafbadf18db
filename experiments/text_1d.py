"""Are convolutions for images alone? One-dimensional ones over characters, against a bag of characters.

`python -m experiments.text_1d` cuts the source files of eight packages of Python's standard library into pieces of 128
characters and asks which package a piece is from; training and test pieces are of different files. A net of two
one-dimensional convolutions (Zhang, Zhao, LeCun 2015) and one that knows only how often each character occurs learn
from the same pieces, five seeds each: other pieces, other weights. Then the characters of each piece are shuffled,
which the bag cannot notice; the convolutions are tested on such pieces as they are, and learn anew from such pieces,
equally long. What it promises: convolutions are right more often than the bag, beyond the 95 % interval; of shuffled
pieces, having learned from shuffled ones, they are not: the interval ends at 0 or below. About 2 min on 2 cores.
"""

import dataclasses
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.few_images import accuracies, trained
from experiments.apparatus.small_nets import head
from experiments.apparatus.statistics import in_points, summary
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, layers, report
from jaxcnn import functional as F
from jaxcnn.checking import expect

PACKAGES = ("asyncio", "email", "importlib", "logging", "multiprocessing", "unittest", "urllib", "xml")
# Printable ASCII from 1 on, other letters as question marks; control characters are 0.
FIRST, ALPHABET = 31, 96
TEST = 4  # every fourth file
EXACT = 1e-9
CONVOLUTIONS, BAG = "convolutions", "bag of characters"
ANEW = "convolutions, learned shuffled"


@dataclass(frozen=True)
class Config(Common):
    length: int = 128  # characters of a piece
    per_class: int = 400  # training pieces of each package and seed
    test_pieces: int = 150  # of each package, at most
    maps: int = 64  # of the first convolution; the second has twice as many
    seeds: int = 5  # 2 or more, from --seed on
    epochs: int = 15  # passes through the training pieces
    batch_size: int = 64  # pieces per step
    learning_rate: float = 0.05  # peak of the schedule: warm-up over a tenth, then half a cosine


def main(config: Config) -> Result:
    if config.quick:
        few = {"length": 32, "per_class": 20, "test_pieces": 10, "maps": 8, "seeds": 2, "epochs": 2}
        config = dataclasses.replace(config, batch_size=20, **few)
    where = "text_1d"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    expect(config.length >= 16, where, "pieces of at least 16 characters", config.length, "128 are the default.")
    train_text, test_text = texts()
    pieces_key, test_key, shuffle_key, mix_key, key = jax.random.split(jax.random.key(config.seed), 5)
    written = pieces(test_text, config.length, config.test_pieces, test_key)
    tests = {"written": written, "shuffled": of_shuffled(shuffle_key, written)}
    own = [pieces(train_text, config.length, config.per_class, k) for k in jax.random.split(pieces_key, config.seeds)]
    whole = data.from_arrays(
        np.concatenate([one["image"] for one in own]),
        np.concatenate([one["label"] for one in own]),
        class_names=PACKAGES,
    )
    both = nets(config, whole.info)
    trainings = {CONVOLUTIONS: (both[CONVOLUTIONS], whole), BAG: (both[BAG], whole)}
    trainings[ANEW] = (both[CONVOLUTIONS], of_shuffled(mix_key, whole))
    found = {name: accuracy(name, config, net, learned, tests, key) for name, (net, learned) in trainings.items()}
    convolutions, bag = found[CONVOLUTIONS], found[BAG]
    gain = summary((convolutions["written"] - bag["written"]).tolist())
    left = {name: summary((found[name]["shuffled"] - bag["shuffled"]).tolist()) for name in (CONVOLUTIONS, ANEW)}
    unmoved = bool(np.abs(bag["written"] - bag["shuffled"]).max() <= EXACT)
    figures = {
        "accuracy": {n: {w: summary(v.tolist()) for w, v in one.items()} for n, one in found.items()},
        "chance": 1 / len(PACKAGES),
        "convolutions_over_bag": gain,
        "over_bag_where_shuffled": left,
        "training_pieces": own[0].size,
        "test_pieces": written.size,
    }
    promises = {
        "convolutions are right more often, beyond the 95 % interval": gain["interval"][0] > 0,
        "of shuffled pieces, having learned from such, they are not": left[ANEW]["interval"][1] <= 0,
    }
    facts = {"the bag is the same where they are shuffled": unmoved}
    answer = (
        f"Which of {len(PACKAGES)} packages {config.length} characters are from, {config.seeds} seeds: convolutions "
        f"{100 * convolutions['written'].mean():.1f} % right, a bag of characters "
        f"{100 * bag['written'].mean():.1f} %, chance {100 / len(PACKAGES):.1f} %; of shuffled pieces convolutions "
        f"{100 * convolutions['shuffled'].mean():.1f} %, and {100 * found[ANEW]['shuffled'].mean():.1f} % where they "
        f"learned from shuffled ones, {100 * left[ANEW]['mean']:+.1f} points ({in_points(left[ANEW])}) over the bag."
    )
    judgement = judge(config, answer, promises, facts)
    headline = [
        report.Number(name, f"{100 * found[name]['written'].mean():.1f} %", "right") for name in (CONVOLUTIONS, BAG)
    ]
    shown_as = {"convolutions": CONVOLUTIONS, "bag": BAG, "anew": ANEW}
    dots = {f"{short}, {way}": (100 * found[name][way]).tolist() for short, name in shown_as.items() for way in tests}
    shown = [
        {"package": PACKAGES[at], "a piece of it": read(written["image"][np.flatnonzero(written["label"] == at)[0]])}
        for at in range(len(PACKAGES))
    ]
    sections = [
        report.Section(
            "Which package is it from?",
            [
                report.Picture(
                    report.seed_dots(dots, quantity="right, %", decimals=1),
                    f"Accuracy on {written.size} pieces of files that were not learned from, as they are written and "
                    "with the characters of each piece shuffled: a dot a seed, mean ± standard deviation. Anew: "
                    "convolutions that learned from shuffled pieces.",
                    "Dots of accuracy, a line for each net and each way to write.",
                ),
                report.Table(shown, "A test piece of each package."),
            ],
        ),
    ]
    return Result(figures, sections, *judgement, headline)


def accuracy(
    name: str,
    config: Config,
    net: layers.Sequential,
    whole: data.Dataset,
    tests: dict[str, data.Dataset],
    key: jax.Array,
) -> dict[str, np.ndarray]:
    """Return how often each seed's net is right on each test set, having learned from its own part of the pieces."""
    console.print(f"{name}:", markup=False)
    examples = np.arange(whole.size).reshape(config.seeds, -1)
    lanes = trained(config, net, whole, examples, [config.learning_rate], key)
    return {way: accuracies(net, lanes, one) for way, one in tests.items()}


def texts() -> tuple[list[str], list[str]]:
    """Return the source of every package, of files to learn from and of others."""
    library = Path(sysconfig.get_path("stdlib"))
    train, test = [], []
    for package in PACKAGES:
        files = sorted((library / package).rglob("*.py"), key=lambda path: path.relative_to(library).as_posix())
        files = [path for path in files if path.stat().st_size >= 2000]
        fix = "Install Python with its standard library as source."
        expect(len(files) > 2, "text_1d", f"source files of {package} in the standard library", len(files), fix)
        source = [path.read_text(encoding="utf-8", errors="replace") for path in files]
        test.append("".join(source[::TEST]))
        train.append("".join(one for at, one in enumerate(source) if at % TEST))
    return train, test


def pieces(text: list[str], length: int, count: int, key: jax.Array) -> data.Dataset:
    """Return so many random pieces of each text as images of one row, (N, 1, length, 1), a character a pixel."""
    image, label = [], []
    for at, (one, own) in enumerate(zip(text, jax.random.split(key, len(text)), strict=True)):
        codes = np.frombuffer(one.encode("ascii", "replace"), np.uint8).astype(np.int32) - FIRST
        codes = np.where((codes > 0) & (codes < ALPHABET), codes, 0).astype(np.uint8)
        expect(
            len(codes) > length, "text_1d", f"a text longer than {length} characters", len(codes), "Cut shorter ones."
        )
        start = np.asarray(jax.random.randint(own, (count,), 0, len(codes) - length))
        image.append(codes[start[:, None] + np.arange(length)])
        label.append(np.full(count, at))
    stacked = np.concatenate(image)[:, None, :, None]
    return data.from_arrays(
        stacked, np.concatenate(label), class_names=PACKAGES, name="text", source="Python's library"
    )


def of_shuffled(key: jax.Array, dataset: data.Dataset) -> data.Dataset:
    """Return the pieces with the characters of each in an order of their own."""
    image = jax.random.permutation(key, jnp.asarray(dataset["image"]), axis=2, independent=True)
    return data.from_arrays(np.asarray(image), dataset["label"], class_names=PACKAGES)


def read(image: np.ndarray) -> str:
    """Return a piece as text, on one line."""
    return "".join(chr(code + FIRST) if code else " " for code in image.ravel().tolist())


def one_hot(x: jax.Array) -> jax.Array:
    """Return characters, pixels in [0, 1], as one map each: (..., 1, length, alphabet)."""
    return jax.nn.one_hot(jnp.round(255 * x[..., 0]).astype(jnp.int32), ALPHABET, dtype=x.dtype)


def nets(config: Config, info: data.DatasetInfo) -> dict[str, layers.Sequential]:
    """Return the two nets."""
    return {
        CONVOLUTIONS: layers.Sequential(
            characters=one_hot,
            conv1=layers.Conv(config.maps, (1, 5)),
            act1=F.relu,
            pool1=layers.MaxPool((1, 2)),
            conv2=layers.Conv(2 * config.maps, (1, 5)),
            act2=F.relu,
            anywhere=layers.GlobalMaxPool(),
            head=head(info),
        ),
        BAG: layers.Sequential(
            characters=one_hot,
            counts=layers.GlobalAvgPool(),
            scale=counted,
            hidden=layers.Dense(2 * config.maps),
            act=F.relu,
            head=head(info),
        ),
    }


def counted(x: jax.Array) -> jax.Array:
    """Return frequencies with those of usual characters, some hundredths, near 1."""
    return 30 * x


if __name__ == "__main__":
    run(main, Config)

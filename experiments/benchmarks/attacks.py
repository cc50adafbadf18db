"""Are attacks as fast as those of foolbox and torchattacks, of the same net with the same weights, on the same CPU?

`python -m experiments.benchmarks.attacks --torch-python .venv-3.11/bin/python` trains a LeNet on Fashion-MNIST and
measures two attacks of 256 test images, in alternating pairs: PGD (L-inf, 40 steps) against foolbox's native JAX
backend and against torchattacks, and the standard evaluation (APGD-CE, APGD-T, FAB-T, Square) against AutoAttack as
torchattacks and as its authors have it, of whose code pyautoattack is the package (with 100 steps as in the paper,
where torchattacks would take 10). The others work in processes of their own, which wait while jaxcnn works, and the
other way round. Of several ways to call a library the fastest counts; the others' times are recorded,
too. A ratio is their time by ours: above 1, jaxcnn is faster. What every attack gives
is judged by the same net here. It exits with 1 where a library's target is missed, or where more images
withstand ours than theirs: by more than one in a hundred, since random starts decide single ones.

foolbox's JAX backend works with the JAX of its Python (versions are in the record) on the net in Flax;
`--foolbox-python` names another Python than that of PyTorch. About 20 min on 2 cores, most
of it the others' standard evaluation.

A result worth keeping: `python -m experiments.table --keep runs/NAME` takes it into the records.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.nets.ours import lenet
from experiments.benchmarks.pairs import LONG, Pairs, Program, compare
from experiments.benchmarks.peer_process import PeerProcess, Theirs, written
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, run
from jaxcnn import data, report, training
from jaxcnn.attack.judgement import judge
from jaxcnn.attack.pgd import pgd
from jaxcnn.attack.robust_accuracy import robust_accuracy
from jaxcnn.checking import expect

CHANCE = 0.01  # of the images, that random starts decide
PEERS = {  # script, what its Python needs, how many times as fast ours is to be
    "foolbox": ("foolbox_attacks.py", "foolbox, jax and flax", 3.0),
    "torch": ("torch_attacks.py", "PyTorch, torchattacks and pyautoattack", 1.0),
}


@dataclass(frozen=True)
class Config(Common):
    dataset: str = "fashion_mnist"  # that the net knows
    epochs: int = 3  # of its training
    images: int = 256  # of the test set, that are attacked
    epsilon: float = 0.02  # by which a pixel in [0, 1] may change
    steps: int = 40  # of PGD
    torch_python: str = ""  # a Python with torch, torchattacks and pyautoattack; this one unless given
    foolbox_python: str = ""  # a Python with foolbox, jax and flax; that of torch unless given
    seconds: float = 60.0  # for the pairs of one attack; at least 3 pairs, 1 where a call takes 20 s
    turn: float = 0.1  # seconds that a library works before the other does, where a call takes less


def main(config: Config) -> Result:
    fix = "Pass --device cpu: the others' times are those of a CPU."
    expect(jax.default_backend() == "cpu", "attacks", "a CPU", jax.default_backend(), fix)
    if config.quick:
        config = dataclasses.replace(config, dataset="digits", epochs=1, images=8, steps=3, seconds=0.0, turn=0.0)
    rows: list[dict[str, Any]] = []
    versions: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        logits_fn, x, y, file = made(config, Path(scratch))
        own = ours(config, logits_fn, x, y)
        for peer, (script, needs, _) in PEERS.items():
            python = config.foolbox_python if peer == "foolbox" else ""
            with PeerProcess("attacks", python or config.torch_python, script, file, needs) as process:
                versions[peer] = process.versions
                for row in measured(config, process, peer, own, Path(scratch), logits_fn, x, y):
                    rows.append(row)
                    console.print(line(row), markup=False)
    slow = [row for row in rows if row["ratio"] < row["target"]]
    weak = [row for row in rows if row["robust"] > row["theirs_robust"] + CHANCE]
    told = [f"{name(row)} {row['ratio']:.2f} (of {row['target']:.1f} promised)" for row in rows]
    judged = "not judged" if config.quick else "MISSED" if slow else "as promised"
    enough = f"none weaker by more than {CHANCE:.0%} of the images"
    strength = f"weaker than {', '.join(map(name, weak))}" if weak else enough
    verdict = f"Times as fast as {'; '.join(told)}: {judged}; {strength}."
    figures = {"cases": rows, "versions": versions}
    least = min(rows, key=lambda row: row["ratio"] / row["target"])
    beside = f"as {name(least)}, of {least['target']:.1f} promised: the nearest to its promise"
    number = report.Number("times as fast", f"{least['ratio']:.2f}", beside)
    tables = [report.Table(list(map(seen, rows))), report.Table([way for row in rows for way in ways(row)])]
    facts = [report.Facts({f"{peer}'s {key}": value for peer, held in versions.items() for key, value in held.items()})]
    sections = [report.Section("Attacks", [*tables, *facts])]
    return Result(figures, sections, verdict, config.quick or not (slow or weak), headline=[number])


def made(config: Config, scratch: Path) -> tuple[Any, jax.Array, jax.Array, Path]:
    """Return a trained net as a function, the images with their classes, and the file that tells the others of both."""
    train, test = data.load(config.dataset)
    net: Any = lenet()
    keys = jax.random.key(config.seed)
    state = training.fit(net, train, epochs=config.epochs, batch_size=64, key=keys).state
    x, y = data.to_float(test["image"][: config.images]), jnp.asarray(test["label"][: config.images])
    about: dict[str, Any] = {"epsilon": config.epsilon, "steps": config.steps, "step_size": step_size(config)}
    about |= {"seed": config.seed, "budget": budget(config)}
    file = written(scratch / "net.npz", net, state.params, state.model_state, x, y, **about)
    return training.predictor(net, state.params, state.model_state), x, y, file


def step_size(config: Config) -> float:
    return 2.5 * config.epsilon / config.steps


def budget(config: Config) -> dict[str, int]:
    """Return the steps of APGD and FAB and the queries of Square: the standard ones, but for a quick run."""
    return {"steps": 3, "queries": 5} if config.quick else {"steps": 100, "queries": 5000}


def ours(config: Config, logits_fn: Any, x: jax.Array, y: jax.Array) -> dict[str, Callable[[], Any]]:
    """Return the attacks of jaxcnn; each call gives the images."""
    key = jax.random.key(config.seed)
    given: Any = (logits_fn, x, y)
    how = {"epsilon": config.epsilon, "steps": config.steps, "step_size": step_size(config)}
    few: Any = budget(config)
    standard = lambda: robust_accuracy(jax.random.clone(key), *given, epsilon=config.epsilon, **few).adversarial  # noqa: E731
    return {"pgd": lambda: jax.block_until_ready(pgd(jax.random.clone(key), *given, **how)), "standard": standard}


def measured(
    config: Config,
    process: PeerProcess,
    peer: str,
    own: dict[str, Callable[[], Any]],
    scratch: Path,
    logits_fn: Any,
    x: jax.Array,
    y: jax.Array,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each attack that a library has."""

    def withstood(images: Any) -> float:
        return judge(logits_fn, x, np.clip(images, 0, 1), y).robust_accuracy

    for method, ways in process.ways.items():
        times, robust = {}, {}
        for way in ways:
            images, times[way] = process.given(method, way, scratch / "images.npy")
            robust[way] = withstood(images)
            if times[way] < LONG:  # the first call may be slower
                times[way] = process.seconds(method, way)
        way = min(times, key=times.__getitem__)
        program = Program(own[method], lambda: None)
        if times[way] < LONG:
            pairs = compare(program, Theirs(process, method, way), config.seconds, config.turn)
        else:  # minutes: once is enough, and was
            program.seconds()
            pairs = Pairs([program.seconds()], [times[way]])
        yield {
            "attack": method,
            "peer": way,
            **pairs.figures(),
            "target": PEERS[peer][2],
            "robust": withstood(own[method]()),
            "theirs_robust": min(robust.values()),
            "others": {way: {"seconds": times[way], "robust": robust[way]} for way in ways},
        }


def name(row: dict[str, Any]) -> str:
    return f"{row['attack']} of {row['peer']}"


def line(row: dict[str, Any]) -> str:
    """Return a row as text."""
    return (
        f"{name(row):<40} {row['ours_ms']:9.1f} {row['theirs_ms']:9.1f} ms  {row['ratio']:5.2f} ({row['low']:.2f}.."
        f"{row['high']:.2f}, {row['pairs']} pairs); {100 * row['robust']:.1f} % withstand ours, "
        f"{100 * row['theirs_robust']:.1f} % theirs"
    )


def seen(row: dict[str, Any]) -> dict[str, Any]:
    """Return how a comparison stands in the page's table."""
    return {
        "attack": row["attack"],
        "beside": row["peer"],
        "times as fast": f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f}, {row['pairs']} pairs)",
        "promised": f"{row['target']:.1f}",
        "ours, s": f"{row['ours_ms'] / 1000:.1f}",
        "theirs, s": f"{row['theirs_ms'] / 1000:.1f}",
        "left by ours": f"{row['robust']:.1%}",
        "left by theirs": f"{row['theirs_robust']:.1%}",
    }


def ways(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the ways of a library that were tried, of which the fastest counts."""
    return [
        {"attack": row["attack"], "tried once": way, "s": f"{held['seconds']:.1f}", "left": f"{held['robust']:.1%}"}
        for way, held in row["others"].items()
    ]


if __name__ == "__main__":
    run(main, Config, name=lambda config: f"attack-speed{config.ending}")

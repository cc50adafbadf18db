"""The book: the experiments in the order of a course, a page each, and a page that leads to them."""

import ast
import dataclasses
import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from jaxcnn import report

__all__ = ["CHAPTERS", "Told", "book_page", "experiments_of", "held", "index", "module", "question", "sources"]

EXPERIMENTS = Path(__file__).parent.parent

# Every experiment that measures a statement of the course, once.
CHAPTERS: Mapping[str, Sequence[str]] = {
    "One unit": ("perceptron", "neuron"),
    "Multilayer nets": ("backpropagation", "capacity", "hidden_units", "hidden_features", "activations"),
    "Deep nets": ("depth", "joint_training", "initialization"),
    "Training practice": ("learning_rate", "restarts", "overfitting", "data_hunger", "transfer"),
    "Convolution": ("convolution", "connectivity", "pooling", "normalization", "text_1d"),
    "Tricks of training": ("momentum", "dropout", "augmentation"),
    "Architectures": ("shallow_vs_deep", "architectures"),
    "Understanding nets": ("visualize", "maximize", "dissect", "probes", "sanity_checks", "simple_cells"),
    "Breaking nets": ("breaking", "fooling", "adversarial_training", "corruptions", "shortcuts", "mislabelled"),
    "Masks and boxes": (
        "segmentation",
        "sliding_windows",
        "detection",
        "localisation",
        "backbone_transfer",
        "dense_prediction",
    ),
    "Without labels": ("matching", "self_supervised", "denoising", "colourization"),
}


class Told(NamedTuple):
    """What the index says of an experiment: its question, its verdict, whether it holds, and how long it took."""

    question: str
    verdict: str
    holds: bool
    seconds: float


def experiments_of(only: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield chapter and experiment, in order; all of them unless some are named."""
    for chapter, names in CHAPTERS.items():
        for name in names:
            if not only or name in only:
                yield chapter, name


def module(name: str) -> ModuleType:
    """Return the module of an experiment."""
    return importlib.import_module(f"experiments.{name}")


def question(name: str) -> str:
    """Return the first line of an experiment's docstring, for a page."""
    return (module(name).__doc__ or "").strip().split("\n", 1)[0].replace("`", "")


def sources(name: str) -> dict[str, str]:
    """Return the code of an experiment, and behind it that of the modules below `experiments` that it is made with.

    The names are those of the files, "experiments/NAME.py". The framework, the same for all, is left out.
    """
    found: dict[str, str] = {}
    waiting = [name]
    for one in waiting:
        path = EXPERIMENTS / f"{one.replace('.', '/')}.py"
        file = path.relative_to(EXPERIMENTS.parent).as_posix()
        if not one.startswith("framework.") and file not in found and path.is_file():
            found[file] = path.read_text(encoding="utf-8")
            waiting += imported(found[file])
    return found


def imported(source: str) -> Iterator[str]:
    """Yield what a module imports from below `experiments`: of `from a import b`, a and a.b."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}", *(f"{node.module}.{part.name}" for part in node.names)]
        elif isinstance(node, ast.Import):
            names = [part.name for part in node.names]
        yield from (name.removeprefix("experiments.") for name in names if name.startswith("experiments."))


def book_page(name: str, page: report.Page) -> report.Page:
    """Return the page of an experiment with the question in front, the code behind, and a way back to the index."""
    code = [report.Verbatim(source, file, folded=True) for file, source in sources(name).items()]
    text = module(name).__doc__ or ""
    first, _, rest = text.partition("\n\n")
    paragraphs = [" ".join(part.split()).replace("`", "") for part in (first, *rest.split("\n\n")) if part.strip()]
    return dataclasses.replace(
        page,
        title=name.replace("_", " "),
        sections=[
            report.Section("The question", paragraphs),
            *page.sections,
            report.Section("The code that did it", code),
        ],
        up=report.Link("../index.html", "All experiments"),
    )


def held(quick: bool) -> str:
    """Return what is so of experiments that hold: a small run is not held to promises."""
    return "ran and hold what is so at any size" if quick else "hold what they promise"


def index(told: Mapping[str, Told], facts: Mapping[str, Any], *, quick: bool) -> report.Page:
    """Return the page that leads to all others."""
    sections = []
    for chapter, names in CHAPTERS.items():
        links = [
            report.Link(f"{name}/report.html", told[name].question, told[name].verdict)
            for name in names
            if name in told
        ]
        if links:
            sections.append(report.Section(chapter, [report.Links(links)]))
    small = " Everything was run small, to see that it runs: the figures mean little." if quick else ""
    return report.Page(
        "Convolutional networks, experiment by experiment",
        f"Statements of a course on convolutional networks, each measured by a module of its own.{small}",
        [
            report.Number("experiments", len(told), f"{sum(one.holds for one in told.values())} {held(quick)}"),
            report.Number("time", f"{sum(one.seconds for one in told.values()) / 60:.0f} min"),
        ],
        [*sections, report.Section("Circumstances", [report.Facts(facts)])],
    )

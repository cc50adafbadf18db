"""Every experiment of the course, one after another in one process, and the book of their pages.

`python -m experiments.all --quick` runs all of them small, to see that they run: about 10 min on 2 cores. With `--full`
they run at length, for hours: `--only pooling dropout` takes some, and after an interruption `--resume runs/book` goes
on with those that are not finished. The book is a site of static pages: for each experiment its question, pictures,
figures, verdict and code. Its index is `runs/book/index.html`, of the next book `runs/book-2/index.html`: the last
lines say which. An experiment that fails is recorded, and the others go on; it exits with 1 if one failed or does not
hold what it promises, of which a small run is held only to what is so at any size.
"""

import json
import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import jax

from experiments.framework import book
from experiments.framework.device import console
from experiments.framework.run_folder import write_json
from experiments.framework.runner import Common, Result, facts, record, run
from jaxcnn import report, training
from jaxcnn.checking import expect


@dataclass(frozen=True)
class Config(Common):
    full: bool = False  # at length; --quick or --full has to be given
    only: tuple[str, ...] = ()  # experiments; all unless given
    resume: str | None = None  # folder of a book that was begun: what is finished there stays


def main(config: Config) -> Result:
    where = "all"
    expect(config.quick != config.full, where, "--quick or --full", "both or neither", "Pass one of them.")
    known = [name for _, name in book.experiments_of()]
    unknown = sorted(set(config.only) - set(known))
    expect(not unknown, where, f"experiments among {', '.join(known)}", ", ".join(unknown), "Choose some of them.")
    told: dict[str, book.Told] = {}
    before = jax.config.read("jax_disable_most_optimizations")
    # The programs of a small run are over in a moment: to optimize them takes longer than it saves.
    jax.config.update("jax_disable_most_optimizations", before or config.quick)
    try:
        for _, name in book.experiments_of(config.only):
            told[name] = finished(Path(config.run), name) or one(config, name)
            jax.clear_caches()  # forty experiments' programs would fill memory
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
    held = sum(each.holds for each in told.values())
    answer = f"{held} of {len(told)} experiments {book.held(config.quick)}."
    broken = [name for name, each in told.items() if not each.holds]
    if broken:
        answer += f" These do not: {', '.join(broken)}."
    if config.quick:
        answer += " A small run is not held to what they promise."
    return report_of(config, told, answer)


def finished(run: Path, name: str) -> book.Told | None:
    """Return what an experiment found before the interruption, if it ended."""
    path = run / name / "figures.json"
    if (run / name / "failure.txt").exists() or not (run / name / "report.html").exists() or not path.exists():
        return None
    found = json.loads(path.read_text())
    return book.Told(book.question(name), found["verdict"], found["holds"], found["seconds"])


def one(config: Config, name: str) -> book.Told:
    """Run an experiment in a folder of its own below this run's."""
    module = book.module(name)
    folder = Path(config.run) / name
    shutil.rmtree(folder, ignore_errors=True)  # what an interruption left of it
    folder.mkdir(parents=True)
    console.rule(name)
    began = time.perf_counter()
    own = module.Config(seed=config.seed, device=config.device, quick=config.quick, run=str(folder))
    try:
        result = record(name, module.main, own, folder, lambda page: book.book_page(name, page))
        verdict, holds = result.verdict, result.holds
    except Exception as error:  # the others are worth running, whatever it was
        (folder / "failure.txt").write_text(traceback.format_exc())
        console.print(f"{name} failed: {error}", style="red", markup=False)
        failed = report.Page(name, sections=[report.Section("Failure", [report.Verbatim(traceback.format_exc())])])
        book.book_page(name, failed).write(folder / "report.html")
        verdict, holds = f"Failed: {error}", False
    return book.Told(book.question(name), verdict, holds, time.perf_counter() - began)


def report_of(config: Config, told: dict[str, book.Told], answer: str) -> Result:
    """Write the index, and return the result."""
    index = book.index(told, facts(training.environment()), quick=config.quick)
    console.print(f"book: {index.write(Path(config.run) / 'index.html')}", markup=False)
    figures = {name: each._asdict() for name, each in told.items()}
    write_json(Path(config.run) / "book.json", figures)
    table = [
        {"experiment": name, "holds": each.holds, "seconds": round(each.seconds, 1), "verdict": each.verdict}
        for name, each in told.items()
    ]
    holds = all(each.holds for each in told.values())
    return Result(
        figures, [report.Section("Experiments", [report.Table(table)])], answer, holds, headline=index.headline
    )


if __name__ == "__main__":
    run(main, Config, name=lambda config: "book")

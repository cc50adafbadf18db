"""Does a run that is killed again and again end as if nobody had touched it?

`python -m experiments.benchmarks.torture --kills 300` trains a small net with everything that has state (batch norm,
dropout, momentum, a schedule, validation, a ragged tail), kills the process with SIGKILL: in the middle of copying,
writing, hashing, renaming and cleaning up, before, during and after each, and at moments of chance; starts it again;
and compares the bits of the end with those of a run left alone. It exits with 1 if one run is lost: another end, or
more steps repeated than lie between two checkpoints. About 2 s a kill on 2 cores.
"""

import itertools
import json
import multiprocessing
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import victim
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, run
from jaxcnn import report

KILLS_A_RUN = 10
QUICK = 4
LATEST = 4.0  # seconds after the start of a process that a kill anywhere comes
GIVE_UP = 5 * KILLS_A_RUN  # processes of one run


@dataclass(frozen=True)
class Config(Common):
    kills: int = 300  # SIGKILLs in all


def main(config: Config) -> Result:
    kills = QUICK if config.quick else config.kills
    random = np.random.default_rng(config.seed)
    traps = itertools.cycle([trap(random, phase) for _ in range(20) for phase in (*victim.PHASES, victim.ANYWHERE)])
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        cache = f"{scratch}/compiled"
        expected = one_run(Path(scratch) / "alone", cache, iter(()), 0)
        if expected["end"] is None:
            raise RuntimeError("the training ends with an error where nobody kills it")
        broken = 0
        for number in range(kills):  # a run that was never hit adds no row
            if len(rows) >= kills:
                break
            found = one_run(Path(scratch) / str(number), cache, traps, min(KILLS_A_RUN, kills - len(rows)))
            same = found["end"] == expected["end"]
            broken += not same and not found["kills"]
            rows += [{"run": number, **killed, "same": same} for killed in found["kills"]]
            repeated = max((killed["repeated"] for killed in found["kills"]), default=0)
            words = "the same end" if same else "ANOTHER END"
            console.print(f"run {number}: {len(found['kills'])} kills, {repeated} steps repeated at most, {words}")
    phases = dict.fromkeys(row["phase"] for row in rows)
    table = [of_phase(phase, [row for row in rows if row["phase"] == phase]) for phase in phases]
    lost = sum(row["lost"] for row in table) + broken
    most = max((row["repeated at most"] for row in table), default=0)
    figures = {
        "kills": len(rows),
        "lost": lost,
        "repeated_at_most": most,
        "save_every": victim.SAVE_EVERY,
        "phases": table,
    }
    verdict = (
        f"{len(rows)} kills, {lost} lost; at most {most} steps repeated, with a checkpoint every {victim.SAVE_EVERY}."
    )
    return Result(figures, [report.Section("Kills", [report.Table(table)])], verdict, lost == 0 and len(rows) == kills)


def trap(random: np.random.Generator, phase: str) -> dict[str, Any]:
    """Return where a process dies: before, within or after one of the first calls of a phase."""
    if phase == victim.ANYWHERE:
        return {"phase": phase, "call": 1, "delay": float(random.uniform(0, LATEST))}
    delay = [0.0, None, float(random.uniform(0, victim.LONGEST))][random.integers(3)]
    return {"phase": phase, "call": int(random.integers(1, 4)), "delay": delay}


def one_run(folder: Path, cache: str, traps: Any, kills: int) -> dict[str, Any]:
    """Return the end of a run that was killed `kills` times, and each kill: phase and how many steps were repeated."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.benchmarks.victim"])
    result = folder.with_suffix(".json")
    log = Path(f"{result}.log")
    killed: list[dict[str, Any]] = []
    for _ in range(GIVE_UP):
        chosen = next(traps) if len(killed) < kills else None
        before = steps(log)
        process = context.Process(target=victim.train, args=(str(folder), str(result), cache, chosen))
        process.start()
        process.join()
        again = steps(log)[len(before) :]
        if killed and again and before:
            # What this process did again was lost by the kills before it.
            killed[-1]["repeated"] = max(killed[-1]["repeated"], max(before) - again[0] + 1)
        if process.exitcode == 0:
            return {"end": json.loads(result.read_text()), "kills": killed}
        if chosen is None or process.exitcode != -9:
            break
        killed.append({"phase": chosen["phase"], "repeated": 0})
    return {"end": None, "kills": killed}


def steps(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def of_phase(phase: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of a phase in the table."""
    most = max(row["repeated"] for row in rows)
    lost = sum(not row["same"] or row["repeated"] > victim.SAVE_EVERY for row in rows)
    return {"killed in": phase, "kills": len(rows), "lost": lost, "repeated at most": most}


if __name__ == "__main__":
    run(main, Config)

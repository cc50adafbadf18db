"""What is identical where: the same run again, elsewhere and otherwise, beside what docs/reproducibility.md promises.

`python -m experiments.benchmarks.reproducibility` trains a small smooth net with batch norm, dropout and augmentation
for 20 steps, again and again: in other processes, on other numbers of devices, interrupted, logged otherwise, eager,
vmapped. It prints the table of what differs by how much, and exits with 1 if a promise is broken. About 80 s on 2
cores.
"""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.benchmarks.elsewhere import elsewhere
from experiments.benchmarks.repeated import PLAIN, STEPS, Outcome, stepped, trained
from experiments.framework.device import console
from experiments.framework.runner import Common, Result, run
from jaxcnn import report

IDENTICAL = 0.0
ROUNDING = 1e-5  # what 20 steps make of another order of sums: five times the largest that was measured
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
NOT_MEASURED = "not measured"
EAGER = 2  # steps of the eager run for --quick


@dataclass(frozen=True)
class Config(Common):
    """The common options alone."""


class Case(NamedTuple):
    """Two ways of one run. `promise`: the largest relative difference, 0.0 for none of any bit; None for no promise.

    `needs`: nothing but this process, "processes" of their own, some of its "cores", or a "gpu".
    """

    what: str
    promise: float | None
    one: Callable[[], Outcome]
    other: Callable[[], Outcome]
    needs: str = ""


def main(config: Config) -> Result:
    there = {"", *([] if config.quick else ["processes", jax.default_backend()])}
    if not config.quick and hasattr(os, "sched_setaffinity"):
        there.add("cores")
    rows = []
    for case in cases(config.seed, config.quick):
        rows.append(row(case) if case.needs in there else not_measured(case))
        console.print("{same run, but}: parameters {parameters}, loss {loss}".format(**rows[-1]), markup=False)
    console.print(f"\n{markdown(rows)}\n", markup=False)
    broken = [str(row["same run, but"]) for row in rows if row["kept"] == "NO"]
    measured = sum(row["parameters"] != NOT_MEASURED for row in rows)
    verdict = f"{measured} ways measured; " + (f"BROKEN: {', '.join(broken)}" if broken else "every promise is kept")
    caption = (
        "The largest difference of an array by its largest value, of parameters and running statistics after 20 "
        "steps, and of the loss at any step by its value."
    )
    section = report.Section("What is identical where", [report.Table(rows, caption)])
    return Result({"rows": rows}, [section], f"{verdict}.", not broken)


def cases(seed: int, quick: bool) -> list[Case]:
    """Return the ways to compare; few steps of the slow one for `--quick`."""
    steps = EAGER if quick else STEPS
    often: dict[str, Any] = {"look": True, "validation": True, "save_every": 3}
    same = functools.cache(lambda: trained(seed))
    loop = functools.cache(lambda: stepped(seed))
    few = functools.cache(lambda: stepped(seed, steps=steps))
    plain = functools.cache(lambda: stepped(seed, net=PLAIN))
    one = functools.cache(lambda: elsewhere(seed, environment=virtual(1)))
    with_relu = functools.cache(lambda: devices(seed, 1, relu=True))
    flags = os.environ.get("XLA_FLAGS", "")
    exact = {"XLA_FLAGS": f"{flags} {DETERMINISTIC}".strip()}
    exactly = functools.cache(lambda: elsewhere(seed, environment=exact, timed=True))
    plainly = functools.cache(lambda: elsewhere(seed, timed=True))
    # A GPU's sums by atomic additions have no order, unless told so, and what its products round to was not measured.
    gpu = jax.default_backend() == "gpu"
    bits = None if gpu and DETERMINISTIC not in flags else IDENTICAL
    rounding = None if gpu else ROUNDING
    return [
        Case("again", bits, lambda: trained(seed), same),
        Case("in another process", bits, lambda: elsewhere(seed), same, "processes"),
        Case("stopped at step 8 and resumed", bits, lambda: trained(seed, stops=(8,)), same),
        Case("logged, validated and saved more often", bits, lambda: trained(seed, **often), same),
        Case("one of 4 nets under vmap", rounding, lambda: stepped(seed, lanes=4), loop),
        Case("eager, without jit", rounding, lambda: stepped(seed, compiled=False, steps=steps), few),
        Case("accumulate=2, plain net", rounding, lambda: stepped(seed, net=PLAIN, accumulate=2), plain),
        *(
            Case(f"{count} devices for 1", ROUNDING, functools.partial(devices, seed, count), one, "processes")
            for count in (2, 4, 8)
        ),
        Case("2 processes for 1", ROUNDING, functools.partial(devices, seed, 1, processes=2), one, "processes"),
        Case("2 devices for 1, with ReLU", None, lambda: devices(seed, 2, relu=True), with_relu, "processes"),
        Case("on 1 core alone", None, functools.partial(devices, seed, 1, cores=1), one, "cores"),
        Case("accumulate=2", None, lambda: stepped(seed, accumulate=2), loop),
        Case("bfloat16 images", None, lambda: trained(seed, dtype="bfloat16"), same),
        Case("a GPU, twice", None, lambda: elsewhere(seed), plainly, "gpu"),
        Case("a deterministic GPU, twice", IDENTICAL, lambda: elsewhere(seed, environment=exact), exactly, "gpu"),
        Case("a deterministic GPU for a GPU", None, exactly, plainly, "gpu"),
        Case("a GPU for a CPU", None, plainly, one, "gpu"),
    ]


def devices(seed: int, count: int, **options: Any) -> Outcome:
    return elsewhere(seed, environment=virtual(count), **options)


def virtual(devices: int) -> dict[str, str]:
    """Return the environment of a process that sees so many devices in one CPU."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}".strip()
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def row(case: Case) -> dict[str, Any]:
    """Return the row of a case in the table."""
    one, other = case.one(), case.other()
    parameters = max(relative(one.arrays[name], other.arrays[name]) for name in other.arrays)
    loss = max(relative(a, b) for a, b in zip(one.losses, other.losses, strict=True))
    kept = case.promise is not None and max(parameters, loss) <= case.promise
    found = not_measured(case) | {"parameters": shown(parameters), "loss": shown(loss)}
    if case.promise is not None:
        found["kept"] = "yes" if kept else "NO"
    if one.step_seconds and other.step_seconds:
        found["time of a step"] = f"x {one.step_seconds / other.step_seconds:.2f}"
    return found


def not_measured(case: Case) -> dict[str, Any]:
    """Return the row of a case that cannot be measured here."""
    promised = "nothing" if case.promise is None else shown(case.promise)
    return {
        "same run, but": case.what,
        "parameters": NOT_MEASURED,
        "loss": NOT_MEASURED,
        "promised": f"at most {promised}" if case.promise else promised,
        "kept": "–",
    }


def relative(one: Any, other: Any) -> float:
    """Return the largest difference of two arrays by the largest value of the other; 0.0 only if every bit is equal."""
    one, other = np.asarray(one), np.asarray(other)
    if one.tobytes() == other.tobytes():
        return IDENTICAL
    one, other = one.astype(np.float64), other.astype(np.float64)
    difference, size = np.abs(one - other).max(), np.abs(other).max()
    found = difference / size if size else difference
    return max(float(found), np.finfo(np.float32).smallest_subnormal.item()) if np.isfinite(found) else np.inf


def shown(difference: float) -> str:
    return "identical" if difference == IDENTICAL else f"{difference:.0e}"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table as docs/reproducibility.md has it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([str(row.get(name, "")) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    run(main, Config)

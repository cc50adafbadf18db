"""What does a net see in what one draws, and how small a change breaks it? A page to draw on, live.

`python -m experiments.playground runs/digits-lenet5-seed0` serves a page on this machine: draw or drop an image,
and see the probabilities, the activations layer by layer, which pixels decide by five methods, and what an attack makes
of it at an epsilon. A click on a pixel of a map shows the sum that it is, number by number. Without a run it trains
LeNet on the digits first, some 15 s on 2 cores. The link of the page holds what is seen: it opens the same view again.
Ctrl-C ends it, `--seconds` bounds it, and `--quick` asks itself a few questions and ends.

The page loads nothing from elsewhere, and the server answers to this machine alone.
"""

import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.apparatus.trained import OfNet, trained
from experiments.framework.device import console
from experiments.framework.runner import Result
from experiments.playground import views
from experiments.playground.server import HEADERS, application, serving
from jaxcnn import report
from jaxcnn.checking import expect_count, number

__all__ = ["Config", "main"]


@dataclass(frozen=True)
class Config(OfNet):
    port: int = 8642  # of 127.0.0.1; 0 for any that is free
    seconds: float = 0.0  # to serve; 0 until it is stopped


def main(config: Config) -> Result:
    where = "playground"
    expect_count(where, "port", config.port, 0, 65535)
    number(where, "seconds of at least 0", config.seconds, lambda s: 0 <= s <= threading.TIMEOUT_MAX, "0 is no bound.")
    found = trained(where, config)
    subject = views.subject(found.model, config.seed)
    title = Path(config.source).stem or f"a net of {config.dataset}"
    times = warmed(subject, np.asarray(found.test["image"][0]))
    with serving(lambda hosts: application(subject, found.test, title, hosts), config.port) as address:
        console.print(f"{address} (Ctrl-C ends it)", markup=False)
        checks = asked(address, np.asarray(found.test["image"][0])) if config.quick else {}
        try:
            if not config.quick:
                threading.Event().wait(config.seconds or None)
        except KeyboardInterrupt:
            console.print("stopped")
    wrong = [name for name, ok in checks.items() if not ok]
    slowest = max(times, key=lambda name: times[name])
    verdict = f"{title}: the slowest view, {slowest}, takes {times[slowest]:.0f} ms" + (
        f"; of {len(checks)} checks these fail: {wrong}."
        if wrong
        else f"; {len(checks)} checks hold."
        if checks
        else "."
    )
    section = report.Section(
        "What a view takes",
        [report.Table([{"view": name, "ms": f"{took:.1f}"} for name, took in times.items()], "One image, compiled.")],
    )
    return Result({"milliseconds": times, "checks": checks}, [section], verdict, not wrong)


def warmed(subject: views.Subject, image: np.ndarray) -> dict[str, float]:
    """Compile everything that the page asks for, and return how long each view then takes, in milliseconds."""
    calls: dict[str, Any] = {
        "answer": lambda: views.answer(subject, image),
        "layers": lambda: views.layers(subject, image),
        "attacked": lambda: views.attacked(subject, image, 0.1),
    }
    for method in subject.methods:
        calls[method] = lambda method=method: views.attribution(subject, image, method, None)
    if subject.convolutions:
        calls["pixel"] = lambda: views.pixel(subject, image, next(iter(subject.convolutions)), 0, 0, 0)
    times = {}
    for name, call in calls.items():
        for _ in range(2):  # the second time it is compiled
            began = time.perf_counter()
            call()
            times[name] = round(1000 * (time.perf_counter() - began), 2)
    return times


def asked(address: str, image: np.ndarray) -> dict[str, bool]:
    """Return whether the server at an address answers what it should, and refuses what it should."""

    def ask(path: str, fields: Any = None, **headers: str) -> tuple[int, Any, Any]:
        data = None if fields is None else json.dumps(fields).encode()
        kind = {} if fields is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(address + path, data, kind | headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.headers, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    told = json.loads(ask("about")[2])
    pixels = views.encoded(image)
    maps = [layer for layer in told["layers"] if len(layer["shape"]) == 3]
    fields = {
        "answer": {},
        "layers": {},
        "attribution": {"method": told["methods"][0], "target": None},
        "attacked": {"epsilon": 0.1},
    } | ({"pixel": {"layer": maps[0]["path"], "channel": 0, "row": 0, "column": 0}} if maps else {})
    checks = {name: ask(name, {"image": pixels, **more})[0] == 200 for name, more in fields.items()}
    page = ask("")
    checks["page"] = page[0] == 200 and page[1]["Content-Security-Policy"] == HEADERS["content-security-policy"]
    checks["another host is refused"] = ask("", Host="example.org")[0] == 403
    checks["another origin is refused"] = ask("answer", {"image": pixels}, Origin="http://example.org")[0] == 403
    checks["other files are refused"] = ask("%2e%2e/server.py")[0] == 404
    return checks

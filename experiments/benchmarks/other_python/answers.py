"""The other side of a benchmark: a script of another Python, which is asked a line at a time and answers with times.

It is told in a file what net to make, with which weights, and of which images. Then it is asked in JSON and answers
likewise: {"method": "occlusion", "way": "8 windows at once", "calls": 3} is answered with the seconds that a call took,
and with "write" as well, a file to write what the call gave into. `peer_process` asks.
"""

import importlib
import importlib.metadata
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.framework.memory import keep_memory

Ways = dict[str, Callable[[], Any]]
"""The ways in which a method can be called; the fastest is what is compared."""


def answer(
    packages: Sequence[str], methods: Callable[[dict[str, np.ndarray], dict[str, Any]], dict[str, Ways]]
) -> None:
    """Answer until there is no more question; the file is the script's first argument.

    Args:
        packages: that are needed, of which the versions are told.
        methods: arrays, what else the file tells -> what can be asked for.
    """
    keep_memory()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    warnings.simplefilter("ignore")

    def say(**what: Any) -> None:
        print(json.dumps(what), file=answers, flush=True)

    try:
        for name in packages:
            importlib.import_module(name)
    except ImportError as missing:
        say(missing=f"{missing.name}")
        return
    with np.load(sys.argv[1]) as found:
        arrays = dict(found)
    table = methods(arrays, json.loads(str(arrays.pop("about"))))
    ways = {method: list(by_way) for method, by_way in table.items()}
    threads = {"threads": sys.modules["torch"].get_num_threads()} if "torch" in packages else {}
    say(**{name: importlib.metadata.version(name) for name in packages}, **threads, ways=ways)
    for line in sys.stdin:
        question = json.loads(line)
        call = table[question["method"]][question["way"]]
        given: Any = None
        began = time.perf_counter()
        for _ in range(question["calls"]):
            given = call()
        seconds = (time.perf_counter() - began) / question["calls"]
        if "write" in question:
            np.save(question["write"], given.detach().numpy() if hasattr(given, "detach") else np.asarray(given))
        say(seconds=seconds)


def torch_net(layers: Sequence[Sequence[Any]], weights: dict[str, np.ndarray]) -> Any:
    """Return the net of layers (name, kind, options) in PyTorch, each of which takes its weights by its name."""
    import torch  # pyrefly: ignore
    from torch import nn  # pyrefly: ignore

    kinds = {
        "Conv": nn.Conv2d, "BatchNorm": nn.BatchNorm2d, "relu": nn.ReLU, "tanh": nn.Tanh,
        "MaxPool": nn.MaxPool2d, "AvgPool": nn.AvgPool2d,
        "GlobalAvgPool": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "Flatten": nn.Flatten, "Dense": nn.Linear,
    }  # fmt: skip
    net = nn.Sequential()
    for name, kind, options in layers:
        net.add_module(name, kinds[kind](**options))
    told = net.load_state_dict({name: torch.tensor(array) for name, array in weights.items()}, strict=False)
    lost = [name for name in told.missing_keys if not name.endswith("num_batches_tracked")]
    if lost or told.unexpected_keys:
        raise ValueError(
            f"torch_net: expected weights of every layer, got none of {lost}, others of {told.unexpected_keys}"
        )
    return net.eval()

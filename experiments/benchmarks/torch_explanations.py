"""PyTorch's side of `experiments.benchmarks.explain`, in a process of its own, for which torch and captum suffice.

It is told in a file what net to make, with which weights, and what to explain. Then it is asked a line at a time, in
JSON, and answers likewise: {"method": "occlusion", "way": "8 windows at once", "calls": 3} is answered with the seconds
that a call took, and with "write" as well, a file to write the maps into.
"""

import functools
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Ways = dict[str, Callable[[], Any]]


def main(file: str) -> None:
    """Answer until there is no more question."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    warnings.simplefilter("ignore")

    def answer(**what: Any) -> None:
        print(json.dumps(what), file=answers, flush=True)

    try:
        import captum  # pyrefly: ignore
        import torch  # pyrefly: ignore
    except ImportError as missing:
        answer(missing=f"{missing.name}")
        return
    with np.load(file) as found:
        arrays = dict(found)
    about = json.loads(str(arrays.pop("about")))
    x, target = torch.tensor(arrays.pop("image")), torch.tensor(arrays.pop("target")).long()
    net = made(about["layers"], arrays)
    table = methods(net, x.permute(0, 3, 1, 2), target, about)
    ways = {method: list(by_way) for method, by_way in table.items()}
    answer(torch=torch.__version__, captum=captum.__version__, threads=torch.get_num_threads(), ways=ways)
    for line in sys.stdin:
        question = json.loads(line)
        call = table[question["method"]][question["way"]]
        maps: Any = None
        began = time.perf_counter()
        for _ in range(question["calls"]):
            maps = call()
        seconds = (time.perf_counter() - began) / question["calls"]
        if "write" in question:
            np.save(question["write"], maps.detach().numpy())
        answer(seconds=seconds)


def made(layers: Sequence[Sequence[Any]], weights: dict[str, np.ndarray]) -> Any:
    """Return the net of layers (name, kind, options), each of which takes its weights by its name."""
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
        raise ValueError(f"made: expected weights of every layer, got none of {lost}, others of {told.unexpected_keys}")
    return net.eval()


def methods(net: Any, x: Any, target: Any, about: dict[str, Any]) -> dict[str, Ways]:
    """Return of each method the ways in which it can be called; the fastest is what is compared."""
    from captum import attr  # pyrefly: ignore

    images, count = len(x), about["count"]
    occlude = {
        "sliding_window_shapes": (x.shape[1], about["window"], about["window"]),
        "strides": (x.shape[1], about["stride"], about["stride"]),
    }
    noise = {"nt_samples": count["smoothgrad"], "stdevs": about["noise"], "abs": False}
    layer = net.get_submodule(about["at"])
    tables: dict[str, tuple[Any, dict[str, dict[str, Any]]]] = {
        "integrated_gradients": (
            functools.partial(attr.IntegratedGradients(net).attribute, n_steps=count["integrated_gradients"]),
            {"all steps at once": {}, "8 steps at once": {"internal_batch_size": 8 * images}},
        ),
        "smoothgrad": (
            functools.partial(attr.NoiseTunnel(attr.Saliency(net)).attribute, **noise),
            {"all samples at once": {}, "8 samples at once": {"nt_samples_batch_size": 8}},
        ),
        "occlusion": (
            functools.partial(attr.Occlusion(net).attribute, **occlude),
            {"a window at once": {}, "8 windows at once": {"perturbations_per_eval": 8}},
        ),
        "grad_cam": (
            functools.partial(attr.LayerGradCam(net, layer).attribute, relu_attributions=True),
            {"captum": {}},
        ),
        "rise": (
            functools.partial(rise, net, masks=count["rise"], cells=about["cells"]),
            {"a mask at once": {"at_once": 1}, "8 masks at once": {"at_once": 8}},
        ),
    }

    def call(run: Any, options: dict[str, Any]) -> Any:
        return run(x.detach().requires_grad_(run.func is not rise), target=target, **options)

    return {
        method: {way: functools.partial(call, run, options) for way, options in by_way.items()}
        for method, (run, by_way) in tables.items()
    }


def rise(net: Any, x: Any, *, target: Any, masks: int, cells: int, at_once: int) -> Any:
    """Return (N, 1, H, W): RISE as one would write it in PyTorch, of which captum has none."""
    import torch  # pyrefly: ignore
    from torch.nn.functional import interpolate  # pyrefly: ignore

    images, _, height, width = x.shape
    cell = [math.ceil(side / cells) for side in (height, width)]
    total, weight = torch.zeros(images, height, width), torch.zeros(height, width)
    with torch.no_grad():
        for first in range(0, masks, at_once):
            some = min(at_once, masks - first)
            grids = (torch.rand(some, 1, cells, cells) < 0.5).float()
            large = interpolate(grids, size=[(cells + 1) * side for side in cell], mode="bilinear", align_corners=False)
            shifts = zip(*(torch.randint(0, side, (some,)).tolist() for side in cell), strict=True)
            cut = [
                one[:, top : top + height, left : left + width] for one, (top, left) in zip(large, shifts, strict=True)
            ]
            seen = torch.stack(cut)
            outputs = net((seen[:, None] * x).flatten(0, 1)).softmax(-1).view(some, images, -1)
            found = outputs[:, torch.arange(images), target]
            total += torch.einsum("mn,mhw->nhw", found, seen[:, 0])
            weight += seen.sum((0, 1))
    return (total / weight)[:, None]


if __name__ == "__main__":
    main(sys.argv[1])

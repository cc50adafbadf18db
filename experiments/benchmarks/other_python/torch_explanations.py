"""PyTorch's side of `experiments.benchmarks.explain`, in a process of its own, for which torch and captum suffice.

See `answers` for what is asked and told.
"""

import functools
import math
from typing import Any

from experiments.benchmarks.other_python.answers import Ways, answer, torch_net


def methods(arrays: dict[str, Any], about: dict[str, Any]) -> dict[str, Ways]:
    """Return of each method the ways in which it can be called; the fastest is what is compared."""
    import torch  # pyrefly: ignore
    from captum import attr  # pyrefly: ignore

    x = torch.tensor(arrays.pop("image")).permute(0, 3, 1, 2)
    target = torch.tensor(arrays.pop("target")).long()
    net = torch_net(about["layers"], arrays)

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
    answer(("torch", "captum"), methods)

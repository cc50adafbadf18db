"""PyTorch's side of `experiments.benchmarks.attacks`, for whose Python torch, torchattacks and pyautoattack suffice.

pyautoattack is AutoAttack's own code as a package. See `answers` for what is asked and told.
"""

import functools
from typing import Any

from experiments.benchmarks.other_python.answers import Ways, answer, torch_net


def methods(arrays: dict[str, Any], about: dict[str, Any]) -> dict[str, Ways]:
    """Return PGD and the standard evaluation; each call gives the images (N, C, H, W)."""
    import pyautoattack  # pyrefly: ignore
    import torch  # pyrefly: ignore
    import torchattacks  # pyrefly: ignore

    torch.manual_seed(about["seed"])
    x = torch.tensor(arrays.pop("image")).permute(0, 3, 1, 2).contiguous()
    y = torch.tensor(arrays.pop("target")).long()
    net = torch_net(about["layers"], arrays)
    epsilon, classes = about["epsilon"], net(x[:1]).shape[-1]
    pgd = torchattacks.PGD(net, eps=epsilon, alpha=about["step_size"], steps=about["steps"], random_start=True)
    ensemble = torchattacks.AutoAttack(net, norm="Linf", eps=epsilon, n_classes=classes, seed=about["seed"])
    original = pyautoattack.AutoAttack(net, norm="Linf", eps=epsilon, seed=about["seed"])
    budget = about["budget"]  # what is standard, or less
    for part in (*ensemble._autoattack.attacks, original.apgd, original.apgd_targeted, original.fab, original.square):
        for option in {"steps", "n_iter", "n_queries"} & set(vars(part)):
            setattr(part, option, budget["queries" if option == "n_queries" else "steps"])

    def evaluate() -> Any:
        return original.run_standard_evaluation(x, y, batch_size=len(x))[0]

    return {
        "pgd": {"torchattacks": functools.partial(pgd, x, y)},
        "standard": {"torchattacks": functools.partial(ensemble, x, y), "autoattack": evaluate},
    }


if __name__ == "__main__":
    answer(("torch", "torchattacks", "pyautoattack"), methods)

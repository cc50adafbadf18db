"""How large adversarial images are: ours, and those that foolbox finds for the digits, by a second look in PyTorch."""

from typing import Any

import numpy as np

from tests.attack.conftest import Known, judged
from tests.attack.twins import digits_twin, peer
from tests.torch_twins import tensor


def sizes(known: Known, found: Any, norm: str) -> np.ndarray:
    """Return the sizes (N,) of the changes of images that our attacks found, infinity where none was."""
    judgement = judged(known, found)
    return np.where(judgement.success, getattr(judgement, norm), np.inf)


def foolbox_sizes(digits: Known, name: str, norm: str, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the sizes (N,), infinity where none was found, and which images the net knows (N,), or skip the test."""
    foolbox, module = peer("foolbox"), digits_twin(digits)
    import torch

    x, y = tensor(digits.x), torch.tensor(np.asarray(digits.y)).long()
    attack = getattr(foolbox.attacks, name)(**options)
    found, _, _ = attack(foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu"), x, y, epsilons=None)
    return sizes_of(module, x, found, y, norm)


def sizes_of(module: Any, x: Any, found: Any, y: Any, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the same of images that any attack in PyTorch has found."""
    import torch

    with torch.no_grad():
        correct, success = (module(images).argmax(1) == y for images in (x, found))
    order = {"linf": float("inf"), "l2": 2, "l1": 1, "l0": 0}[norm]
    sizes = torch.linalg.vector_norm((found - x).flatten(1), order, dim=1)
    return np.where(success.numpy(), np.inf, sizes.numpy()), correct.numpy()

"""PyTorch's nets with numbers that all count."""

import pytest

from tests.models.parity import randomised


def redrawn(theirs, size=64):
    """Return the net with kernels that keep the scale of signals, and all that starts at 0, 1 or 1e-6 drawn.

    With torchvision's depthwise kernels and the running statistics of another net nothing would be left of the images;
    where signals grow instead, so do the differences of last digits, most of all through gates.
    """
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    for name, parameter in theirs.named_parameters():
        if parameter.ndim not in (2, 4):
            torch.nn.init.uniform_(parameter, *((-0.3, 0.3) if name.endswith("bias") else (0.5, 1.5)))
    randomised(theirs)  # as check_same_net does once more, with the same draws

    def scale(module, _, output):
        module.weight /= output.std()
        return output / output.std()

    layers = [m for m in theirs.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    hooks = [layer.register_forward_hook(scale) for layer in layers]
    with torch.no_grad():
        theirs(torch.randn(4, 3, size, size))
    for hook in hooks:
        hook.remove()
    return theirs

"""The same weights in a net of PyTorch's and in ours: the same logits, and the weights back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import interop


def randomised(theirs):
    """Return the net for inference, with every number drawn, running statistics and what starts at zero included."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    for module in theirs.modules():
        if hasattr(module, "running_var"):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
        elif isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return theirs.eval()


def logits_of(theirs, x):
    """Return what PyTorch's net says of images, channels last."""
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        return theirs(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))).numpy()


def check_same_net(net, theirs, *, layout="torchvision", size=32, read=None):
    """Check that both say the same of two images, with PyTorch's weights in ours and ours in PyTorch's.

    `read` makes an array of what our net gives, where that is none.
    """
    torch = pytest.importorskip("torch")
    read = read or (lambda outputs: outputs)
    randomised(theirs)
    spec = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    given = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    params, state, report, _ = interop.torch.load_state_dict(net, given, spec=spec)
    assert not report.unexpected
    x = np.random.default_rng(0).standard_normal(spec.shape).astype(np.float32)
    expected = logits_of(theirs, x)
    logits = jax.jit(lambda params, state, x: read(net.apply(params, state, x, train=False)[0]))(params, state, x)
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()

    back = interop.torch.state_dict(net, params, state, layout=layout, spec=spec)
    with torch.no_grad():
        for tensor in theirs.state_dict().values():
            tensor.zero_()
    keys = theirs.load_state_dict({name: torch.from_numpy(a) for name, a in back.items()}, strict=False)
    assert not keys.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in keys.missing_keys)
    np.testing.assert_array_equal(logits_of(theirs, x), expected)

"""What all tests share: which of them the oldest Python runs, and comparisons of value and gradient with others."""

import contextlib
import functools
import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest

hypothesis.settings.register_profile("quick", deadline=None, derandomize=True, max_examples=10, database=None)
hypothesis.settings.load_profile("quick")

# The oldest Python runs what compares with PyTorch, which is there alone, and of the rest what all layers promise of
# their shapes, and a training.
CORE = {
    "test_architecture.py",
    "layers/test_composition.py",
    "layers/test_layers.py",
    "layers/test_layers_contract.py::test_promised_shape_and_jit_equals_eager",
    "training/test_checkpoint.py",
    "training/test_fit.py",
}
MOST_MAPS = 30_000
WITH_PYTORCH = re.compile("torch|timm|captum|zennit|foolbox|coco|twin|same_logits|logits_of")

# Commands that tests run in this process leave its memory alone.
os.environ["GLIBC_TUNABLES"] = ""

# From our order of axes to PyTorch's.
_TORCH_AXES = {
    "images": (0, 3, 1, 2),  # NHWC -> NCHW
    "kernel": (3, 2, 0, 1),  # HWIO -> OIHW
    "matrix": (1, 0),  # (in, out) -> (out, in)
    "as is": None,
}


def pytest_collection_modifyitems(items):
    source = functools.cache(inspect.getsource)
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        of_core = CORE & {place, f"{place}::{item.originalname}"}
        if not of_core and not WITH_PYTORCH.search(item.name + source(item.function)):
            item.add_marker(pytest.mark.newest)


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Forget compiled programs before they are too many: each has memory maps, of which Linux allows 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(scope="session", autouse=True)
def kept_programs(tmp_path_factory):
    """Let a test that trains what another one trained take the program that was compiled then.

    Each worker keeps its own: another one's might be read while it is written.
    """
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("programs")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@contextlib.contextmanager
def optimizing_little():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def quick_compilation():
    """Let XLA optimize little while a module runs that compiles much and computes little."""
    with optimizing_little():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What modules compute while they are imported is such a thing."""
    with optimizing_little():
        return (yield)


@pytest.fixture(scope="session")
def agree() -> Callable[..., None]:
    """Return `check(ours, theirs, *args)`: two functions of arrays have the same value and gradients."""

    def check(ours, theirs, *args, rtol=1e-5, atol=1e-5):
        cotangent = _cotangent(jax.eval_shape(ours, *args).shape)
        same_trees(
            _value_and_gradients(ours, cotangent, args), _value_and_gradients(theirs, cotangent, args), rtol, atol
        )

    return check


@pytest.fixture(scope="session")
def agree_with_torch() -> Callable[..., None]:
    """Return `check(ours, theirs, *args, axes=..., output=...)`, `theirs` a function of tensors; skip without torch.

    `axes` names the order of axes of each argument, and `output` that of the value, as in `_TORCH_AXES`.
    """
    torch = pytest.importorskip("torch")

    def check(ours, theirs, *args, axes, output, rtol=1e-5, atol=1e-5):
        cotangent = _cotangent(jax.eval_shape(ours, *args).shape)
        y, gradients = _value_and_gradients(ours, cotangent, args)

        def tensor(array, order):
            array = np.asarray(array)
            order = _TORCH_AXES[order] or range(array.ndim)
            return torch.tensor(np.ascontiguousarray(array.transpose(order)))

        def back(tensor, order):
            array = tensor.detach().numpy()
            return array.transpose(np.argsort(_TORCH_AXES[order] or range(array.ndim)))

        leaves = [tensor(a, order).requires_grad_() for a, order in zip(args, axes, strict=True)]
        value = theirs(*leaves)
        value.backward(tensor(cotangent, output))
        theirs_gradients = tuple(back(leaf.grad, order) for leaf, order in zip(leaves, axes, strict=True))
        same_trees((y, gradients), (back(value, output), theirs_gradients), rtol, atol)

    return check


def same_trees(ours, theirs, rtol, atol) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def _cotangent(shape) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def _value_and_gradients(fn, cotangent, args):
    @jax.jit
    def run(cotangent, args):
        y, pullback = jax.vjp(fn, *args)
        return y, pullback(cotangent)

    return run(cotangent, args)

"""Muon: momentum of which every kernel keeps the directions alone, each with the same weight."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn.checking import expect, expect_count, expect_dtype, expect_flag, floating, is_number, scalar, shown

__all__ = ["COEFFICIENTS", "muon", "orthogonalize"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # as published: steep at 0, and from 0.68 to 1.21 the quintic stays there
TINY = 1e-7  # beside the norm of a matrix, which may be zero


def orthogonalize(
    matrices: jax.Array,
    *,
    iterations: int = 5,
    coefficients: Sequence[float] = COEFFICIENTS,
    dtype: Any = jnp.bfloat16,
) -> jax.Array:
    """Return nearly the orthogonal factor U V^T of each matrix X = U S V^T, by products of matrices alone.

        X <- X / |X|, then so many times X <- a X + b (X X^T) X + c (X X^T)^2 X

    with |X| the Frobenius norm: every singular value s becomes p(...p(s / |X|)), p(s) = a s + b s^3 + c s^5. With the
    published coefficients five iterations bring all above 0.01 to between 0.68 and 1.21; they do not converge to 1.

    Args:
        matrices: (..., m, n), floating.
        iterations: at least 1.
        coefficients: a, b, c.
        dtype: that the products are computed in.

    Returns:
        (..., m, n) of the same dtype; of a matrix of zeros, zeros.

    Raises:
        ValueError: no matrices, no iterations, other than three numbers.
        TypeError: matrices or dtype not floating.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; agrees with
    `optax.contrib.muon`'s iteration.
    """
    where = "orthogonalize"
    matrices = floating(where, "matrices", matrices)
    expect(matrices.ndim >= 2, where, "matrices (..., m, n)", matrices.shape, "Reshape a kernel to (fan_in, features).")
    iterations = expect_count(where, "iterations", iterations, most=100)
    a, b, c = _three(where, coefficients)
    dtype = expect_dtype(where, dtype)
    wide = matrices.astype(jnp.promote_types(matrices.dtype, jnp.float32))
    x = (wide / (jnp.linalg.norm(wide, axis=(-2, -1), keepdims=True) + TINY)).astype(dtype)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x  # the smaller product
    for _ in range(iterations):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).astype(matrices.dtype)


def muon(
    learning_rate: optax.ScalarOrSchedule,
    *,
    momentum: float = 0.95,
    nesterov: bool = True,
    iterations: int = 5,
    coefficients: Sequence[float] = COEFFICIENTS,
    renormalize: Callable[[jax.Array], Any] | None = None,
    dtype: Any = jnp.bfloat16,
) -> optax.GradientTransformation:
    """Return gradient descent along momentum made orthogonal, for kernels alone.

        v <- momentum v + g;   w <- w - learning_rate orthogonalize(g + momentum v),   v in its place without Nesterov

    with a kernel (..., C_in, C_out) as a matrix of a column for each output. All kernels are orthogonalized at once,
    filled up with zeros to one shape, which changes nothing of their singular values: on accelerators it is the number
    of products that costs. `optax.partition` leaves biases, and whatever else is no matrix, to another optimizer.

    Args:
        learning_rate: a number >= 0, or a schedule.
        momentum: in [0, 1).
        nesterov: look ahead.
        iterations, coefficients, dtype: as for `orthogonalize`.
        renormalize: step, counted from 0 -> whether the kernel is first scaled to the norm sqrt(C_out), so that each
            output has weights of norm 1; never unless given. `lambda step: True` is the CIFAR-10 speed recipe's.

    Raises:
        ValueError: a value out of range; on `init`, parameters of one axis.

    Source: as of `orthogonalize`; momentum and norms as in airbench, where optax corrects the momentum of the first
    steps for its start, takes kernels one by one and leaves norms alone.
    """
    where = "muon"
    if not callable(learning_rate):
        what, fix = "learning_rate as a finite number >= 0 or a schedule", "0.02 is usual."
        learning_rate = scalar(where, what, learning_rate, lambda rate: 0 <= rate < math.inf, fix)
    momentum = scalar(where, "momentum in [0, 1)", momentum, lambda m: 0 <= m < 1, "0.95 is usual.")
    nesterov = expect_flag(where, "nesterov", nesterov)
    options = {"iterations": expect_count(where, "iterations", iterations, most=100)}
    options |= {"coefficients": _three(where, coefficients), "dtype": expect_dtype(where, dtype)}
    ok, fix = renormalize is None or callable(renormalize), "Pass lambda step: True, say."
    expect(ok, where, "renormalize as a function of the step", shown(renormalize), fix, TypeError)
    links = [
        _of_matrices(where),
        optax.trace(momentum, nesterov=nesterov),
        optax.stateless(lambda updates, _: _orthogonal(updates, options)),
        optax.scale_by_learning_rate(learning_rate),
    ]
    return optax.chain(*links, *([] if renormalize is None else [_renormalized(renormalize)]))


def _three(where: str, coefficients: Any) -> tuple[float, ...]:
    ok = isinstance(coefficients, Sequence) and len(coefficients) == 3 and all(map(is_number, coefficients))
    expect(ok, where, "three coefficients", shown(coefficients), "Leave them out for the published ones.")
    return tuple(map(float, coefficients))


def _of_matrices(where: str) -> optax.GradientTransformation:
    """Return the identity, which takes no parameters of one axis."""

    def init(params: Any) -> optax.EmptyState:
        shapes = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim < 2]
        fix = "Leave the others to another optimizer: optax.partition."
        expect(not shapes, where, "kernels of two axes or more", f"shapes {shown(shapes)}", fix)
        return optax.EmptyState()

    return optax.GradientTransformation(init, lambda updates, state, params=None: (updates, state))


def _orthogonal(updates: Any, options: dict[str, Any]) -> Any:
    leaves, tree = jax.tree.flatten(updates)
    if not leaves:
        return updates
    flat = [leaf.reshape(-1, leaf.shape[-1]) for leaf in leaves]
    rows, columns = (max(sizes) for sizes in zip(*(matrix.shape for matrix in flat), strict=True))
    stack = jnp.stack([jnp.pad(m, ((0, rows - m.shape[0]), (0, columns - m.shape[1]))) for m in flat])
    found = orthogonalize(stack, **options)
    cut = (one[: m.shape[0], : m.shape[1]] for one, m in zip(found, flat, strict=True))
    return tree.unflatten([one.reshape(leaf.shape) for one, leaf in zip(cut, leaves, strict=True)])


def _renormalized(when: Callable[[jax.Array], Any]) -> optax.GradientTransformation:
    """Return what adds to the updates that which brings each kernel to the norm sqrt(C_out), at such steps."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        fix = "Call update(gradients, state, params)."
        expect(params is not None, "muon", "parameters to renormalize", "None", fix)
        now = jnp.asarray(when(state))

        def scaled(step: jax.Array, kernel: jax.Array) -> jax.Array:
            factor = jnp.sqrt(kernel.shape[-1]) / (jnp.linalg.norm(kernel.ravel()) + TINY)
            return step + jnp.where(now, factor - 1, 0) * kernel

        return jax.tree.map(scaled, updates, params), state + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)

"""Calls that somebody might make by mistake, and what they are told: the property of the fuzz tests.

A call starts from arguments that are right; one or two of them are exchanged or give way to something strange.
"""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from jaxcnn import functional as F
from jaxcnn.checking import is_array, shown
from jaxcnn.layers import Conv

SENTENCE = re.compile(r"\w[\w.]*: expected .+, got .+\. .+[.!?)]", re.DOTALL)
KEY = jax.random.key(0)
X = jnp.linspace(0, 1, 2 * 6 * 6 * 4).reshape(2, 6, 6, 4)
SPEC = jax.ShapeDtypeStruct(X.shape, X.dtype)
NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Traced:
    """An argument that arrives as a traced array, as under `jit`."""

    value: Any


@dataclass(frozen=True, repr=False)
class Case:
    """A function and arguments that are right.

    Args:
        fn: what is called.
        base: the arguments.
        host: it works on NumPy arrays: never traced as a whole.
        raises: what it may raise beside the design's errors, as documented.
    """

    fn: Callable[..., Any]
    base: Mapping[str, Any]
    host: bool = False
    raises: tuple[type[Exception], ...] = ()

    def __repr__(self) -> str:
        return getattr(self.fn, "__name__", str(self.fn))


@dataclass(frozen=True, repr=False)
class Call:
    """What was called, shown as one would write it."""

    case: Case
    arguments: Mapping[str, Any]
    abstract: bool  # arrays are traced, so that nothing is computed

    def __repr__(self) -> str:
        changed = {n: v for n, v in self.arguments.items() if v is not self.case.base[n]}
        given = ", ".join(f"{n}={_shown(v)}" for n, v in changed.items())
        return f"{self.case}(..., {given}){' traced' if self.abstract else ''}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def run(self) -> None:
        """Make the call."""
        traced, known = {}, {}
        for name, value in self.arguments.items():
            if isinstance(value, Traced):
                traced[name] = value.value
            elif self.abstract and is_array(value) and value.shape and not isinstance(value, jax.ShapeDtypeStruct):
                traced[name] = value
            else:
                known[name] = value
        with np.errstate(all="ignore"):  # 1e300 becomes inf in float32, with NumPy's warning
            if traced:
                jax.eval_shape(lambda given: self._value(known | given) and None, traced)
            else:
                jax.block_until_ready(self._value(known))

    def _value(self, arguments: Mapping[str, Any]) -> tuple[Any]:
        parameters = inspect.signature(self.case.fn).parameters.values()
        first = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        named = {name: value for name, value in arguments.items() if name not in first}
        return (self.case.fn(*(arguments[name] for name in first), **named),)

    def check(self) -> None:
        """Make the call; let every error through that is not one sentence in the design's form."""
        try:
            self.run()
        except (ValueError, TypeError) as error:
            message = str(error)
            if type(error) in (ValueError, TypeError) and SENTENCE.fullmatch(message) and len(message) < 800:
                return
            raise
        except self.case.raises:
            return


def of(fn: Callable[..., Any], usual: Mapping[str, Any], /, *, host: bool = False, raises=(), **given: Any) -> Case:
    """Return the case of a function: its arguments are those `given`, the `usual` ones of that name, its defaults."""
    base = {}
    for name, parameter in inspect.signature(fn).parameters.items():
        found = [place[name] for place in (given, usual) if name in place]
        default = [] if parameter.default is inspect.Parameter.empty else [parameter.default]
        base[name] = (found[:1] if name in given else default or found)[0]
    return Case(fn, base, host, raises)


HUGE = [1000, 10**5, 2**31, 10**12, 10**30, 10**400]
STRANGE = [
    *(None, True, False, ..., slice(None), int, object(), b"1", "", "2", "SAME", "kernel", "a/b", "nan", 1j, Path(".")),
    *(-1, 0, 1, 2, 3, 7, *HUGE, -(10**12), 0.0, -0.0, 0.5, -0.5, 1.5, 1e300, NAN, INF, -INF),
    *([], (), [1], (1,), (1, 2), [2, 2], (1, 2, 3), (2, 1), (0, 0), (-1, -1), (1.5, 2), (NAN, 1), (0, INF), ("a", "b")),
    *((None, 1), ((1, 1), (1, 1)), [[1], [2, 3]], range(3), set(), {}, {1: 2}, {"image": X}, {"image": X, "label": 1}),
    *(np.float32(2), np.int64(3), np.uint8(2), np.bool_(True), np.array(2), np.array([1, 2]), np.array([0.5])),
    *(np.array(["a"]), np.array("1"), np.array([None, 1]), np.datetime64("2026-01-01")),
    *(jnp.float32(0.5), jnp.int32(2), jnp.bool_(True), KEY, jax.random.split(KEY), jax.random.key_data(KEY)),
    *(X, X[0], X[0, 0, 0], X > 0.5, X.astype(jnp.int32), X * 1j, X * NAN, X.astype(jnp.bfloat16), np.asarray(X), SPEC),
    *(
        np.asarray(X, object),
        np.asarray(X, np.float64),
        jnp.zeros((0,)),
        jnp.zeros((2, 0, 6, 4)),
        jnp.zeros((0, 6, 6, 4)),
    ),
    *(jnp.zeros((2, 6, 6, 0)), np.zeros((2, 2), np.uint32), np.zeros(4, np.uint32), X.dtype, jnp.bfloat16, "float32"),
    *(Traced(2), Traced(0.5), Traced(True), Traced(X), Traced(KEY), F.relu, Conv, Conv(4), len),
]


def strange(value: Any) -> st.SearchStrategy[Any]:
    """Return something for the place of `value`: anything at all, or nearly the right thing."""
    if callable(value):  # a function of other arguments raises errors of its own
        return st.sampled_from([thing for thing in STRANGE if not callable(thing)])
    near = _near(value)
    anything = st.sampled_from(STRANGE)
    return st.one_of(anything, st.sampled_from(near)) if near else anything


def _near(value: Any) -> list[Any]:
    if isinstance(value, jax.Array | np.ndarray) and isinstance(value.dtype, np.dtype):
        a = value
        shapes = [a.T, a[None], a.ravel(), a[..., None]]
        if a.ndim:
            shapes += [a[0], a[..., 0], a[:0], a[..., :0], a[:1], a[1:], a.repeat(2, 0), a.repeat(2, -1)]
        dtypes = (jnp.int32, jnp.uint8, jnp.bool_, jnp.complex64, jnp.float16, jnp.float32, jnp.int8)
        others = [a.tolist(), np.asarray(a), np.asarray(a, object), np.asarray(a).astype(str), -a if a.ndim else a]
        return [*shapes, *(a.astype(dtype) for dtype in dtypes), *others, a * 0, a + a, Traced(jnp.asarray(a))]
    if isinstance(value, int | float) and not isinstance(value, bool):
        pairs = [[value], (value, value), (value, value, value), (value, -value), (0, value), (value, str(value))]
        exact = [np.asarray(value), jnp.asarray(value), np.float64(value), Traced(jnp.asarray(value))]
        return [-value, value + 1, value * 2, value + 0.5, str(value), complex(value), *pairs, *exact]
    if isinstance(value, tuple | list):
        items = list(value)
        swapped = [[*items[:-1], odd] for odd in (None, "a", -1, 0, NAN, 1.5, 10**12, X, [1])] if items else []
        return [items, items[::-1], items[:-1], items + items, str(value), dict.fromkeys(map(str, items)), *swapped]
    if isinstance(value, str):
        return [value.upper(), value + "x", value[:-1], [value], (value, value), value.encode(), f"{value}/{value}"]
    if isinstance(value, dict):
        less = [{n: v for n, v in value.items() if n != name} for name in value]
        more = [{**value, name: odd} for name in value for odd in (None, 1, "a", X, X[0, 0], KEY, {}, [1, 2], X > 0)]
        return [*less, *more, {**value, "more": 1}, {**value, 3: X}, list(value), list(value.values()), tuple(value)]
    return []


@st.composite
def calls(draw: st.DrawFn, case: Case, *, abstract: bool | None = None) -> Call:
    """Return a strategy of calls of the case; `abstract` says whether nothing is computed, unless by chance."""
    arguments = dict(case.base)
    names = draw(st.lists(st.sampled_from(sorted(arguments)), min_size=1, max_size=2, unique=True))
    if len(names) == 2 and draw(st.integers(0, 3)) == 0:
        one, other = names
        if not (callable(arguments[one]) and callable(arguments[other])):
            arguments[one], arguments[other] = arguments[other], arguments[one]
    else:
        for name in names:
            arguments[name] = draw(strange(arguments[name]))
    traced = draw(st.booleans()) if abstract is None else abstract
    return Call(case, arguments, traced and not case.host)


def _shown(value: Any) -> str:
    return f"traced {_shown(value.value)}" if isinstance(value, Traced) else shown(value)

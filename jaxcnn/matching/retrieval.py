"""Retrieval: do the most similar ones show the same? Recall at k and average precision, in fixed shapes."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcnn.checking import array, expect, expect_count, floating, integral, is_int, shown
from jaxcnn.matching.similarity import cosine_similarity

__all__ = ["Retrieved", "average_precision", "recall_at", "retrieve"]

TOGETHER = 256  # queries that are compared with all candidates at once


def recall_at(similarity: jax.Array, relevant: jax.Array, *, k: int, among: jax.Array | None = None) -> jax.Array:
    """Return 1.0 for each query that has a relevant candidate among the k most similar ones, else 0.0.

    What is as similar as the best relevant candidate counts as before it, so that a net to which all images are alike
    gains nothing; a similarity that is NaN counts against the query.

    Args:
        similarity: floating (..., G), of each query with G candidates.
        relevant: bool (..., G), which of them are right.
        k: how many are looked at, 1..G.
        among: bool (..., G), which candidates there are; all unless given. It leaves the query itself out.

    Returns:
        (...,) float32; NaN for a query that has no relevant candidate.

    Raises:
        ValueError: shapes that differ, a k out of range.
        TypeError: similarities that are not floating, `relevant` or `among` no bools.

    Source: Jegou et al. 2011, section V; Oh Song et al. 2016, section 5 (recall at k of metric learning).
    """
    s, relevant, wrong = _candidates("recall_at", similarity, relevant, among)
    count = s.shape[-1]
    expect(is_int(k, 1, count), "recall_at", f"k in 1..{count}", shown(k), "Look at the candidates there are.")
    best = jnp.max(s, -1, initial=-jnp.inf, where=relevant, keepdims=True)
    before = jnp.sum((s >= best) & wrong, -1)
    return jnp.where(relevant.any(-1), (before < int(k)).astype(s.dtype), jnp.nan)


def average_precision(similarity: jax.Array, relevant: jax.Array, *, among: jax.Array | None = None) -> jax.Array:
    """Return the average precision of each query; their mean is the mean average precision (mAP).

        1/R sum over the R relevant candidates c of  (relevant ones as similar as c or more) / (all such)

    Args:
        similarity, relevant, among: as of `recall_at`.

    Returns:
        (...,) float32, in (0, 1]; NaN for a query that has no relevant candidate: take `jnp.nanmean`.

    Raises:
        ValueError: shapes that differ.
        TypeError: similarities that are not floating, `relevant` or `among` no bools.

    Source: Manning et al. 2008, section 8.4; agrees with `sklearn.metrics.average_precision_score`, in ties too.
    """
    s, relevant, _ = _candidates("average_precision", similarity, relevant, among)
    order = jnp.argsort(-s, -1)
    s, relevant = jnp.take_along_axis(s, order, -1), jnp.take_along_axis(relevant, order, -1)
    hits, count = jnp.cumsum(relevant, -1), s.shape[-1]
    ends = jnp.concatenate([s[..., 1:] != s[..., :-1], jnp.ones_like(relevant[..., :1])], -1)
    # The last place of those that are equally similar: none of them comes before another.
    last = jax.lax.cummin(jnp.where(ends, jnp.arange(count), count), axis=s.ndim - 1, reverse=True)
    precision = jnp.take_along_axis(hits, last, -1) / (last + 1)
    return jnp.sum(jnp.where(relevant, precision, 0), -1) / jnp.where(hits[..., -1] > 0, hits[..., -1], jnp.nan)


class Retrieved(NamedTuple):
    """What was found for each of Q queries, best first.

    `nearest` are the numbers of the most similar candidates, (Q, K) int32, and `similarity` their cosines; `recall`
    says whether one of the first k has the query's label, (Q, one for each k) of 0.0 and 1.0; `average_precision` is
    (Q,). The last two are NaN for a query whose label no candidate has.
    """

    nearest: jax.Array
    similarity: jax.Array
    recall: jax.Array
    average_precision: jax.Array


def retrieve(
    queries: ArrayLike,
    labels: ArrayLike,
    gallery: ArrayLike | None = None,
    gallery_labels: ArrayLike | None = None,
    *,
    at: Sequence[int] = (1, 5, 10),
) -> Retrieved:
    """Return what is most similar to each query, by cosines, and how good it is: a candidate is right with its label.

    Args:
        queries: embeddings (Q, D), floating.
        labels: integers (Q,).
        gallery, gallery_labels: the candidates, (G, D) and (G,); for each query all others unless given.
        at: the ks of `recall`; the largest is the K of `nearest`.

    Returns:
        `Retrieved`. Some queries are compared at a time: memory grows with G, not with Q G.

    Raises:
        ValueError: shapes that do not fit, one of gallery and gallery_labels alone, a k beyond the candidates.
        TypeError: embeddings that are not floating, labels that are no integers.
    """
    where, fix = "retrieve", "Pass classes."
    x, y = floating(where, "queries", queries), integral(where, "labels", labels, fix)
    both = (gallery is None) == (gallery_labels is None)
    expect(both, where, "gallery and gallery_labels, or neither", "one of them", "Pass both.")
    alone = gallery is None or gallery_labels is None
    others = x if alone else floating(where, "gallery", gallery)
    found = y if alone else integral(where, "gallery_labels", gallery_labels, fix)
    for name, rows, of in (("queries", x, y), ("gallery", others, found)):
        ok = rows.ndim == 2 and len(rows) > 0 and of.shape == rows.shape[:1]
        expect(ok, where, f"{name} (N, D) with a label of each", f"{rows.shape} and {of.shape}", "Flatten them.")
    ok = x.shape[1] == others.shape[1]
    expect(ok, where, f"a gallery of {x.shape[1]} numbers each", others.shape[1], "Embed both with one net.")
    count = len(others) - alone
    listed = isinstance(at, Sequence) and len(at) > 0 and all(is_int(k, 1) for k in at)
    expect(listed, where, "at as a list of positive ints", shown(at), "Pass at=(1, 5), say.")
    largest = expect_count(where, "at", max(at), most=count)
    return _retrieved(x, y, others, found, at=tuple(map(int, at)), largest=largest, alone=alone)


@partial(jax.jit, static_argnames=("at", "largest", "alone"))
def _retrieved(
    queries: jax.Array, labels: jax.Array, gallery: jax.Array, gallery_labels: jax.Array, *, at, largest, alone
) -> Retrieved:
    def one(query: tuple[jax.Array, jax.Array, jax.Array]) -> Retrieved:
        embedding, label, number = query
        similarity = cosine_similarity(embedding[None], gallery)[0]
        relevant = gallery_labels == label
        among = jnp.arange(len(gallery)) != number if alone else jnp.ones_like(relevant)
        best, nearest = jax.lax.top_k(jnp.where(among, similarity, -jnp.inf), largest)
        recall = jnp.stack([recall_at(similarity, relevant, k=k, among=among) for k in at])
        return Retrieved(nearest, best, recall, average_precision(similarity, relevant, among=among))

    numbers = jnp.arange(len(queries))
    return jax.lax.map(one, (queries, labels, numbers), batch_size=min(TOGETHER, len(queries)))


def _candidates(
    where: str, similarity: jax.Array, relevant: jax.Array, among: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the similarities, float32 and none of them NaN, and which of the candidates are right and which wrong."""
    s, relevant = floating(where, "similarity", similarity), array(where, "relevant", relevant)
    given = {"relevant": relevant} | ({} if among is None else {"among": array(where, "among", among)})
    expect(s.ndim >= 1 and s.shape[-1] > 0, where, "similarity (..., G)", s.shape, "Pass one for each candidate.")
    for name, rows in given.items():
        fix = f"Give each candidate one entry of {name}."
        expect(rows.dtype == bool, where, f"{name} as bools", rows.dtype, "Compare labels with ==.", TypeError)
        expect(rows.shape == s.shape, where, f"{name} of shape {s.shape}", rows.shape, fix)
    s = s.astype(jnp.promote_types(s.dtype, jnp.float32))
    s = jnp.where(jnp.isnan(s), jnp.where(relevant, -jnp.inf, jnp.inf), s)
    if among is None:
        return s, relevant, ~relevant
    among = given["among"]
    return jnp.where(among, s, -jnp.inf), relevant & among, ~relevant & among

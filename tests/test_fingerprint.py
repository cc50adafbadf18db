"""The hash that says whether two runs gave the same bits."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import fingerprint
from jaxcnn.functional import BatchStats

TREE = {"conv": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "norm": BatchStats(jnp.zeros(2), jnp.ones(2))}


def test_equal_trees_have_equal_fingerprints():
    again = {
        "norm": BatchStats(np.zeros(2, np.float32), jnp.ones(2)),
        "conv": {"kernel": np.arange(6.0, dtype="f").reshape(2, 3)},
    }
    assert fingerprint(TREE) == fingerprint(again)
    assert len(fingerprint(TREE)) == 64
    transposed = {"a": np.arange(6.0).reshape(2, 3).T}  # not contiguous
    assert fingerprint(transposed) == fingerprint({"a": np.ascontiguousarray(transposed["a"])})


def test_every_change_shows():
    kernel = TREE["conv"]["kernel"]
    changes = [
        {"conv": {"kernel": kernel.at[1, 2].add(4e-7)}},
        {"conv": {"kernel": kernel.reshape(3, 2)}},
        {"conv": {"kernel": kernel.astype(jnp.bfloat16)}},
        {"conv": {"weight": kernel}},
        {"conv2": {"kernel": kernel}},
        {"conv": {"kernel": kernel.at[0, 0].set(-0.0)}},
        {"conv": {"kernel": kernel, "bias": jnp.zeros(0)}},
        {"norm": BatchStats(jnp.ones(2), jnp.zeros(2))},
        {"key": jax.random.key(0)},
        {"key": jax.random.key(1)},
    ]
    prints = [fingerprint(TREE | change) for change in changes]
    assert len({fingerprint(TREE), *prints}) == len(changes) + 1


def test_does_not_change_from_process_to_process_or_version_to_version():
    # Records of old runs hold such hashes.
    tree = {"a": np.arange(3, dtype=np.int32), "b": [np.float32(1.5)]}
    assert fingerprint(tree) == "93ad1e14e91c66b4536bcf2802910e60a6f8b1386c4111768a0431342b5b65fd"

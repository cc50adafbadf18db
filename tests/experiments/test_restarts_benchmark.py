"""The benchmark of many trainings: what takes turns does the same steps, and what is promised is judged."""

import jax
import numpy as np
import pytest

from experiments.benchmarks import restarts
from experiments.benchmarks.nets import ours

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = restarts.Config(batch_size=4, examples=12, steps=2)
SHAPE = (8, 8, 1)


@pytest.mark.slow
def test_one_by_one_and_under_vmap_are_the_same_steps():
    training = ours.build("lenet", np.float32, SHAPE)
    states = []
    for make in (restarts.one_by_one, restarts.vmapped):
        program = make(CONFIG, SHAPE, 2, training)
        program.call()
        states.append(program.wait())
    one_by_one, (vmapped,) = states
    for lane, state in enumerate(one_by_one):
        assert int(state.step) == 2
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(vmapped.params), strict=True):
            np.testing.assert_allclose(a, b[lane], rtol=1e-4, atol=1e-6)


def test_in_one_program_all_trainings_move():
    program = restarts.together(CONFIG, SHAPE, 2)
    program.call()
    assert np.concatenate([state.step for state in program.wait()]).tolist() == [2, 2]


def row(peer, ratio, name="digits", trainings=16):
    return {"set": name, "trainings": trainings, "peer": peer, "ratio": ratio}


def test_what_is_slower_than_promised_is_named():
    fast = [row(peer, 5.5) for peer in restarts.PEERS]
    assert restarts.misses(fast) == []
    assert restarts.misses([row(restarts.PEERS[1], 2.5)]) == ["digits against linen, one by one below 3"]
    assert restarts.misses([row(restarts.PEERS[1], 2.5, "fashion_mnist")]) == []
    assert restarts.misses([row(restarts.PEERS[0], 0.9, trainings=4)]) == []


@pytest.mark.parametrize(("options", "what"), [({"trainings": (0,)}, "trainings >= 1"), ({"examples": 2}, "examples")])
def test_bad_options(options, what):
    with pytest.raises(ValueError, match=f"^restarts: expected {what}"):
        restarts.main(restarts.Config(**{"batch_size": 4} | options))

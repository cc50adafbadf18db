"""The benchmark of attacks: its record, what it says without foolbox or PyTorch, and that foolbox has the same net."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import attacks
from tests.attack.twins import peer
from tests.experiments.test_explain_benchmark import script

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_the_scripts_of_the_others_are_there():
    there = {path.name for path in Path(attacks.__file__).with_name("other_python").glob("*.py")}
    assert {*(script for script, *_ in attacks.PEERS.values()), "torch_explanations.py"} <= there


@pytest.mark.slow
def test_without_foolbox_it_says_so(tmp_path):
    fake = script(tmp_path, """echo '{"missing": "foolbox"}'""")
    message = r"^attacks: expected a Python to compare with, got one without foolbox\. Pass --torch-python with one"
    with pytest.raises(ImportError, match=message):
        attacks.main(attacks.Config(quick=True, torch_python=fake))


def test_rows_say_who_was_faster_and_stronger(tmp_path):
    answers = """echo '{"jax": "0", "ways": {"pgd": ["slow", "fast"]}}'
    while read line; do case $line in *fast*) echo '{"seconds": 0.5}';; *) echo '{"seconds": 2}';; esac; done"""
    x, y = jnp.full((2, 4, 4, 1), 0.5), jnp.array([0, 1])
    np.save(tmp_path / "images.npy", np.zeros((2, 1, 4, 4), np.float32))
    logits_fn = lambda x: jnp.stack([x.sum((1, 2, 3)), jnp.full(len(x), 4.0)], -1)  # noqa: E731
    config = attacks.Config(seconds=0.0, turn=0.0)
    with attacks.PeerProcess("attacks", script(tmp_path, answers), "torch_attacks.py", tmp_path, "") as process:
        own = {"pgd": lambda: x}
        (row,) = attacks.measured(config, process, "torch", own, tmp_path, logits_fn, x, y)
    assert row["peer"] == "fast"
    assert row["theirs_ms"] == 500
    assert row["target"] == 1.0
    assert row["robust"] == 0.5  # at 0.5 the net takes both for the first class
    assert row["theirs_robust"] == 0.5  # at 0 for the second
    assert row["others"]["slow"] == {"seconds": 2, "robust": 0.5}
    assert "50.0 % withstand ours" in attacks.line(row)


@pytest.mark.slow
def test_a_small_run_beside_foolbox_and_torchattacks_is_json():
    for package in ("torch", "foolbox", "torchattacks", "pyautoattack"):
        peer(package)
    result = attacks.main(attacks.Config(quick=True))
    assert json.loads(json.dumps(result.figures)) == result.figures
    assert [row["attack"] for row in result.figures["cases"]] == ["pgd", "pgd", "standard"]
    assert all(row["ratio"] > 0 for row in result.figures["cases"])
    assert result.figures["versions"]["foolbox"]["jax"] == jax.__version__
    assert result.holds, result.verdict

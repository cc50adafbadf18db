"""Twenty processes killed with SIGKILL, at every place of a save and in between: nothing is lost."""

import pytest

from experiments.benchmarks import torture, victim


@pytest.mark.slow
def test_twenty_kills():
    result = torture.main(torture.Config(kills=20))
    assert result.holds, result.figures
    assert result.figures["kills"] == 20
    assert result.figures["lost"] == 0
    assert {row["killed in"] for row in result.figures["phases"]} == {*victim.PHASES, victim.ANYWHERE}


def test_a_run_with_another_end_is_lost():
    rows = [
        {"repeated": 1, "same": True},
        {"repeated": victim.SAVE_EVERY + 1, "same": True},
        {"repeated": 0, "same": False},
    ]
    assert torture.of_phase("rename", rows) == {"killed in": "rename", "kills": 3, "lost": 2, "repeated at most": 3}

"""What tests of several experiments share."""

import pytest

from experiments.apparatus import small_nets


@pytest.fixture(scope="module")
def two_stages():
    """Let nets have two stages: they compile in half the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_nets, "STAGES", 2)
        yield

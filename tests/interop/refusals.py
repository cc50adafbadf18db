"""What tests of hostile files share: a refusal in the design's form, and programs of their own that report as JSON."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def check_refused(read, path, data, said, sentence, longest):
    """Write the file, and check that reading it is refused in a sentence, and leaves nothing beside it."""
    path.write_bytes(data)
    with pytest.raises(ValueError, match=said) as caught:
        read(path)
    assert re.fullmatch(sentence, str(caught.value)), str(caught.value)
    assert len(str(caught.value)) < longest
    assert os.listdir(path.parent) == [path.name]


def run(code: str, *arguments, cwd: Path):
    """Return what a program of its own prints as JSON."""
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env=os.environ | {"PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)

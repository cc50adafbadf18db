"""What is recorded of the place of a run."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys

import jax
import pytest

from jaxcnn.training import environment

MODULE = sys.modules["jaxcnn.training.environment"]  # the package's attribute of that name is the function


def test_says_what_decides_the_bits():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["packages"].keys() == set(MODULE.PACKAGES)
    assert found["packages"]["jax"] == jax.__version__
    assert found["packages"]["optax"] == importlib.metadata.version("optax")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["devices"] == jax.device_count()
    assert found["device"].startswith(jax.devices()[0].platform)
    assert found["prng"] == "threefry2x32"


def test_packages_that_are_not_installed_are_none(monkeypatch):
    monkeypatch.setattr(MODULE, "PACKAGES", ("jax", "no-such-package"))
    assert environment()["packages"] == {"jax": jax.__version__, "no-such-package": None}


def in_a_copy(tmp_path, monkeypatch):
    """Let the code believe that it lies in `tmp_path`."""
    folder = tmp_path / "jaxcnn" / "training"
    folder.mkdir(parents=True)
    file = folder / "environment.py"
    file.touch()
    monkeypatch.setattr(MODULE, "__file__", str(file))
    return file


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_revision_is_that_of_the_checkout(tmp_path, monkeypatch):
    def git(*args):
        name = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *name, *args], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    file = in_a_copy(tmp_path, monkeypatch)
    git("init")
    (tmp_path / "other").touch()
    git("add", "other")
    git("commit", "-m", "without the code")
    assert environment()["revision"] is None  # an installed copy inside somebody else's checkout
    git("add", ".")
    git("commit", "-m", "with it")
    revision = environment()["revision"]
    assert re.fullmatch("[0-9a-f]{40}", revision)
    assert revision == git("rev-parse", "HEAD").strip()
    file.write_text("changed")
    assert environment()["revision"] == f"{revision}+"


def test_without_git_the_revision_is_none(tmp_path, monkeypatch):
    in_a_copy(tmp_path, monkeypatch)
    assert environment()["revision"] is None
    monkeypatch.setenv("PATH", "")
    assert environment()["revision"] is None

"""What is recorded of the place of a run."""

import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys

import jax
import pytest

from jaxcnn.training import environment
from jaxcnn.training.environment import uncommitted

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
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


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Let the code believe that it lies in `tmp_path`; return its file."""
    folder = tmp_path / "jaxcnn" / "training"
    folder.mkdir(parents=True)
    file = folder / "environment.py"
    file.write_text("before\n")
    monkeypatch.setattr(MODULE, "__file__", str(file))
    MODULE._checkout.cache_clear()
    yield file
    MODULE._checkout.cache_clear()


def git(folder, *args):
    name = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *name, *args], cwd=folder, capture_output=True, text=True, check=True).stdout


def anew():
    """Return the environment as another process sees it."""
    MODULE._checkout.cache_clear()
    return environment()


@needs_git
def test_the_revision_is_that_of_the_checkout(copy, tmp_path):
    git(tmp_path, "init")
    (tmp_path / "other").touch()
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-m", "without the code")
    assert anew()["revision"] is None  # an installed copy inside somebody else's checkout
    assert uncommitted() == b""
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "with it")
    revision = anew()["revision"]
    assert re.fullmatch("[0-9a-f]{40}", revision)
    assert revision == git(tmp_path, "rev-parse", "HEAD").strip()
    assert environment()["diff_sha256"] is None
    copy.write_text("changed\n")
    assert environment()["revision"] == revision  # this process runs the code that it began with
    assert anew()["revision"] == f"{revision}+"


@needs_git
def test_the_diff_makes_the_code_of_the_revision_that_of_the_run(copy, tmp_path):
    git(tmp_path, "init")
    git(tmp_path, "config", "diff.noprefix", "true")
    git(tmp_path, "config", "color.ui", "always")
    (tmp_path / "gone").write_text("gone\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "all")
    added = {
        "jaxcnn/new.py": b"new = 1\n",
        "jaxcnn/caf\u00e9.py": b"new = 2\n",
        "experiments/deep/new.bin": bytes(range(256)),
    }
    for name, content in added.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "notes").write_text("of no concern\n")
    copy.write_text("after\n")
    (tmp_path / "gone").unlink()
    found = anew()
    diff = uncommitted()
    assert found["diff_sha256"] == hashlib.sha256(diff).hexdigest()
    assert b"of no concern" not in diff

    clone = tmp_path / "clone"
    git(tmp_path, "clone", ".", "clone")
    (clone / "diff.patch").write_bytes(diff)
    git(clone, "apply", "diff.patch")
    assert (clone / "jaxcnn/training/environment.py").read_text() == "after\n"
    assert {name: (clone / name).read_bytes() for name in added} == added
    assert not (clone / "gone").exists()


def test_the_lock_is_hashed_where_there_is_one(copy, tmp_path):
    assert environment()["lock_sha256"] is None
    (tmp_path / "requirements.lock").write_text("jax==0.12.0\n")
    assert environment()["lock_sha256"] == hashlib.sha256(b"jax==0.12.0\n").hexdigest()


def test_without_git_the_revision_is_none(copy, monkeypatch):
    assert anew()["revision"] is None
    monkeypatch.setenv("PATH", "")
    assert anew()["revision"] is None
    assert uncommitted() == b""

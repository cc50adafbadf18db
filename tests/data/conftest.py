"""What the tests of data on disk share: tiny prepared sets, a private cache, the real sets where they are."""

from pathlib import Path

import pytest

from jaxcnn.data.array_record import write_prepared
from tests.shared_data import SHARED


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The cache folder of one test, not there yet."""
    folder = tmp_path / "caches" / "jaxcnn"
    monkeypatch.setenv("JAXCNN_CACHE", str(folder))
    return folder


@pytest.fixture
def prepared(tmp_path):
    """Return a function that writes a prepared set, by ourselves, and returns the folder of all sets."""
    pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")

    def write(name, parts, class_names=("a", "b"), version="1.0.0", folder=tmp_path / "sets"):
        home = folder / name / version
        home.mkdir(parents=True)
        title = name.split("/")[0]
        write_prepared(home, title, parts, version=version, class_names=class_names, description="d", homepage="h")
        return folder

    return write


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real sets; skip where it is not."""
    if not SHARED.is_dir():
        pytest.skip(f"no real sets in {SHARED}")
    return SHARED

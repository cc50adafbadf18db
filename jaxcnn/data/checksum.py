"""Whether what lies on disk is what its authors published."""

import hashlib
from typing import Any

from jaxcnn.checking import expect

__all__ = ["verify"]


def verify(what: object, data: Any, sha256: str, fix: str) -> None:
    """Raise `ValueError`, with both hashes, unless `data` (bytes or a contiguous array) has this SHA-256, in hex."""
    got = hashlib.sha256(data).hexdigest()
    expect(got == sha256, "load", f"{what} with SHA-256 {sha256}", got, f"{fix} Nothing was written.")

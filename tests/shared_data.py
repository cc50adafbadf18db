"""The folder of real sets and published weights, which is there on some machines only."""

import os
from pathlib import Path

SHARED = Path(os.environ.get("JAXCNN_DATA") or Path(__file__).parents[2] / "shared" / "data")

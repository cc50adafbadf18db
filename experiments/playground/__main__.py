"""What does a net see in what one draws, and how small a change breaks it? A page to draw on, live."""

from pathlib import Path

from experiments.framework.runner import run
from experiments.playground import Config, main

if __name__ == "__main__":
    run(main, Config, name=lambda config: f"playground-{Path(config.source).stem or config.dataset}{config.ending}")

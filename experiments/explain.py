"""Why does a net answer what it answers to this image, and can the pictures of it be trusted?

`python -m experiments.explain runs/digits-lenet5-seed0 --image a.png` explains an image file; without `--image`, the
test image that the net got wrong most surely, or that of `--index`. Without a run it trains LeNet on the digits first.
The page: the answers, five attributions side by side with the sanity verdict of each method, the nearest training
examples, and the activations layer by layer. About 20 s on 2 cores.

Source: Adebayo et al. 2018 for the verdicts; each method's is in its docstring.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.apparatus.explanation import explained, surest_mistake, test_image
from experiments.apparatus.trained import OfNet, Trained, trained
from experiments.framework.runner import Result, run
from jaxcnn.checking import expect, expect_count


@dataclass(frozen=True)
class Config(OfNet):
    image: str | None = None  # a file; None for one of the test images
    index: int | None = None  # of the test image; None for the one that the net got wrong most surely
    target: str | None = None  # the class whose evidence is shown; None for the likeliest


def main(config: Config) -> Result:
    where = "explain"
    one = config.image is None or config.index is None
    expect(one, where, "an image or an index", f"{config.image} and {config.index}", "Leave one of them out.")
    expect(
        config.image is None or Path(config.image).is_file(), where, "an image file", config.image, "Look at its path."
    )
    found = trained(where, config)
    names = list(found.class_names)
    known = config.target is None or config.target in names
    expect(known, where, f"a target among {names}", config.target, "Choose one of them.")
    image, title = chosen(config, found)
    target = None if config.target is None else names.index(config.target)
    sections, figures = explained(
        found.model, found.train, found.test, image, title=title, target=target, seed=config.seed
    )
    answer, share = next(iter(figures["answers"].items()))
    passing = [name for name, verdict in figures["verdicts"].items() if verdict["passes"]]
    verdict = (
        f"{title}: {answer!r} with {100 * share:.1f} %; of {len(figures['verdicts'])} methods {len(passing)} pass the "
        f"sanity check ({', '.join(passing) or 'none'})."
    )
    return Result(figures, sections, verdict)


def chosen(config: Config, found: Trained) -> tuple[np.ndarray, str]:
    """Return the image, and what it is."""
    if config.image is not None:
        path = Path(config.image)
        return found.model.read(path)[0], path.name
    if config.index is None:
        return test_image(found.test, surest_mistake(found.model, found.test))
    return test_image(found.test, expect_count("explain", "index", config.index, 0, found.test.size - 1))


if __name__ == "__main__":
    run(main, Config, name=lambda config: f"explain-{Path(config.source).stem or config.dataset}{config.ending}")

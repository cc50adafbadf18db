"""How small a change fools a trained net, and can one believe what withstands?

`python -m experiments.breaking runs/digits-lenet5-seed0` attacks the net of a training run; without one it trains LeNet
on the digits first (`--dataset fashion_mnist` for others). The page: AutoAttack's standard ensemble on 256 test images,
with the signs of gradient masking; accuracy against epsilon under noise, FGSM, PGD, APGD and Square; the smallest
changes that fool, with pictures; one perturbation for all images, rotations, other light; and images of nothing that
the net is sure to know. What it promises: at the same epsilon none of noise, FGSM, PGD, APGD and Square leaves less
than the standard evaluation of the same images, and there is no sign of masking, so that the figures can be believed.
Some minutes on 2 cores.

Source: Croce & Hein 2020; Carlini et al. 2019, "On evaluating adversarial robustness".
"""

from dataclasses import dataclass
from pathlib import Path

from experiments.apparatus.robustness import Effort, broken
from experiments.apparatus.trained import OfNet, trained
from experiments.framework.runner import Result, judge, run
from jaxcnn.checking import expect

QUICK = Effort(32, 200, 16, 50, 20, 7, 64, 20)


@dataclass(frozen=True)
class Config(OfNet):
    epsilon: float | None = None  # largest change of a pixel, of full scale; None: 8/255 in colour, 0.1 in grey
    images: int = 256  # test images for the standard evaluation
    queries: int = 5000  # of Square, of each image there
    curve_images: int = 64  # of these, for the curves and the other attacks
    curve_queries: int = 500  # of Square, of each image and epsilon there
    steps: int = 100  # of attacks by gradient


def main(config: Config) -> Result:
    ok = config.epsilon is None or 0 < config.epsilon <= 1
    expect(ok, "breaking", "epsilon above 0, at most 1", config.epsilon, "Pass --epsilon 0.03, say.")
    names = ("images", "queries", "curve_images", "curve_queries", "steps")
    effort = QUICK if config.quick else Effort(**{name: getattr(config, name) for name in names})
    found = trained("breaking", config)
    result = broken(found.model, found.train, found.test, epsilon=config.epsilon, effort=effort, seed=config.seed)
    judgement = judge(config, result.answer, result.promises)
    return Result(result.figures, result.sections, *judgement, result.headline)


if __name__ == "__main__":
    run(main, Config, name=lambda config: f"breaking-{Path(config.source).stem or config.dataset}{config.ending}")

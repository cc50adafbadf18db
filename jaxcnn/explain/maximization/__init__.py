"""Images that a class, a channel, a unit or a whole layer of a net likes best, and images remade from what it knows.

    from jaxcnn.explain import maximization as mx

    found = mx.maximize(key, net, params, state, mx.ClassScore(jnp.arange(10)) - 0.01 * mx.TotalVariation(),
                        shape=(10, 28, 28, 1))
    found.images, found.scores

What is maximised is a sum of objectives (`ClassScore`, `Channel`, `Unit`, `WholeLayer`, `Direction`, `Diversity`, less
`TotalVariation` and `SquaredNorm`), of images as a function of parameters (`Fourier` or `Pixels`), which are moved a
little at each step (`Robustness`). Classes, channels, weights and so on are one number for all images or one for each.
"""

from jaxcnn.explain.maximization.caricature import Likeness, caricature
from jaxcnn.explain.maximization.colours import colour_basis
from jaxcnn.explain.maximization.deep_dream import deep_dream
from jaxcnn.explain.maximization.inversion import Inverted, Match, invert
from jaxcnn.explain.maximization.maximize import Maximized, maximize, maximize_function
from jaxcnn.explain.maximization.objective import Objective
from jaxcnn.explain.maximization.parameterization import Fourier, Parameterization, Pixels
from jaxcnn.explain.maximization.priors import Diversity, SquaredNorm, TotalVariation
from jaxcnn.explain.maximization.robustness import Robustness
from jaxcnn.explain.maximization.style import GramMatch, style_transfer
from jaxcnn.explain.maximization.units import Channel, ClassScore, Direction, LogProbability, Unit, WholeLayer

__all__ = [
    "Channel",
    "ClassScore",
    "Direction",
    "Diversity",
    "Fourier",
    "GramMatch",
    "Inverted",
    "Likeness",
    "LogProbability",
    "Match",
    "Maximized",
    "Objective",
    "Parameterization",
    "Pixels",
    "Robustness",
    "SquaredNorm",
    "TotalVariation",
    "Unit",
    "WholeLayer",
    "caricature",
    "colour_basis",
    "deep_dream",
    "invert",
    "maximize",
    "maximize_function",
    "style_transfer",
]

"""Breaking a trained net: how small a change fools it, and whether a defence really defends."""

from jaxcnn.attack.judgement import Judgement, judge

__all__ = ["Judgement", "judge"]

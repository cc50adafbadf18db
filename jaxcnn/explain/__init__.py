"""Understanding a trained net: what its layers hold, which pixels decide, which image a unit likes best."""

from jaxcnn.explain.inner import at_layer

__all__ = ["at_layer"]

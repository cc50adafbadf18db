"""What the functional layers are computed by where `jax.lax` has no form that is fast everywhere."""

__all__: list[str] = []

"""What a search gives that trains nothing, in the place of one that takes long."""

from types import SimpleNamespace

import jax


class Untrained:
    """Lanes that all have one net's first weights."""

    def __init__(self, net, train, lanes: int):
        self.start, self.lanes = net.init(jax.random.key(0), train.spec), lanes

    def __len__(self):
        return self.lanes

    def state(self, lane):
        return SimpleNamespace(params=self.start[0], model_state=self.start[1])

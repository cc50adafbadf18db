"""A net for the playground whose answers are known: it tells which half of an image is brighter."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.playground import views
from jaxcnn import functional as F
from jaxcnn.interop.model import Model
from jaxcnn.layers import Conv, Dense, Flatten, Sequential

SIDE = 8
SPEC = jax.ShapeDtypeStruct((1, SIDE, SIDE, 1), jnp.float32)
LEFT = np.zeros((SIDE, SIDE, 1), np.uint8)
LEFT[1:7, 1:3] = 255
EXAMPLES = {"image": np.stack([LEFT, LEFT[:, ::-1]]), "label": np.array([0, 1])}


def model(names=("left", "right"), conv: str = "conv") -> Model:
    """Return the model with other classes after these two, which it never answers, and with that name of its layer."""
    net = Sequential(
        **{conv: Conv(3), "act": F.relu, "pick": Conv(1, 1), "flatten": Flatten(), "head": Dense(len(names))}
    )
    params, state = net.init(jax.random.key(0), SPEC)
    kernel = np.zeros((SIDE, SIDE, len(names)), np.float32)
    kernel[:, : SIDE // 2, 0], kernel[:, SIDE // 2 :, 1] = 1, 1
    bias = np.where(np.arange(len(names)) < 2, 0.0, -9.0).astype(np.float32)
    params[conv]["kernel"] = params[conv]["kernel"].at[..., 0].set(jnp.zeros((3, 3, 1)).at[1, 1].set(1))
    params["pick"]["kernel"] = jnp.zeros((1, 1, 3, 1)).at[0, 0, 0].set(1)
    params["head"] = {"kernel": jnp.asarray(kernel.reshape(-1, len(names))), "bias": jnp.asarray(bias)}
    return Model(net, params, state, SPEC, tuple(names))


def subject(**options) -> views.Subject:
    """Return what the playground shows of the model."""
    return views.subject(model(**options))


# What would run or fetch something, if it were anything but text: as it is, and as it gets out of where text stands.
CODE = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    "<svg/onload=window.ran=1>",
    "<iframe srcdoc='<script>parent.ran = 1</script>'>",
    "<details open ontoggle=window.ran=1>",
    "<input autofocus onfocus=window.ran=1>",
    "<body onload=window.ran=1>",
    "<object data='data:text/html,<script>window.ran=1</script>'>",
    "<base href='http://evil.invalid/'>",
    "<link rel=stylesheet href=http://evil.invalid/a.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.invalid/'>",
    "<style>@import 'http://evil.invalid/a.css'; *{background:url(http://evil.invalid/b)}</style>",
    "javascript:window.ran=1",
    "data:text/html,<script>window.ran=1</script>",
    "url(http://evil.invalid/c)",
    "expression(window.ran=1)",
    "{{ 7 * 7 }}{% for x in y %}{{ cycler.__init__.__globals__.os }}",
    "${window.ran=1}`+window.ran=1+`",
    "</script><script>window.ran=1</script>",
    "\u202e<script>window.ran = 1</script>\u2066\u200f",
]
AROUND = ["{}", '">{}', "'>{}", "\0{}", "</title></textarea></style>-->]]>{}"]
HOSTILE = [around.replace("{}", code) for code in CODE for around in AROUND]

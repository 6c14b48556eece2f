"""Released models: a table of them, their files, and the models themselves.

    from densepose import model_zoo

    model = model_zoo.get("R_50_FPN_DL_WC1M_s1x")         # with weights, ready to run
    cfg = model_zoo.get_config("R_50_FPN_DL_WC1M_s1x")    # its config
    entry = model_zoo.find("R_50_FPN_DL_WC1M_s1x")        # licence, address, figures

``MODEL.WEIGHTS zoo://R_50_FPN_DL_WC1M_s1x`` names the same weights in a config.
"""

from .files import fetch, local_file, resolve_weights, verify
from .loading import get, get_config
from .table import MODELS, ReleasedModel, find

__all__ = [
    "MODELS",
    "ReleasedModel",
    "fetch",
    "find",
    "get",
    "get_config",
    "local_file",
    "resolve_weights",
    "verify",
]

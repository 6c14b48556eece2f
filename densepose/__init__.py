"""DensePose: dense human pose estimation on top of detectron2.

    import densepose

    model = densepose.load()
    people = model("photo.jpg")
    people.draw(style="parts").save("parts.png")

Importing this package imports neither torch nor detectron2, registers nothing and downloads
nothing. What it offers is in ``densepose.api``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Model, People, Person, evaluate, load, read_predictions, train

__version__ = "0.1.0"
__all__ = ["Model", "People", "Person", "evaluate", "load", "read_predictions", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""libigl, which makes charts; using charts that are made does not need it."""

from __future__ import annotations

from types import ModuleType


def require_libigl() -> ModuleType:
    """The module ``igl``.

    Raises:
        ModuleNotFoundError: it is not installed, with the command that installs it.
    """
    try:
        import igl
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "making charts needs libigl: pip install libigl (using charts does not)", name="igl"
        ) from error
    return igl

"""Results that outlive a stop: one JSON file a config, read again while nothing has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from densepose.benchmark.report import versions_of

PACKAGES = ("torch", "torchvision", "sal-detectron2", "detectron2", "timm", "numpy")


class KeptResults:
    """A folder of results of one state of all that they depend on."""

    def __init__(self, folder: Path | None, state: Mapping[str, Any]) -> None:
        """Choose where.

        Args:
            folder: made when missing; None keeps nothing.
            state: plain values; a result of another state is measured again.
        """
        self._folder = folder
        self._state = json.loads(json.dumps(state))

    def get(self, kind: str, name: str, measure: Callable[[], Any]) -> Any:
        """The plain value kept under a kind and a name, measured and written if it is not there.

        It has passed through JSON in either case: a tuple comes back as a list.
        """
        if self._folder is None:
            return json.loads(json.dumps(measure()))
        file = self._folder / f"{kind}-{name.replace('/', '__')}.json"
        if file.is_file():
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["state"] == self._state:
                return kept["value"]
        text = json.dumps({"state": self._state, "value": measure()}, indent=1)
        self._folder.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, file)
        return json.loads(text)["value"]


def sources_digest(folder: Path, pattern: str = "*.py") -> str:
    """sha256 over names and contents of all Python files of a folder and those below."""
    digest = sha256()
    for path in sorted(folder.rglob(pattern)):
        digest.update(path.relative_to(folder.parent).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of the packages that the numbers depend on."""
    return versions_of(PACKAGES)

"""The folder of results: what is in it, what is finished, and under which name.

Layout; every photo and video has a NAME, and NAME/000030 stands for a frame of a video:
    index.html               the page
    pictures/NAME.jpg        four pictures beside each other, for the page
    iuv/NAME.png             IUV images: red is the part, green U x 255, blue V x 255
    parts/NAME.png           index images: pixels are the numbers of the parts
    mask/NAME.png            1 bit: where a body part was found
    overlay/NAME.png         people in the chosen style
    videos/NAME.mp4          the same of all frames of a video
    predictions/NAME.npz     prediction files, see ``densepose.evaluation.predictions``
    json/NAME.json           results in the form of the COCO challenge
    part_names.json          names of the numbers of the parts
    photos.jsonl             one line a photo or video, in the order they were finished
    settings.json            what the results depend on
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from densepose.errors import InputError
from densepose.evaluation.predictions import PredictionWriter
from densepose.files import LOCK, to_json, write_text
from densepose.structures.body_parts import PART_NAMES

PAGE, LOG, SETTINGS, NAMES = "index.html", "photos.jsonl", "settings.json", "part_names.json"
# What can be saved, and the folder of its files.
FOLDERS = {
    "page": "pictures",
    "iuv": "iuv",
    "parts": "parts",
    "mask": "mask",
    "overlay": "overlay",
    "npz": "predictions",
    "json": "json",
    "video": "videos",
}
_COCO_NAME = re.compile(r"(?:.*_)?(\d{12})")

_LONGEST_NAME = 200  # bytes; a file name may have 255, with an ending and a number

Entry = dict[str, Any]


class ResultsFolder:
    """Made new, or one that is resumed."""

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        """Make or open the folder.

        Args:
            folder: new, empty, or written by this class with the same settings.
            settings: plain values that the results depend on.
            overwrite: delete results that are there, whatever their settings.

        Raises:
            InputError: it holds something else, or results of other settings.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            self._delete_results()
        self._check(dict(settings))
        self._write_json(SETTINGS, dict(settings))
        self._write_json(NAMES, {str(number): name for number, name in enumerate(PART_NAMES)})
        if "npz" in settings.get("save", ()):
            PredictionWriter(self.folder / FOLDERS["npz"])  # marks the folder for those who read it
        self._end_last_line()
        self._state: dict[str, Entry] = {}  # size and time of finished files
        self._known: dict[str, tuple[int, str]] = {}  # id and name by file
        self._owner: dict[str, str] = {}  # file by name in small letters
        self._ids: set[int] = set()
        for entry in self.entries():
            self._ids.add(entry["id"])
            self._known[entry["file"]] = entry["id"], entry["name"]
            self._owner[entry["name"].lower()] = entry["file"]
            if "error" not in entry and "bytes" in entry:  # a camera has none
                self._state[entry["file"]] = {k: entry[k] for k in ("bytes", "modified_ns")}

    def _check(self, settings: dict[str, Any]) -> None:
        path = self.folder / SETTINGS
        if not path.is_file():
            strange = _strange_file(self.folder)
            if strange is not None:
                raise InputError(
                    f"{self.folder}: holds {strange.name!r} and no results of densepose predict;"
                    " name a new folder"
                )
            return
        before = json.loads(path.read_text(encoding="utf-8"))
        other = [name for name in settings if before.get(name) != settings[name]]
        if other and (self.folder / LOG).is_file():
            changes = ", ".join(f"{n} {before.get(n)} then, {settings[n]} now" for n in other)
            raise InputError(
                f"{self.folder}: holds results of other settings ({changes}); name another folder,"
                " or add --overwrite"
            )

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        write_text(self.folder / name, to_json(content) + "\n")

    def _delete_results(self) -> None:
        if not (self.folder / SETTINGS).is_file():
            return
        for name in FOLDERS.values():
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in (PAGE, LOG, SETTINGS, NAMES):
            (self.folder / name).unlink(missing_ok=True)

    def _end_last_line(self) -> None:
        """What is written next must not stick to a line that an interruption cut short."""
        path = self.folder / LOG
        if not path.is_file():
            return
        with path.open("rb+") as log:
            if log.seek(0, os.SEEK_END):
                log.seek(-1, os.SEEK_END)
                if log.read(1) != b"\n":
                    log.write(b"\n")

    def is_finished(self, path: Path) -> bool:
        """Whether the results of this file are there and the file is still the same."""
        return self._state.get(str(path)) == _state(path)

    def start(self, path: Path) -> Entry:
        """Id, name and state of a file, the same whenever it is asked for; nothing is written.

        Raises:
            OSError: it is not there any more.
        """
        return {**self.name(str(path)), **_state(path)}

    def name(self, file: str) -> Entry:
        """Id and name of a file or of something else that gives pictures."""
        if file not in self._known:
            stem = printable(Path(file).stem)
            stem = stem.encode()[:_LONGEST_NAME].decode(errors="ignore")
            coco = _COCO_NAME.fullmatch(stem)  # images of COCO are named after their id
            wanted = count(int(coco[1]) if coco else 1)
            image_id = next(number for number in wanted if number not in self._ids)
            self._ids.add(image_id)
            name, number = stem, 1
            # Names that differ in capital letters alone are one file on some systems.
            while self._owner.setdefault(name.lower(), file) != file:
                number += 1
                name = f"{stem}_{number}"
            self._known[file] = image_id, name
        number, name = self._known[file]
        return {"id": number, "file": file, "name": name}

    def finish(self, entry: Entry) -> None:
        """Note a file as finished, or, with ``error``, as failed."""
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")

    def entries(self) -> Iterator[Entry]:
        """The lines of the log one by one; a later line of the same file replaces an earlier."""
        path = self.folder / LOG
        if not path.is_file():
            return
        last = {entry["file"]: number for number, entry in _lines(path)}
        for number, entry in _lines(path):
            if last[entry["file"]] == number:
                yield entry


def printable(name: str) -> str:
    """A file's name as text: bytes that are not UTF-8 become a mark."""
    return os.fsencode(name).decode(errors="replace")


def _strange_file(folder: Path) -> Path | None:
    """A file of a folder that holds no results, if it has any."""
    if (folder / SETTINGS).is_file():
        return None
    return next((path for path in folder.iterdir() if path.name != LOCK), None)


def new_folder(root: str | Path) -> Path:
    """Make ``root/1``, or the number after the highest that is there."""
    while True:
        numbers = [int(path.name) for path in Path(root).glob("*") if path.name.isdigit()]
        folder = Path(root) / str(max(numbers, default=0) + 1)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # another process was faster
            continue
        return folder


def _state(path: Path) -> Entry:
    facts = path.stat()
    return {"bytes": facts.st_size, "modified_ns": facts.st_mtime_ns}


def _lines(path: Path) -> Iterator[tuple[int, Entry]]:
    with path.open(encoding="utf-8") as log:
        for number, line in enumerate(log):
            # A line that an interruption cut short counts as not written.
            with contextlib.suppress(json.JSONDecodeError):
                yield number, json.loads(line)

"""Which photos and videos are meant; files of folders and patterns are judged by their content."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from densepose.errors import InputError

from .photos import PHOTO_SUFFIXES, is_picture
from .results_folder import FOLDERS

# A file with such an ending, or that of a photo, is an input whatever is in it: a damaged one must
# be reported.
_VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_HEAD_BYTES = 512
_VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
)
_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip")
# Of MP4's relatives that hold no video: pictures and sound.
_OTHER_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"M4A ", b"M4B ")
_TRANSPORT = ((0, 188), (4, 192))  # MPEG-TS, M2TS: first "G", and bytes from one to the next
_HIDDEN = "hidden"


@dataclass
class Inputs:
    """What was found."""

    paths: list[Path] = field(default_factory=list)  # photos and videos, each once
    skipped: Counter[str] = field(default_factory=Counter)  # other files in folders, by ending

    def skipped_text(self) -> str:
        """``skipped 3 files that are neither photo nor video: 2 .txt, 1 .heic``, or empty."""
        if not self.skipped:
            return ""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.skipped.most_common())
        count = self.skipped.total()
        files = "1 file that is" if count == 1 else f"{count} files that are"
        heic = {".heic", ".heif"} & set(self.skipped)
        hint = " (.heic can be read after: pip install pillow-heif)" * bool(heic)
        return f"skipped {files} neither photo nor video: {kinds}{hint}"


def find_inputs(words: Sequence[str], results: Path | None = None) -> Inputs:
    """Photos and videos that files, folders, patterns and lists name, each once.

    Args:
        words: files, in the order they are wanted; folders, searched to the bottom and sorted;
            patterns such as ``day1/*.jpg`` or ``**/*.png``, sorted; ``@list.txt``, a file of such
            words, one a line, whose relative paths start at the working folder. A file that is
            named is taken whatever it is. Of folders and patterns hidden files are skipped, and
            what is neither photo nor video.
        results: folder of results; what was written into it is not an input of a folder or pattern.

    Raises:
        InputError: a file does not exist, a folder or a pattern has no photo or video.
    """
    written = {(results / name).resolve() for name in FOLDERS.values()} if results else set()
    found: dict[Path, None] = {}
    skipped: dict[Path, str] = {}
    for word, source in _without_lists(words):
        path = Path(word).expanduser()
        if path.is_file():
            found[path] = None
            continue
        if path.is_dir():
            candidates = _files_below(path, written)
        elif glob.has_magic(word):
            candidates = _matches(str(path), written)
        else:
            raise InputError(f"{source}{word}: no such photo, video or folder")
        here = Inputs()
        for file in candidates:
            kind = _skipped_as(file)
            if kind:
                here.skipped[kind] += 1
                skipped[file] = kind
            else:
                here.paths.append(file)
        if not here.paths:
            raise InputError(
                f"{source}{word}: no photo or video there; {here.skipped_text()}".rstrip("; ")
            )
        found.update(dict.fromkeys(here.paths))
    return Inputs(list(found), Counter(skipped.values()))


def _without_lists(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each word, and where a list has it, for messages."""
    for word in words:
        if not word.startswith("@") or Path(word).exists():
            yield word, ""
            continue
        path = Path(word[1:]).expanduser()
        if not path.is_file():
            raise InputError(f"{path}: the list of photos is missing; expected one a line")
        # A name need not be UTF-8: its bytes come back as they were.
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield line.strip(), f"{path}: line {number}: "


def _files_below(folder: Path, written: set[Path]) -> list[Path]:
    """All files, sorted, without hidden folders and those of results."""
    found = []
    for place, folders, files in os.walk(folder, onerror=_refuse):
        here = Path(place)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and (here / name).resolve() not in written
        ]
        found += [here / name for name in files]
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise error  # os.walk would skip a folder that may not be read


def _matches(pattern: str, written: set[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):
        if path.is_dir():
            found.update(dict.fromkeys(_files_below(path, written)))
        elif written.isdisjoint(path.resolve().parents):
            found[path] = None
    return list(found)


def _skipped_as(path: Path) -> str:
    """Ending of a file that is neither photo nor video; empty for an input."""
    if path.name.startswith("."):  # among them ._photo.jpg, notes of macOS beside photo.jpg
        return _HIDDEN
    ending = path.suffix.lower()
    if ending in PHOTO_SUFFIXES + _VIDEO_SUFFIXES or is_video(path) or is_picture(path):
        return ""
    return ending or "without ending"


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether the first bytes are those of a video file.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    kind, brand = head[4:8], head[8:12]
    return (
        head.startswith(_VIDEO_STARTS)
        or (kind == b"ftyp" and brand not in _OTHER_BRANDS)
        or kind in _QUICKTIME
        or (head.startswith(b"RIFF") and brand == b"AVI ")
        or (head.startswith(b"OggS") and b"theora" in head)
        or any(head[first::step][:3] == b"GGG" for first, step in _TRANSPORT)
    )

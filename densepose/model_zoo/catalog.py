"""Everything that can be downloaded by name: models, data sets, evaluation files.

Nothing is downloaded unless asked for. Files are kept where the other commands look for them, each
with a note of its address, size, sha256 and licence beside it.
"""

from __future__ import annotations

import shlex
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from densepose.data.builtin_sets import BUILTIN
from densepose.data.registration import dataset_status, datasets_root, register_builtin
from densepose.errors import InputError
from densepose.files import atomic, did_you_mean
from densepose.model_zoo.download import download, note_of
from densepose.model_zoo.files import CATALOG, cache_path, fetch, fetch_address, local_file
from densepose.model_zoo.table import LICENCE, MODELS
from densepose.progress import progress_bar
from densepose.surface.official.prepare import (
    OfficialFile,
    check_file,
    files_in,
    official_files,
)

EVALUATION_FOLDER = "densepose_smpl"  # below the folder of all data sets
MODEL, EVALUATION, DATA_SET = "model", "evaluation files", "data set"
# The folders of built-in sets and the terms of what is in them.
_LICENCES = {
    "coco": "annotations CC BY-NC 2.0 (no commercial use), images under COCO's terms",
    "lvis": "see https://www.lvisdataset.org, images under COCO's terms",
    "densepose_synthetic": "yours: it is made on this machine",
}
_BUILTIN = frozenset(info.name for info in BUILTIN)
_UNKNOWN = "not known to this project; ask where it is published"
Say = Callable[[str], object]


@dataclass(frozen=True)
class Entry:
    """What a name stands for."""

    name: str
    kind: str
    about: str
    licence: str
    present: bool
    files: tuple[Path, ...] = ()  # those of a model and of evaluation files
    command: str = ""  # of a data set: what brings the files that are missing
    addresses: tuple[str, ...] = ()  # of the files of a model, of evaluation files

    def origins(self) -> Iterator[str]:
        """Address, size and hash of each file, as far as they are known; else the command."""
        for path, address in zip(self.files, self.addresses, strict=False):
            noted = note_of(path)
            size = f"  {noted['size_bytes']:,} bytes" if "size_bytes" in noted else ""
            digest = f"  sha256 {noted['sha256']}" if "sha256" in noted else ""
            yield f"{address}{size}{digest}"
        if self.command:
            yield self.command

    @property
    def size_bytes(self) -> int:
        """Of the files that are on this machine."""
        return sum(path.stat().st_size for path in self.files if path.is_file())


def entries(data_dir: str | None = None) -> Iterator[Entry]:
    """All names; ``data_dir`` is the folder of all data sets, see ``datasets_root``."""
    for model in MODELS:
        about = f"GPS AP {model.gps_ap}, GPSm AP {model.gpsm_ap} on {model.tested_on}"
        path = local_file(model)
        files = (path or cache_path(model),)
        here = path is not None
        yield Entry(model.name, MODEL, about, LICENCE, here, files, addresses=(model.url,))
    folder = datasets_root(data_dir) / EVALUATION_FOLDER
    for group, group_files in _groups().items():
        yield Entry(
            group,
            EVALUATION,
            "; ".join(file.purpose for file in group_files),
            group_files[0].licence,
            all(_is_there(folder, file) for file in group_files),
            tuple(folder / file.path for file in group_files),
            addresses=tuple(file.url for file in group_files),
        )
    register_builtin(data_dir)
    for status in dataset_status():
        if status.name not in _BUILTIN:  # of a config that was read in this process
            continue
        place = status.json_path.relative_to(datasets_root(data_dir)).parts[0]
        licence = _LICENCES.get(place, _UNKNOWN)
        about = f"annotations {status.json_path}, images {status.image_root}"
        files = (status.json_path,)
        yield Entry(
            status.name, DATA_SET, about, licence, not status.missing, files, status.command
        )


def get(name: str, data_dir: str | None = None, *, say: Say = print) -> None:
    """Download what a name stands for, unless it is there.

    Args:
        name: of ``entries``, or ``R-50``, ``R-101`` for ImageNet weights.
        data_dir: folder of all data sets, see ``datasets_root``.
        say: is called with the licence, and with where the files are.

    Raises:
        InputError: no such name; it cannot be downloaded, or is damaged.
        OSError: the file cannot be written.
    """
    if name in ("R-50", "R-101"):
        say(f"{name}: {fetch_address(f'{CATALOG}ImageNetPretrained/MSRA/{name}.pkl')}")
        return
    known = {entry.name: entry for entry in entries(data_dir)}
    entry = known.get(name.removeprefix("zoo://"))
    if entry is None:
        hint = did_you_mean(name, known, count=3) or "; see densepose download --list"
        raise InputError(f"nothing is called {name!r}{hint}")
    say(f"{entry.name}: {entry.kind}, licence: {entry.licence}")
    if entry.kind == MODEL:
        say(f"{entry.name}: {fetch(entry.name)}")
    elif entry.kind == EVALUATION:
        _get_evaluation_files(datasets_root(data_dir) / EVALUATION_FOLDER, entry.name, say)
    else:
        for step in filter(None, entry.command.split(" && ")):
            say(_run_step(step, entry.licence))
        say(f"{entry.name}: {entry.files[0]}")


def _groups() -> dict[str, list[OfficialFile]]:
    groups: dict[str, list[OfficialFile]] = {}
    for file in official_files():
        groups.setdefault(file.group, []).append(file)
    return groups


def _is_there(folder: Path, file: OfficialFile) -> bool:
    # What was converted may be deleted.
    names = (file.path, file.converted) if file.converted else (file.path,)
    return any((folder / name).is_file() for name in names)


def _get_evaluation_files(folder: Path, group: str, say: Say) -> None:
    """Get the files of a group; check and convert these and all others that are in the folder."""
    wanted = _groups()[group]
    others = [f for f in files_in(folder) if f not in wanted and (folder / f.path).is_file()]
    problems = []
    for file in [*wanted, *others]:
        try:
            say(_get_official(folder, file))
        except (InputError, OSError) as error:  # the other files are of use all the same
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))


def _get_official(folder: Path, file: OfficialFile) -> str:
    """Download a file unless it is there, check it, and convert it where it is large."""
    path = folder / file.path
    if not _is_there(folder, file) and file.url.endswith(".tar.gz"):
        archive = path.with_name(file.url.rpartition("/")[2])
        download(file.url, archive, check=lambda _: None, licence=file.licence)
        with tarfile.open(archive) as opened, atomic(path) as temporary:
            member = next(m for m in opened.getmembers() if m.name.endswith(f"/{file.path}"))
            with opened.extractfile(member) as source, open(temporary, "wb") as target:
                shutil.copyfileobj(source, target)
    elif not _is_there(folder, file):
        download(file.url, path, licence=file.licence)
    return f"{path}: {check_file(folder, file)}"


def _run_step(step: str, licence: str) -> str:
    """Do what a command of ``dataset_status`` does: curl, or unzip; others are for the user."""
    match shlex.split(step):
        case ["curl", *_, "-o", target, url]:
            path = Path(target)
            archive = path.suffix == ".zip"
            check = {"check": lambda _: None} if archive else {}
            download(url, path, licence=licence, **check)
            note = note_of(path)
            return f"{path}: {note['size_bytes']:,} bytes, sha256 {note['sha256']}"
        case ["unzip", _, archive, "-d", folder]:
            _unzip(Path(archive), Path(folder))
            return f"{folder}: unpacked {archive}"
        case _:
            return f"to be done by you: {step}"


def _unzip(archive: Path, folder: Path) -> None:
    """Unpack; each entry of the top level appears in full or not at all. The archive is deleted."""
    with tempfile.TemporaryDirectory(prefix=f".{archive.stem}.", dir=folder) as temporary:
        with zipfile.ZipFile(archive) as opened, progress_bar(archive.name) as show:
            names = opened.namelist()
            for number, name in enumerate(names, start=1):
                opened.extract(name, temporary)
                show(number, len(names))
        for path in Path(temporary).iterdir():
            if (folder / path.name).is_dir():
                shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
            else:
                path.replace(folder / path.name)
    archive.unlink()

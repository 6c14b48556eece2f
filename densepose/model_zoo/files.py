"""From a name of weights to a file: of the package, in the user's folder, in the cache, or fetched.

With MODEL.ZOO_DIR or $DENSEPOSE_ZOO_DIR set nothing is ever downloaded: the files are taken from
that folder, under their name or under their path in the release. Without, they are kept in
$DENSEPOSE_CACHE/models (default ~/.cache/densepose/models).
"""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path
from urllib.parse import urlparse

from iopath.common import get_cache_dir
from safetensors import SafetensorError, safe_open

from densepose.errors import InputError
from densepose.files import refuse_wrong_kind, sha256
from densepose.surface.geodesics import default_cache_dir

from .download import download, note_of
from .table import SCHEME as ZOO
from .table import ReleasedModel, find, is_name

logger = logging.getLogger(__name__)

FOLDER = "DENSEPOSE_ZOO_DIR"  # environment variable
CATALOG = "detectron2://"
CATALOG_URL = "https://dl.fbaipublicfiles.com/detectron2/"
CONVERTED = (".safetensors", ".pth")  # what `densepose convert` makes of a released file
SHIPPED = "shipped://"  # stands for the weights that come with the package
SHIPPED_FOLDER = Path(__file__).parents[1] / "shipped_weights"
CONFIG = "config"  # in the metadata of those weights: name of the shipped config they belong to


def resolve_weights(name: str, zoo_dir: str = "") -> Path:
    """The local file of MODEL.WEIGHTS: a path, or an address that is downloaded once and kept.

    Args:
        name: a path, ``shipped://``, the name of a released model with or without ``zoo://``,
            ``https://...`` or one of the addresses that detectron2 knows, like ``detectron2://...``.
        zoo_dir: MODEL.ZOO_DIR; where it is set, nothing is downloaded.

    Raises:
        InputError: the package came without weights; no released model has that name; it cannot
            be downloaded, is not in ``zoo_dir``, or does not hold weights.
    """
    scheme = urlparse(name).scheme
    if name.startswith(ZOO) or is_name(name):
        return fetch(name, zoo_dir)
    if scheme in ("", "file"):
        return Path(name.removeprefix("file://"))
    if name.startswith(SHIPPED):
        return find_shipped_model()[1]
    if scheme in ("http", "https", "detectron2"):
        return fetch_address(name, zoo_dir)
    from detectron2.utils.file_io import PathManager  # looking up a path needs no detectron2

    return Path(PathManager.get_local_path(name))


def find_shipped_model(folder: str | Path | None = None) -> tuple[str, Path]:
    """Name of the config and path of the weights in the package.

    Args:
        folder: holds one ``.safetensors`` file whose metadata names its config; default
            SHIPPED_FOLDER.

    Raises:
        InputError: this package comes without weights.
    """
    folder = Path(SHIPPED_FOLDER if folder is None else folder)
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise InputError(
            f"no weights come with this package ({folder} has none): give --weights FILE, or the"
            " name of a released model"
        )
    assert len(found) == 1, found
    with safe_open(found[0], framework="np") as file:
        metadata = file.metadata()
    # The config has moved since these weights were trained.
    return metadata[CONFIG].replace("synthetic/shipped_cpu", "cpu/shipped"), found[0]


def check_weights_file(path: Path) -> None:
    """Find damage without loading a file: from its ends, and where it has checksums by these.

    Raises:
        InputError: there is no such file; it is empty, a web page, a Git LFS pointer, truncated or
            damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights")
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"  # as written by torch.save
        file.seek(max(0, path.stat().st_size - 1))
        last = file.read(1)
    if not is_zip:
        refuse_wrong_kind(path)
    truncated = is_zip and not zipfile.is_zipfile(path)
    truncated |= (
        not is_zip and path.suffix == ".pkl" and last != b"."
    )  # the opcode that ends a pickle
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="np"):
                pass
        except SafetensorError as error:
            raise InputError(
                f"{path}: the file is truncated or damaged ({error}); download it again"
            ) from error
    if truncated:
        raise InputError(
            f"{path}: the file is truncated at {path.stat().st_size:,} bytes; download it again, or"
            " remove it so that an older checkpoint is used"
        )
    if is_zip and (damaged := _damaged_entry(path)):
        raise InputError(
            f"{path}: damaged, the checksum of {damaged} is wrong; fetch it again, or remove it so"
            " that an older checkpoint is used"
        )


def _damaged_entry(path: Path) -> str | None:
    """What of an archive does not have its checksum; PyTorch compares none when it reads."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except Exception as error:  # on noise the reader fails in all kinds of ways
        return f"its table ({error})"


def zoo_folder(folder: str = "") -> Path | None:
    """The user's folder of released files: the argument (MODEL.ZOO_DIR), else the environment's.

    Raises:
        InputError: it is set and does not exist.
    """
    named = folder or os.environ.get(FOLDER, "")
    if not named:
        return None
    if not Path(named).expanduser().is_dir():
        key = "MODEL.ZOO_DIR" if folder else FOLDER
        raise InputError(f"{key} {named}: there is no such folder of released models")
    return Path(named).expanduser()


def cache_path(model: ReleasedModel) -> Path:
    """Where a downloaded model is kept."""
    return default_cache_dir() / "models" / model.path


def local_file(model: ReleasedModel, folder: str = "") -> Path | None:
    """The file of a model if it is on this machine."""
    return next((path for path in _places(model, folder) if path.is_file()), None)


def _places(model: ReleasedModel, folder: str = "") -> list[Path]:
    """Where its file may lie: as released, or converted and named after it."""
    own = zoo_folder(folder)
    if own is None:
        return [cache_path(model)]
    converted = [own / f"{model.name}{suffix}" for suffix in CONVERTED]
    return [own / model.path, own / model.file_name, *converted]


def fetch(name: str, folder: str = "") -> Path:
    """The file of a released model, downloaded once where it may be.

    Args:
        name: ``R_50_FPN_s1x``, with or without ``zoo://``.
        folder: MODEL.ZOO_DIR.

    Raises:
        InputError: no such model; it is not in the folder that is set, or cannot be downloaded;
            the file is damaged.
    """
    model = find(name)
    path = local_file(model, folder)
    if path is None and (own := zoo_folder(folder)) is not None:
        raise InputError(_not_in_folder(model.name, own, _places(model, folder), model.url))
    if path is None:
        path = cache_path(model)
        logger.info("%s: under %s, from %s to %s", model.name, model.licence, model.url, path)
        _download(model.url, path, model.licence)
    wanted = note_of(path).get("size_bytes")
    if wanted and path.stat().st_size != wanted:
        what = f"it has {path.stat().st_size:,} bytes, it had {wanted:,}"
        raise InputError(_changed(path, what, model.name))
    check_weights_file(path)
    return path


def fetch_address(address: str, folder: str = "") -> Path:
    """The file of an ``https://``, ``http://`` or ``detectron2://`` address, downloaded once.

    It is kept where detectron2 keeps it ($FVCORE_CACHE), so that neither downloads what the other
    has.

    Raises:
        InputError: nothing may be downloaded, and it is not in the folder that is set; it cannot be
            downloaded, or what came is not a file of weights.
    """
    url = address
    if address.startswith(CATALOG):
        url = CATALOG_URL + address.removeprefix(CATALOG)
    below = urlparse(url).path.lstrip("/")
    path, own = Path(get_cache_dir()) / below, zoo_folder(folder)
    if path.is_file():
        return path
    if own is not None:
        places = [own / below.removeprefix("detectron2/"), own / path.name]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise InputError(_not_in_folder(address, own, places, url))
        return found
    logger.info("Downloading %s to %s", url, path)
    _download(url, path)
    return path


def verify(path: Path, name: str) -> str:
    """Compare a file with the hash it had when it was downloaded; returns the hash.

    Raises:
        InputError: it has changed.
    """
    found, wanted = sha256(path), note_of(path).get("sha256")
    if wanted and found != wanted:
        raise InputError(_changed(path, f"its sha256 is {found}, it was {wanted}", name))
    return found


def _download(url: str, path: Path, licence: str = "") -> None:
    try:
        download(url, path, check=check_weights_file, licence=licence)
    except InputError as error:
        raise InputError(
            f"{error}. Without a connection: put the file into a folder and name it in"
            f" MODEL.ZOO_DIR or {FOLDER}"
        ) from error


def _not_in_folder(name: str, folder: Path, places: list[Path], url: str) -> str:
    names = ", ".join(place.relative_to(folder).as_posix() for place in places)
    return (
        f"{name}: the folder of released models {folder} has none of {names}; put the file there"
        f" (curl -L -o {folder / places[1].name} {url}), or unset"
        f" MODEL.ZOO_DIR and {FOLDER} so that it may be downloaded"
    )


def _changed(path: Path, what: str, name: str) -> str:
    return f"{path}: the file has changed: {what}; remove it, then: densepose download {name}"

"""From a name of weights to a file: of the package, in the user's folder, in the cache, or fetched.

With MODEL.ZOO_DIR or $DENSEPOSE_ZOO_DIR set nothing is ever fetched: the files are taken from that
folder, under their name or under their path in the release. Without, they are kept in
$DENSEPOSE_CACHE/models (default ~/.cache/densepose/models), each beside a ``.json`` that says where
it came from and what its hash was.
"""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

from iopath.common import get_cache_dir
from safetensors import SafetensorError, safe_open

from densepose.files import refuse_wrong_kind
from densepose.progress import progress_bar
from densepose.surface.geodesics import default_cache_dir

from .download import Downloaded, DownloadError, download, part_of, sha256_of
from .table import SCHEME as ZOO
from .table import ReleasedModel, find

logger = logging.getLogger(__name__)

FOLDER = "DENSEPOSE_ZOO_DIR"  # environment variable
CATALOG = "detectron2://"
CATALOG_URL = "https://dl.fbaipublicfiles.com/detectron2/"
CONVERTED = (".safetensors", ".pth")  # what `densepose convert` makes of a released file
SCHEMA = 1
SHIPPED = "shipped://"  # stands for the weights that come with the package
SHIPPED_FOLDER = Path(__file__).parents[1] / "shipped_weights"
CONFIG = "config"  # in the metadata of those weights: name of the shipped config they belong to

Say = Callable[[str], object]


def resolve_weights(name: str, zoo_dir: str = "") -> Path:
    """The local file of MODEL.WEIGHTS: a path, or an address that is fetched once and kept.

    Args:
        name: a path, ``shipped://``, ``zoo://NAME``, ``https://...`` or one of the addresses that
            detectron2 knows, like ``detectron2://...``.
        zoo_dir: MODEL.ZOO_DIR; where it is set, nothing is fetched.

    Raises:
        FileNotFoundError: the package came without weights.
        KeyError: no released model has that name.
        OSError: the address cannot be fetched, or the file is not in ``zoo_dir``.
        ValueError: the fetched file does not hold weights.
    """
    scheme = urlparse(name).scheme
    if scheme in ("", "file"):
        return Path(name.removeprefix("file://"))
    if name.startswith(SHIPPED):
        return find_shipped_model()[1]
    if name.startswith(ZOO):
        return fetch(name, zoo_dir)
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
        FileNotFoundError: this package comes without weights.
        ValueError: there are several, or the config is not named.
    """
    folder = Path(SHIPPED_FOLDER if folder is None else folder)
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise FileNotFoundError(
            f"no weights come with this package ({folder} has none): give --config-file FILE and"
            " --weights FILE of a model of yours, or --weights zoo://NAME"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(f"{folder}: several models ({names}); give --config-file and --weights")
    with safe_open(found[0], framework="np") as file:
        metadata = file.metadata() or {}
    if CONFIG not in metadata:
        raise ValueError(f"{found[0]}: its metadata has no {CONFIG!r}; give --config-file")
    # Not at the top: it imports torch and detectron2, which fetching files should not wait for.
    from densepose.config import name_now

    return name_now(metadata[CONFIG]), found[0]


def check_weights_file(path: Path) -> None:
    """Find the commonest kinds of damage quickly, from the first and the last bytes of a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, a web page, a Git LFS pointer, or truncated.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights")
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"  # as written by torch.save
        file.seek(max(0, path.stat().st_size - 1))
        last = file.read(1)
    if not is_zip:
        refuse_wrong_kind(path)
    truncated = is_zip and not zipfile.is_zipfile(path)
    truncated |= path.suffix == ".pkl" and last != b"."  # the opcode that ends a pickle
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="np"):
                pass
        except SafetensorError as error:
            raise ValueError(
                f"{path}: the file is truncated or damaged ({error}); fetch it again"
            ) from error
    if truncated:
        raise ValueError(
            f"{path}: the file is truncated at {path.stat().st_size:,} bytes; fetch it again, or"
            " remove it so that an older checkpoint is used"
        )


def zoo_folder(folder: str = "") -> Path | None:
    """The user's folder of released files: the argument (MODEL.ZOO_DIR), else the environment's.

    Raises:
        FileNotFoundError: it is set and does not exist.
    """
    named = folder or os.environ.get(FOLDER, "")
    if not named:
        return None
    if not Path(named).expanduser().is_dir():
        key = "MODEL.ZOO_DIR" if folder else FOLDER
        raise FileNotFoundError(f"{key} {named}: there is no such folder of released models")
    return Path(named).expanduser()


def cache_folder() -> Path:
    """Where fetched models are kept."""
    return default_cache_dir() / "models"


def cache_path(model: ReleasedModel) -> Path:
    """Where a fetched model is kept."""
    return cache_folder() / model.path


def local_file(model: ReleasedModel, folder: str = "") -> Path | None:
    """The file of a model if it is on this machine."""
    own = zoo_folder(folder)
    if own is None:
        return cache_path(model) if cache_path(model).is_file() else None
    return next((path for path in _places(model, own) if path.is_file()), None)


def fetch(name: str, folder: str = "", *, say: Say = logger.info) -> Path:
    """The file of a released model, fetched once where it may be.

    Args:
        name: ``R_50_FPN_s1x``, with or without ``zoo://``.
        folder: MODEL.ZOO_DIR.
        say: is told the licence when a file is fetched, and where it is kept.

    Raises:
        KeyError: no such model.
        FileNotFoundError: it is not in the folder that is set.
        OSError: it cannot be fetched.
        ValueError: what came is not the file, or the file that is there is damaged.
    """
    model = find(name)
    own = zoo_folder(folder)
    if own is not None:
        path = local_file(model, folder)
        if path is None:
            raise FileNotFoundError(_not_in_folder(model.name, own, _places(model, own), model.url))
        _check_file(model, path)
        return path
    path = cache_path(model)
    if not path.is_file():
        say(
            f"{model.name}: the weights are under {model.licence} ({model.licence_url});"
            f" from {model.url}"
        )
        made = _download(model.url, path, size_bytes=model.size_bytes, sha256=model.sha256)
        if made is not None:
            _write_origin(model, made)
            say(f"{model.name}: kept in {path}")
    _check_file(model, path)
    return path


def damage(model: ReleasedModel, folder: str = "") -> str:
    """What is wrong with a model's file on this machine, without reading it all; else nothing."""
    path = local_file(model, folder)
    try:
        if path is not None:
            _check_file(model, path)
    except ValueError as error:
        return str(error)
    return ""


def unfinished(model: ReleasedModel) -> Path | None:
    """What came of a file before its download stopped; the next ``fetch`` goes on from there."""
    part = part_of(cache_path(model))
    return part if part.is_file() else None


def fetch_address(address: str, folder: str = "") -> Path:
    """The file of an ``https://``, ``http://`` or ``detectron2://`` address, fetched once.

    It is kept where detectron2 keeps it ($FVCORE_CACHE), so that neither fetches what the other
    has.

    Raises:
        FileNotFoundError: nothing may be fetched, and it is not in the folder that is set.
        OSError: it cannot be fetched.
        ValueError: what came is not a file of weights.
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
            raise FileNotFoundError(_not_in_folder(address, own, places, url))
        return found
    logger.info("Fetching %s to %s", url, path)
    _download(url, path)
    return path


def verify(model: ReleasedModel) -> str:
    """Compare a kept file with the hash it had when it was fetched; returns the hash.

    Raises:
        FileNotFoundError: it was never fetched.
        ValueError: it has changed.
    """
    path = cache_path(model)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {model.name} has not been fetched")
    found = sha256_of(path)
    wanted = model.sha256 or _origin(path).get("sha256")
    if wanted and found != wanted:
        raise ValueError(_changed(model, path, f"its sha256 is {found}, it was {wanted}"))
    return found


def _places(model: ReleasedModel, folder: Path) -> list[Path]:
    """Where the file may lie in a user's folder: as released, or converted and named after it."""
    converted = [folder / f"{model.name}{suffix}" for suffix in CONVERTED]
    return [folder / model.path, folder / model.file_name, *converted]


def _not_in_folder(name: str, folder: Path, places: list[Path], url: str) -> str:
    names = ", ".join(place.relative_to(folder).as_posix() for place in places)
    return (
        f"{name}: the folder of released models {folder} has none of {names}; put the file there"
        f" (curl -L -o {folder / places[1].name} {url}), or unset"
        f" MODEL.ZOO_DIR and {FOLDER} so that it may be fetched"
    )


def _download(
    url: str, path: Path, *, size_bytes: int | None = None, sha256: str | None = None
) -> Downloaded | None:
    with progress_bar(path.name, in_bytes=True) as on_progress:
        try:
            return download(
                url,
                path,
                check=check_weights_file,
                size_bytes=size_bytes,
                sha256=sha256,
                on_progress=on_progress,
            )
        except DownloadError as error:
            raise DownloadError(
                f"{error}. Without a connection: put the file into a folder and name it in"
                f" MODEL.ZOO_DIR or {FOLDER}"
            ) from error


def _origin_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _write_origin(model: ReleasedModel, made: Downloaded) -> None:
    content = {
        "schema": SCHEMA,
        "url": model.url,
        "size_bytes": made.size_bytes,
        "sha256": made.sha256,
        "licence": model.licence,
    }
    target = _origin_file(made.path)
    part = target.with_name(f".{target.name}.part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(part, target)


def _origin(path: Path) -> dict[str, object]:
    """What was noted about a kept file; nothing where it was put there by hand."""
    note = _origin_file(path)
    if not note.is_file():
        return {}
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{note}: not readable ({error}); remove it and {path.name}") from error
    return content if isinstance(content, dict) else {}


def _check_file(model: ReleasedModel, path: Path) -> None:
    """Damage that shows without reading it all: its size, first and last bytes; cf. ``verify``."""
    if path == cache_path(model):
        size, wanted = path.stat().st_size, model.size_bytes or _origin(path).get("size_bytes")
        if wanted and size != wanted:
            raise ValueError(_changed(model, path, f"it has {size:,} bytes, it had {wanted:,}"))
    check_weights_file(path)


def _changed(model: ReleasedModel, path: Path, what: str) -> str:
    return (
        f"{path}: the kept file has changed: {what}; remove it, and fetch it again by: densepose"
        f" fetch {model.name}"
    )

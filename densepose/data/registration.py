"""The data sets a config can name, where their files are expected, and their left-right maps.

Nothing is registered by importing this module.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import (
    COCO_PERSON_KEYPOINT_FLIP_MAP,
    COCO_PERSON_KEYPOINT_NAMES,
)
from detectron2.data.datasets.coco import convert_to_coco_dict

from densepose.errors import InputError
from densepose.files import to_json, write_text
from densepose.structures.records import AnnotationFile, check_records, read_annotation_file
from densepose.surface.evaluation_surface import is_own_surface
from densepose.surface.official.charts import SYMMETRY_FILE, load_uv_symmetry
from densepose.surface.own.surface_file import read_own_surface
from densepose.surface.symmetry import ChartSymmetry, template_symmetry

from .builtin_sets import BUILTIN, SURFACES, DatasetInfo
from .categories import category_ids_of, rules_from_config
from .coco import OWNER, read_densepose_coco, require_registered

logger = logging.getLogger(__name__)


class DatasetStatus(NamedTuple):
    """Whether the files of a data set are where they are expected."""

    name: str
    json_path: Path
    image_root: Path
    missing: str  # what is missing; empty when everything is there
    command: str  # that gets it; empty when everything is there


def datasets_root(root: str | Path | None = None) -> Path:
    """Folder of all data sets: the argument, else $DETECTRON2_DATASETS, else ``datasets``."""
    named = root if root is not None else os.environ.get("DETECTRON2_DATASETS", "datasets")
    return Path(named).expanduser()


def find_data(name: str | os.PathLike[str]) -> Path:
    """A file or folder of data that a config names, as a path.

    "~" and variables are expanded; a relative path starts at the working folder, or at the folder
    of all data sets where only that has it.
    """
    path = Path(expand_path(os.fspath(name)))
    below_root = datasets_root() / path
    return below_root if below_root.exists() and not path.exists() else path


def smpl_dir(cfg: CfgNode) -> Path:
    """Folder of the official files of the SMPL surface: DATASETS.SMPL_DIR or the default one."""
    configured = cfg.DATASETS.get("SMPL_DIR", "")
    return Path(expand_path(configured)) if configured else datasets_root() / "densepose_smpl"


def register_builtin(root: str | Path | None = None, *, on_bad: str = "warn") -> None:
    """Register DensePose-COCO and the synthetic set below ``root``; again moves them there.

    Args:
        root: as for ``datasets_root``.
        on_bad: as for ``load_densepose_coco``.
    """
    for info in BUILTIN:
        _register(info, datasets_root(root), on_bad)


def register_from_config(cfg: CfgNode) -> list[str]:
    """Register the entries of DATASETS.REGISTER and return their names.

    An entry is a mapping with NAME, ANNOTATIONS (path of the JSON), IMAGES (folder) and SURFACE
    ("template", "smpl_27554" or a file of densepose build-surface); optional are CLASSES
    (categories to read, default ["person"], or all where DATASETS.WHITELISTED_CATEGORIES or
    CATEGORY_MAPS names the set), TRUTH (default True), ON_BAD (default DATASETS.ON_BAD_RECORD),
    and KEEP_IMAGES and KEEP_POINTS: numbers of images, and of annotated points of a person, that
    are read (default: all). Paths are found as by ``find_data``.

    Raises:
        InputError: an entry lacks a key, has an unknown one or a name that is taken.
    """
    names = []
    for number, given in enumerate(cfg.DATASETS.get("REGISTER", ())):
        where = f"DATASETS.REGISTER[{number}]"
        entry = _entry(given, where)
        if entry.NAME in cfg.DATASETS.TEST and (entry.KEEP_IMAGES or entry.KEEP_POINTS):
            raise InputError(
                f"DATASETS.TEST: {entry.NAME!r} has KEEP_IMAGES or KEEP_POINTS, which is for"
                " training; scores are those of a whole file"
            )
        default_classes = () if entry.NAME in rules_from_config(cfg) else ("person",)
        info = DatasetInfo(
            name=entry.NAME,
            annotations=str(find_data(entry.ANNOTATIONS)),
            images=str(find_data(entry.IMAGES)),
            surface=entry.SURFACE,
            class_names=default_classes if entry.CLASSES is None else entry.CLASSES,
            has_truth=entry.TRUTH,
            keep_images=entry.KEEP_IMAGES,
            keep_points=entry.KEEP_POINTS,
            annotations_command=f"correct ANNOTATIONS of {where} in the config",
            images_command=f"correct IMAGES of {where} in the config",
        )
        _register(info, Path.cwd(), entry.ON_BAD or cfg.DATASETS.get("ON_BAD_RECORD", "warn"))
        names.append(entry.NAME)
    return names


_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """What an entry of DATASETS.REGISTER may hold."""

    NAME: _Text
    ANNOTATIONS: _Text
    IMAGES: _Text
    SURFACE: _Text
    CLASSES: tuple[str, ...] | None = None
    TRUTH: bool = True
    ON_BAD: Literal["warn", "error"] | None = None
    KEEP_IMAGES: _Count | None = None
    KEEP_POINTS: _Count | None = None


def _entry(given: Any, where: str) -> _Entry:
    try:
        entry = msgspec.convert(given, _Entry)
    except msgspec.ValidationError as error:
        keys = ", ".join(_Entry.__struct_fields__)
        raise InputError(f"{where}: {error}; its keys are {keys}; got {given!r}") from error
    if entry.SURFACE not in SURFACES and not is_own_surface(entry.SURFACE):
        raise InputError(
            f"{where}: SURFACE must be one of {SURFACES}, or a file of densepose build-surface"
            f" (.npz), got {entry.SURFACE!r}"
        )
    if entry.NAME in {info.name for info in BUILTIN}:
        raise InputError(f"{where}: the name {entry.NAME!r} is taken by a built-in data set")
    return entry


def expand_path(path: str) -> str:
    """A path without "~" and variables."""
    return os.path.expandvars(os.path.expanduser(path))


def _register(info: DatasetInfo, root: Path, on_bad: str) -> None:
    json_path, image_root = str(root / info.annotations), str(root / info.images)
    if info.name in DatasetCatalog:
        if MetadataCatalog.get(info.name).get("registered_by") != OWNER:
            raise InputError(
                f"the data set name {info.name!r} was already registered by other code; choose"
                " another NAME, or do not register it there"
            )
        DatasetCatalog.remove(info.name)
        MetadataCatalog.remove(info.name)
    DatasetCatalog.register(info.name, partial(_load, info, json_path, image_root, on_bad))
    MetadataCatalog.get(info.name).set(
        json_file=json_path,
        image_root=image_root,
        evaluator_type="densepose_coco",
        surface=info.surface,
        has_truth=info.has_truth,
        on_bad=on_bad,
        **({"thing_classes": list(info.class_names)} if info.class_names else {}),
        keypoint_names=list(COCO_PERSON_KEYPOINT_NAMES),
        keypoint_flip_map=list(COCO_PERSON_KEYPOINT_FLIP_MAP),
        registered_by=OWNER,
        annotations_command=info.annotations_command.format(root=root),
        images_command=info.images_command.format(root=root),
    )


def _load(info: DatasetInfo, json_path: str, image_root: str, on_bad: str) -> list[dict[str, Any]]:
    """The records of a set; registers which categories it has, as detectron2's sets do."""
    loaded = read_densepose_coco(
        json_path,
        image_root,
        info.name,
        on_bad,
        class_names=info.class_names,
        has_truth=info.has_truth,
    )
    numbers = {category: number for number, category in enumerate(loaded.category_ids)}
    MetadataCatalog.get(info.name).set(
        thing_classes=list(loaded.class_names), thing_dataset_id_to_contiguous_id=numbers
    )
    return thin_records(loaded.records, info.keep_images, info.keep_points)


def annotation_file(name: str, folder: str | os.PathLike[str]) -> str:
    """The COCO file of a data set; written to ``folder`` for a set that has none.

    Raises:
        InputError: the set names no classes.
    """
    metadata = MetadataCatalog.get(name)
    if metadata.get("json_file"):
        return metadata.json_file
    records = DatasetCatalog.get(name)  # many functions name the classes when they are called
    if metadata.get("thing_classes") is None:
        raise InputError(
            f"data set {name!r} names no classes: set MetadataCatalog.get({name!r}).thing_classes"
        )
    coco = convert_to_coco_dict(name)
    people = chain.from_iterable(record.get("annotations", ()) for record in records)
    for written, person in zip(coco.setdefault("annotations", []), people, strict=True):
        written |= {key: value for key, value in person.items() if key.startswith("dp_")}
    write_text(Path(folder, "annotations.json"), to_json(coco, indent=None))
    return str(Path(folder, "annotations.json"))


def annotations_to_score(name: str) -> AnnotationFile:
    """The annotations of a data set of this package, as evaluating it reads them.

    Raises:
        InputError: something in the file would have to be skipped.
    """
    metadata = MetadataCatalog.get(name)
    content = read_annotation_file(metadata.json_file)
    checked = check_records(content, metadata.json_file, image_root=metadata.image_root)
    checked.report.require_all(on_bad=metadata.on_bad)
    return checked


def detection_file(name: str, folder: str | os.PathLike[str]) -> str:
    """Write the annotations of a data set, checked, in the form that pycocotools needs.

    It crashes on damaged run lengths, and asks for keys that are optional in our files. Images
    whose file is missing and categories that are not read are left out.

    Args:
        name: of a data set of this package.
        folder: where ``annotations.json`` is written.

    Returns:
        Path of the file.

    Raises:
        InputError: something in the file would have to be skipped.
    """
    checked = annotations_to_score(name)
    ids = category_ids_of(name)
    sizes = {image["id"]: [image["height"], image["width"]] for image in checked.images}
    people = []
    for person in checked.annotations:
        if person["category_id"] in ids:
            size = sizes[person["image_id"]]
            empty = {"size": size, "counts": [size[0] * size[1]]}
            keypoints = person.get("keypoints", [0] * 3 * len(COCO_PERSON_KEYPOINT_NAMES))
            labelled = sum(visibility > 0 for visibility in keypoints[2::3])
            filled = {"segmentation": empty, "keypoints": keypoints, "num_keypoints": labelled}
            people.append(filled | person)
    categories = [{"id": number, "name": checked.categories[number]} for number in ids]
    content = {"images": checked.images, "annotations": people, "categories": categories}
    path = Path(folder, "annotations.json")
    write_text(path, to_json(content, indent=None))
    return str(path)


def dataset_status() -> list[DatasetStatus]:
    """Where the files of every registered data set are expected, and whether they are there."""
    listed = []
    for name in sorted(DatasetCatalog.list()):
        metadata = MetadataCatalog.get(name)
        if metadata.get("registered_by") == OWNER:
            json_path, image_root = Path(metadata.json_file), Path(metadata.image_root)
            missing = {} if json_path.is_file() else {"annotations": metadata.annotations_command}
            missing |= {} if image_root.is_dir() else {"images": metadata.images_command}
            command = " && ".join(filter(None, missing.values()))
            listed.append(
                DatasetStatus(name, json_path, image_root, " and ".join(missing), command)
            )
    return listed


_OF_POINTS = ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V", "dp_vertex")


def thin_records(
    records: Sequence[dict[str, Any]], images: int | None = None, points: int | None = None
) -> list[dict[str, Any]]:
    """The first images, and of each person a random choice of the annotated points.

    Part masks, boxes, segmentations and keypoints stay whole.

    Args:
        records: as ``read_densepose_coco`` gives them, sorted by image id.
        images: how many are kept; None keeps all.
        points: how many of a person's points are kept; None keeps all.

    Returns:
        Records of their own where something changes; those given stay as they are.
    """
    kept = list(records[:images])
    if points is None:
        return kept
    return [
        {**record, "annotations": [_thin_person(p, points) for p in record["annotations"]]}
        if "annotations" in record
        else record
        for record in kept
    ]


def _thin_person(person: dict[str, Any], points: int) -> dict[str, Any]:
    count = len(person.get("dp_x", ()))
    if count <= points:
        return person
    random = np.random.default_rng(person["id"] % 2**63)  # ids may be negative
    chosen = np.sort(random.permutation(count)[:points]).tolist()
    fewer = {k: [person[k][n] for n in chosen] for k in _OF_POINTS if k in person}
    return {**person, **fewer}


def symmetry_from_config(cfg: CfgNode) -> ChartSymmetry | None:
    """Left-right map of the surface that DATASETS.TRAIN are annotated on; None if they are on none.

    Raises:
        InputError: a data set is not registered; the data sets are annotated on different surfaces;
            the map of the SMPL surface is not there.
    """
    require_registered(cfg.DATASETS.TRAIN)
    surfaces = {name: MetadataCatalog.get(name).get("surface") for name in cfg.DATASETS.TRAIN}
    annotated = sorted({surface for surface in surfaces.values() if surface is not None})
    if len(annotated) > 1:
        raise InputError(
            f"DATASETS.TRAIN mixes surfaces: {surfaces}; parts and (U, V) of one model mean places"
            " on one body surface"
        )
    return load_symmetry(annotated[0], smpl_dir(cfg)) if annotated else None


def load_symmetry(surface: str, smpl_folder: Path) -> ChartSymmetry:
    """Left-right map of a surface.

    Args:
        surface: one of ``registration.SURFACES``, or a file of densepose build-surface.
        smpl_folder: folder of UV_symmetry_transforms.mat; read for "smpl_27554" only.

    Raises:
        InputError: the file is missing; an unknown surface, one without left and right, or the file
            is damaged.
    """
    if is_own_surface(surface):
        symmetry = read_own_surface(surface).symmetry
        if symmetry is None:
            raise InputError(
                f"{surface}: has no left and right, so images cannot be flipped; train with"
                " INPUT.RANDOM_FLIP none, or build it again from a symmetric pose"
            )
        return symmetry
    if surface == "template":
        return template_symmetry()
    if surface != "smpl_27554":
        raise InputError(f"surface must be one of {SURFACES}, got {surface!r}")
    path = smpl_folder / SYMMETRY_FILE
    if not path.is_file():
        raise InputError(
            f"{path}: flipped images need this file for data sets annotated on SMPL; it is part of"
            " densepose_uv_data.tar.gz (datasets/README.md). Set DATASETS.SMPL_DIR to its folder,"
            " or train without flips: INPUT.RANDOM_FLIP none"
        )
    return load_uv_symmetry(path)

"""The data sets that are known by name, and the commands that fetch their files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

SURFACES = ("template", "smpl_27554")
_ANNOTATION_URL = "https://dl.fbaipublicfiles.com/densepose/annotations"
_COCO_URL = "http://images.cocodataset.org"
_SMALL_COCO_URL = "https://dl.fbaipublicfiles.com/detectron2/annotations/coco"


class DatasetInfo(NamedTuple):
    """One data set; paths are absolute, or relative to the folder of all data sets."""

    name: str
    annotations: str  # path of the JSON file
    images: str  # folder of the images
    # the body surface that parts and (U, V) belong to, one of SURFACES; None: it has neither
    surface: str | None
    class_names: tuple[str, ...] = ("person",)  # empty: all categories of the file
    has_truth: bool = True
    keep_images: int | None = None  # the first so many, None: all
    keep_points: int | None = None  # of each person
    mend_annotations: str = ""  # command that gets the JSON file; {root} is the folder of all sets
    mend_images: str = ""  # command that gets the images


def _coco(name: str, json_path: str, images: str, url: str, has_truth: bool = True) -> DatasetInfo:
    return DatasetInfo(
        name,
        json_path,
        images,
        "smpl_27554",
        has_truth=has_truth,
        mend_annotations=_fetch(url, json_path),
        mend_images=_fetch_and_unzip(f"{_COCO_URL}/zips/{Path(images).name}.zip", images),
    )


def _fetch(url: str, path: str) -> str:
    return f"curl -L --create-dirs -o {{root}}/{path} {url}"


def _fetch_and_unzip(url: str, folder: str) -> str:
    """Command that unpacks an archive beside ``folder``, which it holds."""
    parent = folder.rpartition("/")[0]
    archive = f"{parent}/{Path(url).name}"
    return f"{_fetch(url, archive)} && unzip -q {{root}}/{archive} -d {{root}}/{parent}"


def _builtin() -> Iterable[DatasetInfo]:
    yield from _builtin_coco()
    yield from _builtin_animals()
    yield from _builtin_videos()
    yield from _builtin_vertices()
    for split in ("train", "val"):
        folder = "densepose_synthetic"
        yield DatasetInfo(
            f"densepose_synthetic_{split}",
            f"{folder}/annotations/densepose_{split}.json",
            f"{folder}/images/{split}",
            "template",
            mend_annotations=f"densepose make-data --out {{root}}/{folder}",
        )


def _builtin_coco() -> Iterable[DatasetInfo]:
    for split, images in (("train", "train2014"), ("valminusminival", "val2014")) + (
        ("minival", "val2014"),
    ):
        name, file = f"densepose_coco_2014_{split}", f"densepose_{split}2014"
        folder = f"coco/{images}"
        yield _coco(
            name, f"coco/annotations/{file}.json", folder, f"{_ANNOTATION_URL}/coco/{file}.json"
        )
        # These files hold every chart annotation and vertices besides.
        yield _coco(
            f"{name}_cse",
            f"coco_cse/{file}_cse.json",
            folder,
            f"{_ANNOTATION_URL}/coco_cse/{file}_cse.json",
        )
    yield _coco(
        "densepose_coco_2014_minival_100",
        "coco/annotations/densepose_minival2014_100.json",
        "coco/val2014",
        "https://dl.fbaipublicfiles.com/detectron2/densepose/densepose_minival2014_100.json",
    )
    # Known to detectron2 by name; no address is published for the file.
    yield _coco(
        "densepose_coco_2014_minival_100_cse",
        "coco_cse/densepose_minival2014_100_cse.json",
        "coco/val2014",
        "",
    )._replace(mend_annotations="")
    yield _coco(
        "densepose_coco_2014_test",
        "coco/annotations/densepose_coco_2014_test.json",
        "coco/test2014",
        "https://dl.fbaipublicfiles.com/densepose/densepose_coco_2014_test.json",
        has_truth=False,
    )


def _builtin_animals() -> Iterable[DatasetInfo]:
    """The sets of Sanakoyeu et al., CVPR 2020: boxes and masks to learn from, chimpanzees to test.

    Videos of chimpanzees are no annotated set, see ``data.bootstrap.videos``.
    """
    things = tuple(entry["name"] for entry in COCO_CATEGORIES if entry["isthing"])
    both = _fetch_and_unzip(
        f"{_COCO_URL}/annotations/annotations_trainval2017.zip", "coco/annotations"
    )
    few = "coco/annotations/instances_val2017_100.json"
    for name, path, images, mend in (
        ("train", "coco/annotations/instances_train2017.json", "train2017", both),
        ("val", "coco/annotations/instances_val2017.json", "val2017", both),
        ("val_100", few, "val2017", _fetch(f"{_SMALL_COCO_URL}/instances_val2017_100.json", few)),
    ):
        yield DatasetInfo(
            f"base_coco_2017_{name}",
            path,
            f"coco/{images}",
            None,
            class_names=things,
            mend_annotations=mend,
            mend_images=_fetch_and_unzip(f"{_COCO_URL}/zips/{images}.zip", f"coco/{images}"),
        )
    # Chimpanzees, annotated as category "person" on the surface of the human body. Each image has
    # its own address, in the field image_url of the annotations.
    yield DatasetInfo(
        "densepose_chimps",
        "densepose_chimps/densepose_chimps_densepose.json",
        "densepose_chimps/images",
        "smpl_27554",
        mend_annotations=_fetch(
            f"{_ANNOTATION_URL}/densepose_chimps/densepose_chimps_full_v2.json",
            "densepose_chimps/densepose_chimps_densepose.json",
        ),
    )


def _builtin_videos() -> Iterable[DatasetInfo]:
    """DensePose-PoseTrack: labelled frames of videos, with regions in which nobody is annotated."""
    for split in ("train", "val"):
        file = f"densepose_posetrack_{split}2017.json"
        yield DatasetInfo(
            f"posetrack2017_{split}",
            f"posetrack2017/{file}",
            "posetrack2017/posetrack_data_2017",
            "smpl_27554",
            mend_annotations=_fetch(f"{_ANNOTATION_URL}/coco/{file}", f"posetrack2017/{file}"),
            mend_images="# images: https://posetrack.net/users/download.php, to"
            " {root}/posetrack2017/posetrack_data_2017",
        )


# Classes of DensePose-LVIS that have points.
ANIMALS = ("bear", "cow", "cat", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")


def _builtin_vertices() -> Iterable[DatasetInfo]:
    """Sets whose points are vertices of animal meshes: chart models use their boxes and masks."""
    for split in ("train", "val"):
        name = f"densepose_chimps_cse_{split}"
        path = f"densepose_chimps/{name}.json"
        url = f"{_ANNOTATION_URL}/{path}"
        # Annotated as "chimpanzee" or "person": one category, whatever it is called.
        yield DatasetInfo(
            name,
            path,
            "densepose_chimps/images",
            None,
            class_names=(),
            mend_annotations=_fetch(url, path),
        )
    files = [f"v1_{ds}_{split}_v1" for ds in ("ds1", "ds2") for split in ("train", "val")]
    for part in files:
        name = f"densepose_lvis_{part}"
        path = f"lvis/{name}.json"
        # Images of both splits of COCO 2017 are used, each below the folder of its split.
        yield DatasetInfo(
            name,
            path,
            "coco",
            None,
            class_names=ANIMALS,
            mend_annotations=_fetch(f"{_ANNOTATION_URL}/{path}", path),
            mend_images=" && ".join(
                _fetch_and_unzip(f"{_COCO_URL}/zips/{images}.zip", f"coco/{images}")
                for images in ("train2017", "val2017")
            ),
        )
    # Known to detectron2 by name; no address is published for these files.
    yield DatasetInfo(
        "densepose_lvis_v1_ds1_val_animals_100",
        "lvis/densepose_lvis_v1_val_animals_100_v2.json",
        "coco",
        None,
        class_names=ANIMALS,
    )
    for split in ("train", "val"):
        yield DatasetInfo(
            f"lvis_v05_{split}",
            f"lvis/lvis_v0.5_plus_dp_{split}.json",
            f"coco/{split}2017",
            None,
            class_names=ANIMALS,
        )


BUILTIN = tuple(_builtin())

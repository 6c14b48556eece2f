"""The data sets that are known by name, and the commands that fetch their files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

SURFACES = ("template", "smpl_27554")
_DENSEPOSE_URL = "https://dl.fbaipublicfiles.com/densepose"
_COCO_URL = "http://images.cocodataset.org"
_SMALL_URL = "https://dl.fbaipublicfiles.com/detectron2"
_THINGS = tuple(entry["name"] for entry in COCO_CATEGORIES if entry["isthing"])
# Classes of DensePose-LVIS that have points.
ANIMALS = ("bear", "cow", "cat", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")


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
    annotations_command: str = ""  # gets the JSON file; {root} is the folder of all sets
    images_command: str = ""  # gets the images


def _fetch(url: str, path: str) -> str:
    return f"curl -L --create-dirs -o {{root}}/{path} {url}"


def _unzip(url: str) -> str:
    """Command that unpacks an archive of COCO."""
    archive = f"coco/{Path(url).name}"
    return f"{_fetch(url, archive)} && unzip -q {{root}}/{archive} -d {{root}}/coco"


def _info(
    name: str,
    annotations: str,
    images: str,
    surface: str | None,
    *,
    url: str = "",
    zips: Iterable[str] = (),
    **more: Any,
) -> DatasetInfo:
    """Args: ``url`` of the JSON file where it is published; ``zips``: COCO's archives of images."""
    commands = {
        "annotations_command": _fetch(url, annotations) if url else "",
        "images_command": " && ".join(_unzip(f"{_COCO_URL}/zips/{name}.zip") for name in zips),
    }
    return DatasetInfo(name, annotations, images, surface, **{**commands, **more})


def _people() -> Iterator[DatasetInfo]:
    """DensePose-COCO, DensePose-PoseTrack and the synthetic set."""
    folder, smpl = "coco/annotations", "smpl_27554"
    for split, images in (
        ("train", "train2014"),
        ("valminusminival", "val2014"),
        ("minival", "val2014"),
    ):
        file, name = f"densepose_{split}2014", f"densepose_coco_2014_{split}"
        urls = [f"{_DENSEPOSE_URL}/annotations/coco{part}" for part in ("", "_cse")]
        coco = {"images": f"coco/{images}", "surface": smpl, "zips": [images]}
        yield _info(name, f"{folder}/{file}.json", url=f"{urls[0]}/{file}.json", **coco)
        # These files hold every chart annotation and vertices besides.
        file = f"{file}_cse.json"
        yield _info(f"{name}_cse", f"coco_cse/{file}", url=f"{urls[1]}/{file}", **coco)
    minival = {"images": "coco/val2014", "surface": smpl, "zips": ["val2014"]}
    name, file = "densepose_coco_2014_minival_100", "densepose_minival2014_100"
    url = f"{_SMALL_URL}/densepose/{file}.json"
    yield _info(name, f"{folder}/{file}.json", url=url, **minival)
    # Known to detectron2 by name; no address is published for the file.
    yield _info(f"{name}_cse", f"coco_cse/{file}_cse.json", **minival)
    file = "densepose_coco_2014_test.json"
    yield _info(
        "densepose_coco_2014_test",
        f"{folder}/{file}",
        "coco/test2014",
        smpl,
        url=f"{_DENSEPOSE_URL}/{file}",
        zips=["test2014"],
        has_truth=False,
    )
    for split in ("train", "val"):
        # Labelled frames of videos, with regions in which nobody is annotated.
        folder, file = "posetrack2017", f"densepose_posetrack_{split}2017.json"
        yield _info(
            f"posetrack2017_{split}",
            f"{folder}/{file}",
            f"{folder}/posetrack_data_2017",
            smpl,
            url=f"{_DENSEPOSE_URL}/annotations/coco/{file}",
            images_command="# images: https://posetrack.net/users/download.php, to"
            f" {{root}}/{folder}/posetrack_data_2017",
        )
        folder = "densepose_synthetic"
        yield _info(
            f"{folder}_{split}",
            f"{folder}/annotations/densepose_{split}.json",
            f"{folder}/images/{split}",
            "template",
            annotations_command=f"densepose make-data --output {{root}}/{folder}",
        )


def _animals() -> Iterator[DatasetInfo]:
    """The sets of Sanakoyeu et al., CVPR 2020, and those with vertices of animal meshes.

    Videos of chimpanzees are no annotated set, see ``data.bootstrap.videos``. Chart models use
    boxes and masks of the sets without a surface.
    """
    both = _unzip(f"{_COCO_URL}/annotations/annotations_trainval2017.zip")
    few = "annotations/instances_val2017_100.json"
    for name, file, images, command in (
        ("train", "annotations/instances_train2017.json", "train2017", both),
        ("val", "annotations/instances_val2017.json", "val2017", both),
        (
            "val_100",
            few,
            "val2017",
            _fetch(f"{_SMALL_URL}/annotations/coco/{Path(few).name}", f"coco/{few}"),
        ),
    ):
        yield _info(
            f"base_coco_2017_{name}",
            f"coco/{file}",
            f"coco/{images}",
            None,
            zips=[images],
            class_names=_THINGS,
            annotations_command=command,
        )
    folder, url = "densepose_chimps", f"{_DENSEPOSE_URL}/annotations"
    # Annotated as category "person" on the surface of the human body. Each image has its own
    # address, in the field image_url of the annotations.
    path, chimps = f"{folder}/densepose_chimps_densepose.json", f"{url}/{folder}"
    released = f"{chimps}/densepose_chimps_full_v2.json"
    yield _info(folder, path, f"{folder}/images", "smpl_27554", url=released)
    for split in ("train", "val"):
        name = f"densepose_chimps_cse_{split}"
        path = f"{folder}/{name}.json"
        # Annotated as "chimpanzee" or "person": one category, whatever it is called.
        yield _info(name, path, f"{folder}/images", None, url=f"{url}/{path}", class_names=())
        for part in ("ds1", "ds2"):
            name = f"densepose_lvis_v1_{part}_{split}_v1"
            # Images of both splits of COCO 2017 are used, each below the folder of its split.
            yield _info(
                name,
                f"lvis/{name}.json",
                "coco",
                None,
                url=f"{url}/lvis/{name}.json",
                zips=["train2017", "val2017"],
                class_names=ANIMALS,
            )
        # Known to detectron2 by name; no address is published for these files.
        path = f"lvis/lvis_v0.5_plus_dp_{split}.json"
        yield _info(f"lvis_v05_{split}", path, f"coco/{split}2017", None, class_names=ANIMALS)
    name, path = "densepose_lvis_v1_ds1_val_animals_100", "densepose_lvis_v1_val_animals_100_v2"
    yield _info(name, f"lvis/{path}.json", "coco", None, class_names=ANIMALS)


BUILTIN = (*_people(), *_animals())

"""The file of annotations, in the format of DensePose-COCO: opened, continued and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densepose.errors import InputError
from densepose.files import to_json, write_text
from densepose.structures.annotated_regions import encode_masks, encode_regions
from densepose.structures.body_parts import ANNOTATION_GRID
from densepose.structures.records import check_records, read_annotation_file, read_json

from .body import Body
from .events import Added, Events, Imported, Listed
from .instance import PART_MASKS, POINT_KEYS, Instance
from .project import Project
from .regions import foreground, grid_from_canvas

_PERSON = {"id": 1, "name": "person", "supercategory": "person"}
_REGION_KEYS = ("dp_masks", PART_MASKS, "segmentation")


@dataclass(frozen=True)
class Written:
    """What the file holds."""

    path: Path
    images: int
    instances: int  # with DensePose annotations
    points: int

    def text(self) -> str:
        """One line for the terminal."""
        return (
            f"{self.path}: {self.images} images, {self.instances} annotated instances,"
            f" {self.points} points"
        )


def import_annotations(project: Project, path: Path) -> None:
    """Put the records of a file into the log of a new project, to correct or continue them.

    Raises:
        InputError: the file is missing, has records that cannot be used, or is not about the photos
            of the project.
    """
    content = read_annotation_file(path)
    found = check_records(content, str(path))
    if found.report.errors:
        raise InputError(
            f"{path}: {len(found.report.errors)} rules are broken; `densepose check-data {path}`"
            " lists them. Correct them first, nothing of the file is to be lost"
        )
    known = [image for image in found.images if image["file_name"] in project.photos]
    if not known:
        first = found.images[0]["file_name"] if found.images else "none"
        raise InputError(
            f"{path}: none of its {len(found.images)} images is among the photos, the first is"
            f" {first!r}; give the folder that the names start in"
        )
    other = next((r for r in found.annotations if not _fits(r, project.body)), None)
    if other is not None:
        raise InputError(
            f"{path}: annotation {other['id']} has points on {other['ref_model']}, this project is"
            f" on {project.body.ref_model}; name the surface with --surface"
        )
    head = {key: content[key] for key in content if key not in ("images", "annotations")}
    events: list[Events] = [Imported(head=head)]
    names = {image["id"]: image["file_name"] for image in found.images}
    for image in found.images:
        name, width, height = image["file_name"], image["width"], image["height"]
        events.append(Listed(image=name, width=width, height=height, record=image))
    for record in found.annotations:
        box = tuple(float(value) for value in record["bbox"])
        name = names[record["image_id"]]
        added = Added(instance=record["id"], image=name, box=box, source="file", record=record)
        events.append(added)
    project.begin(events)


def _fits(record: dict[str, Any], body: Body) -> bool:
    """Whether the points of a record are on this body, as far as the record says it."""
    on_charts = "dp_I" in record and body.is_template
    return on_charts or record.get("ref_model", body.ref_model) == body.ref_model


def write_annotations(project: Project, path: Path) -> Written:
    """Write the finished instances, and everything that was opened from a file.

    An unfinished instance in an image with a finished one is written with its box alone. Photos
    without either, and tests, are not written.
    """
    with project.lock:
        images, people = [], []
        number = max((r["id"] for r in project.image_records.values() if r), default=0)
        for name, record in project.image_records.items():
            number += not record
            members = [project.instances[k] for k in project.of_image[name]]
            is_wanted = record or any(instance.is_finished for instance in members)
            if name in project.truth or not is_wanted:
                continue
            width, height = project.sizes[name]
            new = {"id": number, "file_name": name, "width": width, "height": height}
            images.append(record or new)
            people += [
                record_of(instance, project.body, (height, width)) | {"image_id": images[-1]["id"]}
                for instance in members
            ]
        head = {"categories": [_PERSON], **project.head}
    write_text(path, to_json({**head, "images": images, "annotations": people}, indent=None))
    annotated = [person for person in people if "dp_x" in person or "dp_masks" in person]
    points = sum(len(person.get("dp_x", ())) for person in annotated)
    return Written(path, len(images), len(annotated), points)


def record_of(instance: Instance, body: Body, image_size: tuple[int, int]) -> dict[str, Any]:
    """The record of an instance in an image of (height, width), but for its image."""
    if instance.record and not instance.is_changed:
        return instance.record
    x, y, width, height = instance.box
    record = {"category_id": 1, "iscrowd": 0, "area": width * height, **instance.record}
    record |= {"id": instance.id, "bbox": [x, y, width, height]}
    for key in (*POINT_KEYS, *_REGION_KEYS):
        record.pop(key, None)
    if not instance.is_finished:
        return record
    if instance.started_from:
        record["dp_masks_started_from"] = instance.started_from
    return record | _regions(instance, body, image_size) | _points(instance, body)


def _regions(instance: Instance, body: Body, image_size: tuple[int, int]) -> dict[str, Any]:
    canvas = instance.canvas()
    if not canvas.any():
        return {}
    whole = foreground(canvas, instance.box, image_size)
    area = float(np.count_nonzero(canvas)) / canvas.size * instance.box[2] * instance.box[3]
    fields = {"segmentation": whole, "area": round(area, 2)}
    grid = grid_from_canvas(canvas)
    if body.is_template:
        return fields | {"dp_masks": encode_regions(grid)}
    # dp_masks of 14 regions are those of a human body; otherwise there is one for everything.
    masks = [
        encode_masks((grid == number)[..., None])[0]
        for number in range(1, len(body.region_names) + 1)
    ]
    return fields | {"dp_masks": encode_masks((grid > 0)[..., None])[0], PART_MASKS: masks}


def _points(instance: Instance, body: Body) -> dict[str, Any]:
    placed = instance.placed()
    if not placed:
        return {}
    x0, y0, width, height = instance.box
    scale = np.array([ANNOTATION_GRID / width, ANNOTATION_GRID / height])
    grid_xy = (np.array([(p.x, p.y) for _, p, _ in placed]) - (x0, y0)) * scale
    grid_xy = grid_xy.clip(0, ANNOTATION_GRID).round(4)
    answers = [answer for _, _, answer in placed]
    fields = {
        "dp_x": grid_xy[:, 0].tolist(),
        "dp_y": grid_xy[:, 1].tolist(),
        "dp_I": [float(answer.part) for answer in answers],
        "dp_U": [round(answer.u, 5) for answer in answers],
        "dp_V": [round(answer.v, 5) for answer in answers],
    }
    if not body.is_template:
        fields |= {"dp_vertex": [a.vertex for a in answers], "ref_model": body.ref_model}
    return fields


def read_boxes(path: Path, names: list[str]) -> dict[str, list[list[float]]]:
    """Boxes (x, y, width, height in px) of photos, from a file of annotations or of detections.

    Args:
        path: DensePose-COCO or COCO with images and annotations; or a list of detections with
            ``bbox`` and ``file_name``, or an ``image_id`` that is the number in the file's name.
        names: of the photos.

    Raises:
        InputError: another form, or no box is of one of the photos.
    """
    content = read_json(path)
    records = content.get("annotations") if isinstance(content, dict) else content
    images = content.get("images", []) if isinstance(content, dict) else []
    if not isinstance(records, list) or not isinstance(images, list):
        raise InputError(f"{path}: expected a list of detections, or a COCO file with annotations")
    by_number = {int(digits): name for name in names if (digits := _digits(name))}
    found: dict[str, list[list[float]]] = {}
    try:
        by_number |= {image["id"]: image["file_name"] for image in images}
        known = set(names)
        for record in records:
            name = record.get("file_name") or by_number.get(record["image_id"])
            box = [float(value) for value in record["bbox"]]
            if name in known and len(box) == 4:
                found.setdefault(name, []).append(box)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: a record lacks file_name or image_id, or a bbox of 4 numbers ({error!r})"
        ) from error
    if not found:
        raise InputError(f"{path}: none of its {len(records)} boxes is in one of the photos")
    return found


def _digits(name: str) -> str:
    stem = Path(name).stem
    return stem[len(stem.rstrip("0123456789")) :]

"""Files that are opened, continued and written; boxes and regions to start from; other meshes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densepose.annotate import events as ev
from densepose.annotate.coco import read_boxes, write_annotations
from densepose.annotate.model import ModelStart
from densepose.annotate.session import Options, open_project
from densepose.data.coco import check_annotations
from densepose.errors import InputError
from densepose.prediction.people import Person
from densepose.surface.own.build import BuildOptions, build_own_surface
from densepose.surface.own.surface_file import write_own_surface
from tests.support.annotating import serving
from tests.support.shapes import sphere, write_obj

WHOLE = [(0.0, 0.0), (500.0, 0.0), (500.0, 500.0), (0.0, 500.0)]


def continued(tiny_coco, output: Path) -> Options:
    annotations, images = tiny_coco
    return Options(images=images, output=output, annotations=annotations)


def by_id(path: Path, kind: str = "annotations") -> dict[int, dict]:
    return {record["id"]: record for record in json.loads(path.read_text())[kind]}


def test_a_file_that_is_opened_comes_back_as_it_was(tiny_coco, tmp_path):
    opened = continued(tiny_coco, tmp_path / "my.json")
    for _ in range(2):  # from the file, then from the log alone
        with open_project(opened) as project:
            write_annotations(project, opened.output)
        before, after = (json.loads(p.read_text()) for p in (tiny_coco[0], opened.output))
        assert after.keys() == before.keys()
        assert after["images"] == before["images"] and after["categories"] == before["categories"]
        assert by_id(opened.output) == by_id(tiny_coco[0])


def test_a_correction_changes_its_instance_alone(tiny_coco, tmp_path):
    opened = continued(tiny_coco, tmp_path / "my.json")
    before = by_id(tiny_coco[0])
    number = next(k for k, record in before.items() if "dp_x" in record)
    with open_project(opened) as project:
        stroke = ev.Stroke(instance=number, region=14, tool="polygon", xy=WHOLE)
        project.record(stroke, "Ann")
        project.record(ev.Answered(instance=number, point=0, kind="hidden"), "Ann")
        write_annotations(project, opened.output)
    after = by_id(opened.output)
    assert {k: r for k, r in after.items() if k != number} == {
        k: r for k, r in before.items() if k != number
    }
    old, new = before[number], after[number]
    assert sum(map(bool, new["dp_masks"])) == 1 and new["dp_masks"][13]
    assert new["keypoints"] == old["keypoints"]
    for key in ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V"):
        np.testing.assert_allclose(new[key], old[key][1:], atol=1e-3)
    assert not check_annotations(opened.output, opened.images).errors


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c["annotations"][0].update(bbox=[1, 2, -3, 4]), "check-data"),
        (lambda c: [i.update(file_name="other/" + i["file_name"]) for i in c["images"]], "none of"),
        (
            lambda c: c["annotations"][0].update(
                dp_I=None, dp_U=None, dp_V=None, dp_x=[1], dp_y=[1], dp_vertex=[3], ref_model="a_9"
            ),
            "points on a_9",
        ),
    ],
)
def test_a_file_that_would_lose_something_is_refused(tiny_coco, tmp_path, change, complaint):
    content = json.loads(tiny_coco[0].read_text())
    change(content)
    (tmp_path / "given.json").write_text(json.dumps(content))
    opened = Options(
        images=tiny_coco[1], output=tmp_path / "my.json", annotations=tmp_path / "given.json"
    )
    for _ in range(2):  # and again: nothing half read stays in the log
        with pytest.raises(InputError, match=complaint), open_project(opened):
            pass


def test_boxes_come_from_detections_or_a_coco_file(tiny_coco, tmp_path):
    names = [image["file_name"] for image in by_id(tiny_coco[0], "images").values()]
    found = read_boxes(tiny_coco[0], names)
    assert sum(map(len, found.values())) == len(by_id(tiny_coco[0]))
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([{"image_id": 12, "bbox": [1, 2, 3, 4], "score": 0.5}]))
    assert read_boxes(path, ["a_000012.jpg", "13.jpg"]) == {"a_000012.jpg": [[1, 2, 3, 4]]}
    for wrong in ({}, [{"bbox": [1, 2, 3, 4]}], [{"image_id": 12, "bbox": 3}], []):
        path.write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=r"detections\.json: "):
            read_boxes(path, ["12.jpg"])


def test_boxes_and_regions_of_a_model_are_marked(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (100, 80)).save(tmp_path / "photos" / "a.png")
    part = np.zeros((40, 20), np.uint8)
    part[:10], part[10:] = 23, 2
    box = np.array([30, 20, 50, 60], np.float32)
    people = [Person(box, 0.9, part, np.zeros((2, 40, 20), np.float32))]
    start = ModelStart(lambda photo: people, boxes=True, regions=True)
    opened = Options(images=tmp_path / "photos", output=tmp_path / "my.json")
    with open_project(opened) as project:
        for _ in range(2):  # the second time nothing is added
            project.open_photo("a.png", lambda name, photo, known: start(photo, known))
        (instance,) = project.instances.values()
        assert instance.box == (30, 20, 20, 40) and instance.source == "model"
        canvas = instance.canvas()
        quarter = len(canvas) // 4
        assert (canvas[: quarter - 2] == 14).all() and (canvas[quarter + 2 :] == 1).all()
        assert write_annotations(project, opened.output).instances == 0  # not finished
        project.record(ev.Finished(instance=instance.id, finished=True), "Ann")
        write_annotations(project, opened.output)
    (person,) = by_id(opened.output).values()
    assert person["dp_masks_started_from"] == "model"
    assert person["area"] == 800 and person["bbox"] == [30, 20, 20, 40]


@pytest.fixture(scope="module")
def ball(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ball")
    write_obj(folder / "ball.obj", sphere(1))
    surface, _ = build_own_surface(folder / "ball.obj", BuildOptions(num_parts=4))
    write_own_surface(folder / "ball.npz", surface)
    return folder / "ball.npz"


def test_points_on_a_mesh_of_the_users_own_are_vertices_too(ball, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (100, 80)).save(tmp_path / "photos" / "a.png")
    opened = Options(
        images=tmp_path / "photos", output=tmp_path / "my.json", surface=str(ball), points=2
    )
    with serving(opened) as client:
        client.get("photo/0")
        number = client.do("add", image=0, box=[0, 0, 100, 80])["id"]
        corners = [(10, 10), (60, 10), (60, 60), (10, 60)]
        client.do("stroke", instance=number, region=2, tool="polygon", xy=corners)
        state = client.do("sample", instance=number)
        for point in state["points"]:
            click = {"instance": number, "point": point["id"], "view": 0, "x": 200, "y": 200}
            client.do("click", **click)
        client.do("finished", instance=number, finished=True)
        region = client.pages.project.instances[number].canvas()
    (person,) = by_id(opened.output).values()
    assert person["ref_model"] == "ball_42" and len(person["dp_vertex"]) == 2
    assert set(person["dp_I"]) == {2.0} and isinstance(person["dp_masks"], dict)
    assert not check_annotations(opened.output, opened.images).errors
    again = Options(
        images=opened.images,
        output=tmp_path / "again.json",
        annotations=opened.output,
        surface=str(ball),
    )
    with open_project(again) as project:
        (instance,) = project.instances.values()
        assert len(instance.placed()) == 2
        # As exactly as 256 cells over the box are.
        assert (instance.canvas() == region).mean() > 0.99

import copy
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectron2.structures import BoxMode

from densepose.data.coco import check_annotations, load_densepose_coco
from densepose.errors import InputError
from densepose.structures.record_report import RULES
from densepose.structures.records import check_records, read_annotation_file

Tiny = tuple[Path, Path]


def damaged(tiny: Tiny, folder: Path, change: Any, name: str = "annotations.json") -> Path:
    """A copy of the tiny set's file with ``change(data)`` applied."""
    data = json.loads(tiny[0].read_text())
    change(data)
    path = folder / name
    path.write_text(json.dumps(data))
    return path


def test_every_image_and_person_of_a_sound_file_is_loaded(tiny_coco: Tiny, caplog: Any):
    with caplog.at_level(logging.INFO):
        records = load_densepose_coco(*tiny_coco, "tiny", on_bad="error")
    source = json.loads(tiny_coco[0].read_text())
    assert [r["image_id"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert all(Path(r["file_name"]).is_file() for r in records)
    loaded = {p["id"]: p for r in records for p in r["annotations"]}
    assert len(loaded) == len(source["annotations"])
    for person in source["annotations"]:
        got = loaded[person["id"]]
        assert got["bbox"] == person["bbox"] and got["bbox_mode"] == BoxMode.XYWH_ABS
        assert got["category_id"] == 0
        for key in ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V", "dp_masks", "segmentation"):
            assert got.get(key) == person.get(key)
    assert "every rule is kept" in caplog.text


def test_keypoints_move_to_the_centre_of_their_pixel(tiny_coco: Tiny):
    person = load_densepose_coco(*tiny_coco, "tiny")[0]["annotations"][0]
    stored = json.loads(tiny_coco[0].read_text())["annotations"][0]["keypoints"]
    np.testing.assert_allclose(person["keypoints"][0::3], np.array(stored[0::3]) + 0.5)
    np.testing.assert_allclose(person["keypoints"][2::3], stored[2::3])


def set_first(key: str, value: Any, number: int = 0) -> Any:
    def change(data: dict) -> None:
        data["annotations"][number][key] = value

    return change


def set_point(key: str, value: Any) -> Any:
    def change(data: dict) -> None:
        data["annotations"][0][key][3] = value

    return change


def drop(key: str) -> Any:
    return lambda data: data["annotations"][0].pop(key)


def set_mask(**entry: Any) -> Any:
    return lambda data: data["annotations"][0]["dp_masks"][0].update(entry)


def set_image(key: str, value: Any) -> Any:
    return lambda data: data["images"][0].update({key: value})


DAMAGES = {
    "image-keys": (lambda data: data["images"][0].pop("width"), "image 1: width missing"),
    "image-id-unique": (set_image("id", 2), "image 2: number 2"),
    "image-file": (set_image("file_name", "gone.jpg"), "gone.jpg"),
    "category-keys": (lambda d: d["categories"].append({"id": "x"}), "id is 'x'; Expected int"),
    "annotation-keys": (set_first("id", None), "annotation number 1: id missing"),
    "annotation-crowd": (set_first("iscrowd", 2), "iscrowd is 2; Expected int <= 1"),
    "annotation-id-unique": (set_first("id", 1, 1), "annotation 1 of image"),
    "image-known": (set_first("image_id", 77), "got image_id 77"),
    "category-known": (set_first("category_id", 9), "got category_id 9"),
    "box-form": (set_first("bbox", [5, 5, 0, 10]), "got bbox [5, 5, 0, 10]"),
    "box-in-image": (set_first("bbox", [500, 5, 20, 10]), "got bbox [500, 5, 20, 10]"),
    "area-form": (set_first("area", -3), "area is -3; Expected float >= 0.0"),
    "points-complete": (drop("dp_I"), "no dp_I"),
    "points-lengths": (lambda d: d["annotations"][0]["dp_U"].pop(), "lengths [78, 78, 78, 77, 78]"),
    "points-part": (set_point("dp_I", 25), "dp_I is 25 at [3]; Expected float <= 24.0"),
    "points-uv": (set_point("dp_U", 1.2), "dp_U is 1.2 at [3]; Expected float <= 1.0"),
    "points-grid": (set_point("dp_y", None), "dp_y is None at [3]; Expected float, got null"),
    "masks-form": (lambda d: d["annotations"][0]["dp_masks"].pop(), "array of length >= 14"),
    "masks-size": (set_mask(size=[255, 256]), "got [255, 256]"),
    "masks-runs": (set_mask(counts="PPP"), "the runs are damaged"),
    "segmentation-form": (set_first("segmentation", [[1, 2, 3]]), "odd number of values: [1, 2, 3"),
    "segmentation-size": (
        set_first("segmentation", {"counts": [12], "size": [3, 4]}),
        "got [3, 4], expected [120, 160]",
    ),
    "segmentation-runs": (
        set_first("segmentation", {"counts": "PPP", "size": [120, 160]}),
        "the runs are damaged",
    ),
    "keypoints-form": (set_first("keypoints", [1, 2, 2]), "Expected array of length >= 51"),
}


@pytest.mark.parametrize("rule", DAMAGES)
def test_a_broken_rule_is_an_error_or_one_counted_warning(
    rule: str, tiny_coco: Tiny, tmp_path: Path, caplog: Any
):
    change, told = DAMAGES[rule]
    path = damaged(tiny_coco, tmp_path, change)
    with pytest.raises(InputError) as raised:
        load_densepose_coco(path, tiny_coco[1], "tiny", on_bad="error")
    message = str(raised.value)
    assert str(path) in message and RULES[rule].expected in message and told in message
    with caplog.at_level(logging.WARNING):
        load_densepose_coco(path, tiny_coco[1], "tiny", on_bad="warn")
    assert [r.getMessage() for r in caplog.records] == [message]


def people(path: Path, images: Path) -> dict[int, dict]:
    records = load_densepose_coco(path, images, "tiny")
    return {p["id"]: p for r in records for p in r["annotations"]}


def test_a_broken_rule_costs_only_what_it_says(tiny_coco: Tiny, tmp_path: Path):
    def change(data: dict) -> None:
        set_point("dp_V", float("nan"))(data)
        data["annotations"][1]["dp_masks"] = [[]]
        data["annotations"][2]["keypoints"] = [1.0]
        data["annotations"][3]["image_id"] = 99

    got = people(damaged(tiny_coco, tmp_path, change), tiny_coco[1])
    whole = people(*tiny_coco)
    assert set(whole) - set(got) == {4}
    lost = {i: set(whole[i]) - set(got[i]) for i in got if set(whole[i]) != set(got[i])}
    assert lost == {
        1: {"dp_x", "dp_y", "dp_I", "dp_U", "dp_V"},
        2: {"dp_masks"},
        3: {"keypoints"},
    }


def test_people_of_a_missing_image_go_with_it(tiny_coco: Tiny, tmp_path: Path):
    path = damaged(tiny_coco, tmp_path, set_image("file_name", "gone.jpg"))
    records = load_densepose_coco(path, tiny_coco[1], "tiny")
    assert [r["image_id"] for r in records] == [2, 3, 4, 5, 6]
    report = check_annotations(path, tiny_coco[1])
    assert report.counts == {"image-file": 1}
    assert check_annotations(path, None).counts == {}


def test_a_sound_file_is_counted_as_by_hand(tiny_coco: Tiny):
    report = check_annotations(*tiny_coco)
    source = json.loads(tiny_coco[0].read_text())["annotations"]
    assert report.num_points == sum(len(p.get("dp_x", [])) for p in source)
    charted = sum("dp_I" in p for p in source)
    assert report.served == {
        "points": charted,
        "vertices": 0,
        "part_masks": charted,
        "segmentation": len(source),
        "keypoints": len(source),
        "crowds": 0,
    }
    assert report.to_dict()["rules"] == {}


def test_only_the_first_offenders_are_named(tiny_coco: Tiny, tmp_path: Path):
    def change(data: dict) -> None:
        for person in data["annotations"]:
            person["bbox"][2] = -1

    report = check_annotations(damaged(tiny_coco, tmp_path, change), tiny_coco[1])
    assert report.counts["box-form"] == 9
    assert len(report.offenders["box-form"]) == 5
    assert "... and 4 more" in report.summary()


def test_repeated_ids_are_no_error_in_minival(tiny_coco: Tiny, tmp_path: Path, caplog: Any):
    path = damaged(tiny_coco, tmp_path, set_first("id", 1, 1)).rename(tmp_path / "minival.json")
    with caplog.at_level(logging.WARNING):
        load_densepose_coco(path, tiny_coco[1], "x", on_bad="error")
    assert "annotation-id-unique: 1 x" in caplog.text


def test_a_single_mask_for_the_whole_person_is_accepted(tiny_coco: Tiny, tmp_path: Path):
    mask = json.loads(tiny_coco[0].read_text())["annotations"][0]["dp_masks"][0]
    path = damaged(tiny_coco, tmp_path, set_first("dp_masks", mask))
    assert people(path, tiny_coco[1])[1]["dp_masks"] == mask


def test_records_that_are_no_records_do_not_stop_the_check(tiny_coco: Tiny, tmp_path: Path):
    def change(data: dict) -> None:
        data["annotations"] += [None, "x", {"id": [1]}, {"dp_masks": 3, "dp_x": 1}]
        data["images"] += [7, {"id": "a"}]

    report = check_annotations(damaged(tiny_coco, tmp_path, change), tiny_coco[1])
    assert report.counts["annotation-keys"] == 4
    assert report.counts["image-keys"] == 2


def test_categories_are_chosen_by_name(tiny_coco: Tiny, tmp_path: Path):
    def change(data: dict) -> None:
        data["categories"].insert(0, {"id": 17, "name": "cat"})
        data["annotations"][0]["category_id"] = 17

    path = damaged(tiny_coco, tmp_path, change)
    both = {
        p["id"]: p for r in load_densepose_coco(path, tiny_coco[1], "t") for p in r["annotations"]
    }
    assert both[1]["category_id"] == 1 and both[2]["category_id"] == 0
    cats = load_densepose_coco(path, tiny_coco[1], "t", "error", class_names=["cat"])
    assert [p["id"] for r in cats for p in r["annotations"]] == [1]
    assert cats[0]["annotations"][0]["category_id"] == 0
    with pytest.raises(
        InputError, match=r"no category is called dog; the file has \['person', 'cat'\]"
    ):
        load_densepose_coco(path, tiny_coco[1], "t", class_names=["dog"])


def test_images_without_truth_have_no_annotations_key(tiny_coco: Tiny, tmp_path: Path):
    path = damaged(tiny_coco, tmp_path, lambda data: data.pop("annotations"))
    records = load_densepose_coco(path, tiny_coco[1], "t", has_truth=False)
    assert len(records) == 6 and not any("annotations" in r for r in records)
    with pytest.raises(InputError, match="with the lists images and annotations, got keys"):
        load_densepose_coco(path, tiny_coco[1], "t")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "JSON file of 12 bytes, .* it is cut off"),
        ('{"images": [],}', "JSON file of 15 bytes, .* line 1 column 15"),
        ("", "JSON file"),
        ("[1, 2]", "DensePose-COCO file .* got list"),
        ('{"images": {}}', "DensePose-COCO file with the lists images and annotations"),
        ("\x00\xff", "JSON file"),
    ],
)
def test_a_file_that_is_no_annotation_file_is_named(text: str, message: str, tmp_path: Path):
    path = tmp_path / "cut.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=rf"cut\.json: expected a {message}"):
        read_annotation_file(path)


def test_missing_files_are_named(tiny_coco: Tiny, tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.json: the annotation file is missing"):
        load_densepose_coco(tmp_path / "none.json", tiny_coco[1], "tiny")
    with pytest.raises(InputError, match="the image folder of tiny is missing"):
        load_densepose_coco(tiny_coco[0], tmp_path / "none", "tiny")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="none of the images can be used"):
        load_densepose_coco(tiny_coco[0], tmp_path / "empty", "tiny")


def test_the_check_changes_no_record(tiny_coco: Tiny):
    data = json.loads(tiny_coco[0].read_text())
    before = copy.deepcopy(data)
    check_records(data, "x", image_root=tiny_coco[1])
    assert data == before

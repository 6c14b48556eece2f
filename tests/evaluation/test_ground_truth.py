from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.evaluation.ground_truth import GroundTruth


def person(number: int, image_id: int = 1, **changes) -> dict:
    record = {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [1.5, 2.0, 30.0, 40.0],
        "area": 900.5,
        "dp_x": [10.0, 20.0],
        "dp_y": [11.0, 21.0],
        "dp_I": [1.0, 24.0],
        "dp_U": [0.1, 0.2],
        "dp_V": [0.3, 0.4],
    }
    return {k: v for k, v in (record | changes).items() if v is not None}


def content(*people: dict, **image) -> dict:
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 50, "width": 60} for i in (2, 1)]
    images[1] |= image
    categories = [{"id": 1, "name": "person"}]
    return {"images": images, "annotations": list(people), "categories": categories}


def load(*people: dict, image: dict | None = None, **options) -> GroundTruth:
    return GroundTruth(content(*people, **(image or {})), "truth.json", **options)


def test_an_image_holds_its_people_and_their_points():
    without = person(8, **dict.fromkeys(("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")), iscrowd=1)
    truth = load(
        person(7), without, person(9, dp_x=[5.0], dp_y=[6.0], dp_I=[3.0], dp_U=[0], dp_V=[1])
    )
    assert truth.image_ids == (1, 2)
    image = truth.people([1])
    assert image.annotation_ids.tolist() == [7, 8, 9]
    assert image.has_points.tolist() == [True, False, True]
    assert image.crowd.tolist() == [False, True, False]
    assert image.owner.tolist() == [0, 0, 2] and image.num_points.tolist() == [2, 0, 1]
    assert image.part.tolist() == [1, 24, 3] and image.uv[2].tolist() == [0, 1]
    assert image.points_grid.tolist() == [[10, 11], [20, 21], [5, 6]]
    assert image.image_sizes.tolist() == [[50, 60]] and image.areas_px[0] == 900.5
    assert len(truth.people([2])) == 0 and truth.people([2]).boxes_xywh_px.shape == (0, 4)


def test_people_of_several_images_are_packed_in_their_order():
    truth = load(person(7), person(8, image_id=2, dp_I=[2.0, 3.0]), person(9))
    both = truth.people([2, 1])
    assert both.annotation_ids.tolist() == [8, 7, 9] and both.image.tolist() == [0, 1, 1]
    assert both.owner.tolist() == [0, 0, 1, 1, 2, 2] and both.part.tolist()[:2] == [2, 3]
    assert both.image_ids == (2, 1) and len(truth.people([])) == 0


def test_people_can_be_left_out_with_their_points():
    kept = load(person(7), person(8), person(9)).people([1]).keep(np.array([True, False, True]))
    assert kept.annotation_ids.tolist() == [7, 9]
    assert kept.owner.tolist() == [0, 0, 1, 1] and len(kept.records) == 2


def test_repeated_ids_count_as_in_pycocotools_or_as_they_are(caplog):
    records = [person(7, image_id=1, area=1.0), person(7, image_id=2, area=2.0)]
    with caplog.at_level(logging.WARNING):
        repeated = load(*records)
    assert "1 annotations repeat the id of another" in caplog.text
    assert [len(repeated.people([i])) for i in (1, 2)] == [0, 2]
    assert repeated.people([2]).areas_px.tolist() == [2.0, 2.0]
    as_is = load(*records, repeat_duplicate_ids=False)
    assert [as_is.people([i]).areas_px.tolist() for i in (1, 2)] == [[1.0], [2.0]]


def test_only_the_chosen_category_and_images_count():
    made = content(person(1), person(2, category_id=5), person(3, image_id=2))
    made["categories"].append({"id": 5, "name": "chimpanzee"})
    assert GroundTruth(made, "x").people([1]).annotation_ids.tolist() == [1]
    chimps = GroundTruth(made, "x", category_id=5, image_ids=[1])
    assert chimps.people([1]).annotation_ids.tolist() == [2] and chimps.image_ids == (1,)
    made["categories"][0]["name"] = "bear"
    both = GroundTruth(made, "x", category_id=(5, 1))
    assert (both.category_id, both.category_ids) == (5, (5, 1))
    assert [len(both.records(image_id)) for image_id in (1, 2)] == [2, 1]
    with pytest.raises(InputError, match="x: none of its categories .* is called 'person'"):
        GroundTruth(made, "x")
    with pytest.raises(InputError, match="x: no category 9"):
        GroundTruth(made, "x", category_id=9)
    with pytest.raises(InputError, match="x: no image 77; 1 ids are not in it"):
        GroundTruth(made, "x", category_id=1, image_ids=[1, 77])


def test_a_broken_annotation_is_named():
    """All rules are those of the one reader: data/test_coco.py, structures/test_records.py."""
    message = r"dp_x is nan at \[1\]; Expected float >= 0"
    with pytest.raises(InputError, match=rf"(?s)truth.json: .*annotation 7 of image 1: {message}"):
        load(person(7, dp_x=[1.0, float("nan")]))


def test_regions_to_ignore_are_polygons():
    region = {"ignore_regions_x": [[1, 5, 5]], "ignore_regions_y": [[1, 1, 9]]}
    assert load(image=region).ignore_polygons(1) == ([1, 1, 5, 1, 5, 9],)
    assert load().ignore_polygons(1) == ()
    with pytest.raises(InputError, match=r"image 1: \[3\] values x, \[4\] values y"):
        load(image=region | {"ignore_regions_y": [[1, 1, 1, 1]]})


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="absent.json: the annotation file is missing"):
        GroundTruth.load(tmp_path / "absent.json")
    with pytest.raises(InputError, match="a folder stands there"):
        GroundTruth.load(tmp_path)


def test_a_file_is_the_same_as_what_it_holds(tmp_path):
    made = content(person(7), person(8, image_id=2), person(9), file_name="a.jpg")
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(made))
    one, other = GroundTruth(made, "x"), GroundTruth.load(path)
    assert one.image_ids == other.image_ids
    assert [one.records(i) for i in (1, 2)] == [other.records(i) for i in (1, 2)]
    assert list(one.images) == list(other.images)


def test_predictions_may_count_classes_from_zero():
    truth = load(person(7))
    assert truth.class_numbers([1, 1], "p.json") == {1}
    assert truth.class_numbers([0, 0], "p.pth") == {0}  # as detectron2's evaluator saves them
    made = content(person(1), person(2, category_id=5))
    made["categories"].append({"id": 5, "name": "chimpanzee"})
    several = GroundTruth(made, "truth.json", category_id=5)
    assert several.class_numbers([0, 1], "p") == {1} and several.class_numbers([1, 5], "p") == {5}
    with pytest.raises(InputError, match=r"p: has the category ids \[5, 9\]; expected those"):
        several.class_numbers([5, 9], "p")

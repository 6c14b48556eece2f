from __future__ import annotations

import copy

from densepose.data.coco import load_densepose_coco
from densepose.data.registration import thin_records

POINT_FIELDS = ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")


def points_of(person: dict) -> list[tuple]:
    return list(zip(*(person[k] for k in POINT_FIELDS), strict=True))


def test_points_stay_together_and_the_rest_is_untouched(tiny_coco):
    records = load_densepose_coco(*tiny_coco, "tiny")
    before = copy.deepcopy(records)
    few = thin_records(records, images=3, points=4)
    assert records == before
    assert [r["image_id"] for r in few] == [r["image_id"] for r in records[:3]]
    seen = 0
    for whole, thin in zip(records, few, strict=False):
        for all_of, kept in zip(whole["annotations"], thin["annotations"], strict=True):
            others = all_of.keys() - {*POINT_FIELDS}
            assert {k: kept[k] for k in others} == {k: all_of[k] for k in others}
            if "dp_x" in all_of:
                assert len(points_of(kept)) == 4 < len(points_of(all_of))
                assert set(points_of(kept)) <= set(points_of(all_of))
                seen += 1
    assert seen


def test_the_choice_depends_on_the_person_alone(tiny_coco):
    records = load_densepose_coco(*tiny_coco, "tiny")
    assert thin_records(records, points=4)[:2] == thin_records(records[:2], points=4)
    assert thin_records(thin_records(records, points=9), points=99) == thin_records(
        records, points=9
    )


def test_points_on_vertices_go_with_the_others_also_of_negative_ids():
    person = {"id": -5, "dp_x": list(range(20)), "dp_y": list(range(20)), "dp_vertex": range(20)}
    ((kept,),) = [r["annotations"] for r in thin_records([{"annotations": [person]}], points=6)]
    assert kept["dp_x"] == kept["dp_y"] == kept["dp_vertex"]
    assert len(kept["dp_x"]) == 6


def test_a_record_without_annotations_stays_one():
    assert thin_records([{"image_id": 1}], points=2) == [{"image_id": 1}]

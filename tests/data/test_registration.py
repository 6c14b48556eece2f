from pathlib import Path

import pytest

from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog

from densepose.data import registration
from densepose.data.coco import require_registered
from densepose.data.registration import (
    dataset_status,
    register_builtin,
    register_from_config,
    thin_records,
)
from densepose.errors import InputError

pytestmark = pytest.mark.usefixtures("catalog_as_before")
Tiny = tuple[Path, Path]


def config_with(*entries: dict, **keys: str) -> CfgNode:
    cfg = get_cfg()
    cfg.DATASETS.REGISTER = list(entries)
    for key, value in keys.items():
        cfg.DATASETS[key] = value
    return cfg


def entry(tiny: Tiny, **changes: object) -> dict:
    named = {"NAME": "mine", "ANNOTATIONS": str(tiny[0]), "IMAGES": str(tiny[1])}
    return {**named, "SURFACE": "template", **changes}


def test_built_in_names_point_below_the_root_and_can_be_moved(tmp_path: Path):
    register_builtin("elsewhere")
    register_builtin(tmp_path)
    metadata = MetadataCatalog.get("densepose_coco_2014_minival_100")
    assert metadata.json_file == str(tmp_path / "coco/annotations/densepose_minival2014_100.json")
    assert metadata.image_root == str(tmp_path / "coco/val2014")
    assert (metadata.evaluator_type, metadata.surface) == ("densepose_coco", "smpl_27554")
    assert metadata.thing_classes == ["person"] and len(metadata.keypoint_names) == 17
    assert MetadataCatalog.get("densepose_synthetic_val").surface == "template"
    assert not MetadataCatalog.get("densepose_coco_2014_test").has_truth


def test_every_annotated_set_of_detectron2_is_known_by_its_name(tmp_path: Path):
    register_builtin(tmp_path)
    coco = [f"densepose_coco_2014_{s}" for s in ("train", "minival", "minival_100")]
    coco += ["densepose_coco_2014_valminusminival", "base_coco_2017_train", "base_coco_2017_val"]
    coco += [f"{name}_cse" for name in coco[:4]] + ["base_coco_2017_val_100", "densepose_chimps"]
    animals = [f"densepose_lvis_v1_{ds}_{s}_v1" for ds in ("ds1", "ds2") for s in ("train", "val")]
    animals += ["densepose_lvis_v1_ds1_val_animals_100", "lvis_v05_train", "lvis_v05_val"]
    kinds = ("posetrack2017", "densepose_chimps_cse")
    others = [f"{kind}_{s}" for kind in kinds for s in ("train", "val")]
    require_registered([*coco, *animals, *others])
    # Points on vertices belong to no surface of charts.
    surfaces = {name: MetadataCatalog.get(name).surface for name in (*animals, *others)}
    assert {n for n, s in surfaces.items() if s == "smpl_27554"} == set(others[:2])
    assert {s for n, s in surfaces.items() if n not in others[:2]} == {None}
    posetrack = MetadataCatalog.get("posetrack2017_val")
    assert posetrack.image_root == str(tmp_path / "posetrack2017/posetrack_data_2017")
    assert MetadataCatalog.get(animals[0]).thing_classes[:3] == ["bear", "cow", "cat"]


def test_the_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    register_builtin()
    assert str(tmp_path) in MetadataCatalog.get("densepose_synthetic_train").json_file
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/sets")
    register_builtin()
    assert MetadataCatalog.get("densepose_chimps").image_root.startswith(f"{tmp_path}/sets/")


def test_a_set_from_the_config_is_loaded_by_its_name(tiny_coco: Tiny):
    cfg = config_with(entry(tiny_coco), CfgNode(entry(tiny_coco, NAME="other")))
    assert register_from_config(cfg) == register_from_config(cfg) == ["mine", "other"]
    assert len(DatasetCatalog.get("mine")) == 6
    assert MetadataCatalog.get("mine").surface == "template"


def test_paths_are_expanded(tiny_coco: Tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TINY", str(tiny_coco[0].parent))
    paths = {"ANNOTATIONS": "$TINY/annotations.json", "IMAGES": "${TINY}/images"}
    register_from_config(config_with(entry(tiny_coco, **paths)))
    assert len(DatasetCatalog.get("mine")) == 6


def test_relative_paths_start_here_or_at_the_folder_of_all_sets(
    tiny_coco: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tiny_coco[0].parent))
    paths = {"ANNOTATIONS": "annotations.json", "IMAGES": "images"}
    register_from_config(config_with(entry(tiny_coco, **paths)))
    assert MetadataCatalog.get("mine").json_file == str(tiny_coco[0])
    (tmp_path / "annotations.json").touch()
    register_from_config(config_with(entry(tiny_coco, NAME="near", **paths)))
    assert MetadataCatalog.get("near").json_file == str(tmp_path / "annotations.json")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"IMAGE": "x"}, "unknown field `IMAGE`; its keys are NAME, ANNOTATIONS, IMAGES"),
        ({"SURFACE": "smpl"}, "SURFACE must be one of"),
        ({"IMAGES": ""}, "length >= 1 - at `$.IMAGES`"),
        ({"CLASSES": "person"}, "`str` - at `$.CLASSES`"),
        ({"ON_BAD": "ignore"}, "'ignore' - at `$.ON_BAD`"),
        ({"KEEP_POINTS": 0}, ">= 1 - at `$.KEEP_POINTS`"),
        ({"KEEP_IMAGES": "all"}, "got `str` - at `$.KEEP_IMAGES`"),
        ({"NAME": "densepose_synthetic_val"}, "is taken by a built-in data set"),
        ({"NAME": "coco_2017_val"}, "already registered by other code"),
    ],
)
def test_a_wrong_entry_is_named(change: dict, told: str, tiny_coco: Tiny):
    with pytest.raises(InputError) as raised:
        register_from_config(config_with(entry(tiny_coco, **change)))
    assert told in str(raised.value)


def test_fewer_images_and_points_can_be_read(tiny_coco: Tiny):
    few = entry(tiny_coco, NAME="few", KEEP_IMAGES=2, KEEP_POINTS=3)
    register_from_config(config_with(entry(tiny_coco, NAME="whole"), few))
    all_records, records = DatasetCatalog.get("whole"), DatasetCatalog.get("few")
    assert records == thin_records(all_records, 2, 3)
    assert len(records) == 2 < len(all_records)
    assert {len(p["dp_x"]) for r in records for p in r["annotations"] if "dp_x" in p} == {3}


def test_scores_on_a_thinned_set_are_refused(tiny_coco: Tiny):
    cfg = config_with(entry(tiny_coco, NAME="few", KEEP_POINTS=3))
    cfg.DATASETS.TEST = ("few",)
    with pytest.raises(InputError, match="'few' has KEEP_IMAGES or KEEP_POINTS"):
        register_from_config(cfg)


def test_how_bad_records_are_met_comes_from_the_config(tiny_coco: Tiny, tmp_path: Path):
    broken = tmp_path / "broken.json"
    broken.write_text(tiny_coco[0].read_text().replace('"category_id": 1', '"category_id": 2', 1))
    given = entry(tiny_coco, ANNOTATIONS=str(broken))
    register_from_config(config_with(given))
    assert len(DatasetCatalog.get("mine")) == 6
    register_from_config(config_with(given, ON_BAD_RECORD="error"))
    with pytest.raises(InputError, match="category-known"):
        DatasetCatalog.get("mine")


def test_a_misspelt_name_is_answered_with_the_nearest(tmp_path: Path):
    register_builtin(tmp_path)
    require_registered(["densepose_coco_2014_train"])
    with pytest.raises(InputError, match="did you mean 'densepose_coco_2014_minival'"):
        require_registered(["densepose_coco_2014_minval"])


def test_status_says_what_is_missing_and_how_to_get_it(tiny_coco: Tiny, tmp_path: Path):
    register_builtin(tmp_path)
    register_from_config(config_with(entry(tiny_coco)))
    (tmp_path / "coco/train2014").mkdir(parents=True)
    status = {s.name: s for s in dataset_status()}
    assert {info.name for info in registration.BUILTIN} | {"mine"} <= set(status)
    assert not status["mine"].missing and not status["mine"].command
    train = status["densepose_coco_2014_train"]
    assert train.missing == "annotations"
    assert train.command.startswith(f"curl -L --create-dirs -o {train.json_path} https://")
    assert "val2014.zip" in status["densepose_coco_2014_minival"].command
    synthetic = status["densepose_synthetic_val"]
    assert (
        synthetic.missing == "annotations and images" and "densepose make-data" in synthetic.command
    )
    lvis = MetadataCatalog.get("densepose_lvis_v1_ds1_val_v1").images_command
    assert "train2017.zip" in lvis and "val2017.zip" in lvis

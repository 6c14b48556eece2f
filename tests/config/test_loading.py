from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from detectron2.modeling import build_model

from densepose.config import (
    check_config,
    config_names,
    find_config,
    get_densepose_cfg,
    load_config,
    nearest_keys,
)
from densepose.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"
HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
S1X = str(CONFIGS / "densepose_rcnn_R_50_FPN_s1x.yaml")


@pytest.mark.parametrize("name", config_names())
def test_every_config_builds_a_model(name: str):
    words = ["MODEL.DEVICE", "meta", "MODEL.WEIGHTS", "", "MODEL.TIMM.PRETRAINED", ""]
    cfg = load_config(find_config(name), [*words, "BOOTSTRAP_MODEL.WEIGHTS", "teacher.pth"])
    check_config(cfg)
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build_model(cfg).parameters()) > 10**6


def test_defaults_are_those_of_detectron2s_densepose():
    head = get_densepose_cfg().MODEL.ROI_DENSEPOSE_HEAD
    assert (head.HEATMAP_SIZE, head.POOLER_RESOLUTION, head.UP_SCALE) == (112, 28, 2)
    assert (head.INDEX_WEIGHTS, head.PART_WEIGHTS, head.POINT_REGRESSION_WEIGHTS) == (5, 1, 0.01)
    assert head.UV_LOSS_REDUCTION == "sum"
    assert get_densepose_cfg().MODEL.HRNET.STAGE4.NUM_CHANNELS == [32, 64, 128, 256]


def test_legacy_differs_from_s1x_only_in_head_and_learning_rate():
    new, old = load_config(S1X), load_config(S1X.replace("s1x", "s1x_legacy"))
    head = {
        "NUM_COARSE_SEGM_CHANNELS": 15,
        "POOLER_RESOLUTION": 14,
        "HEATMAP_SIZE": 56,
        "INDEX_WEIGHTS": 2.0,
        "PART_WEIGHTS": 0.3,
        "POINT_REGRESSION_WEIGHTS": 0.1,
        "DECODER_ON": False,
    }
    new.MODEL.ROI_DENSEPOSE_HEAD.update(head)
    new.SOLVER.BASE_LR = 0.002
    assert new == old


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_misspelt_key_in_a_base_file_is_answered_with_the_nearest(tmp_path: Path):
    write(tmp_path / "base.yaml", "MODEL:\n  ROI_DENSEPOSE_HEAD:\n    HEATMAP_SZE: 56\n")
    leaf = write(tmp_path / "leaf.yaml", "_BASE_: base.yaml\nSEED: 1\n")
    with pytest.raises(InputError, match=f"base.yaml: {HEAD}.HEATMAP_SZE .* {HEAD}.HEATMAP_SIZE"):
        load_config(leaf)


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("SOLVER.MAX_ITERS", "SOLVER.MAX_ITER"),
        ("MODEL.NUM_PATCHES", f"{HEAD}.NUM_PATCHES"),
        ("model.roi_densepose_head.up_scale", None),
        (f"{HEAD}.UV_CONFIDENCE.ENABLE", f"{HEAD}.UV_CONFIDENCE.ENABLED"),
        ("SOLVER.LOG_PERIOD", "LOG_PERIOD"),
    ],
)
def test_nearest_keys(key: str, wanted: str | None):
    found = nearest_keys(get_densepose_cfg(), key)
    assert found[:1] == ([wanted] if wanted else [])


def test_misspelt_key_on_the_command_line():
    with pytest.raises(InputError, match="SOLVER.BASE_LRR .* mean SOLVER.BASE_LR or"):
        load_config(S1X, ["SOLVER.BASE_LRR", "0.1"])
    with pytest.raises(InputError, match="command line: SEED.DEEPER is not a config key"):
        load_config(None, ["SEED.DEEPER", "1"])


def test_odd_number_of_words_on_the_command_line():
    with pytest.raises(InputError, match="KEY VALUE pairs, got 1 words"):
        load_config(None, ["SOLVER.BASE_LR"])


def test_a_whole_number_will_do_for_a_float(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("SOLVER: {BASE_LR: 1}")
    cfg = load_config(str(tmp_path / "mine.yaml"), ["SOLVER.MAX_MINUTES", "40"])
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_MINUTES) == (1.0, 40.0)
    assert type(cfg.SOLVER.BASE_LR) is type(cfg.SOLVER.MAX_MINUTES) is float
    with pytest.raises(InputError, match="MAX_MINUTES"):
        load_config(None, ["SOLVER.MAX_MINUTES", "True"])


def test_wrong_types_name_their_source(tmp_path: Path):
    path = write(tmp_path / "types.yaml", "SOLVER:\n  MAX_ITER: [1, 2]\n")
    with pytest.raises(InputError, match="types.yaml: .*SOLVER.MAX_ITER"):
        load_config(path)
    with pytest.raises(InputError, match="command line: SOLVER.MAX_ITER='soon' is not of"):
        load_config(None, ["SOLVER.MAX_ITER", "soon"])


def test_missing_files_are_named(tmp_path: Path):
    with pytest.raises(InputError, match="nowhere.yaml"):
        load_config(str(tmp_path / "nowhere.yaml"))
    leaf = write(tmp_path / "leaf.yaml", "_BASE_: lost.yaml\n")
    with pytest.raises(InputError, match="leaf.yaml: _BASE_: .*lost.yaml"):
        load_config(leaf)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping of config keys, got NoneType"),
        ("SEED: [1", "not readable as plain YAML"),
        ("SEED: !!python/object/apply:os.getcwd []", "not readable as plain YAML"),
    ],
)
def test_files_that_are_not_plain_yaml_mappings(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=message):
        load_config(write(tmp_path / "odd.yaml", text))


def test_free_keys_are_accepted(tmp_path: Path):
    text = 'DATASETS:\n  CATEGORY_MAPS:\n    "some_set":\n      "16": 1\n'
    cfg = load_config(write(tmp_path / "free.yaml", text))
    assert cfg.DATASETS.CATEGORY_MAPS.some_set == {"16": 1}


def test_data_sets_by_path(tmp_path: Path):
    text = "DATASETS:\n  REGISTER:\n    - {NAME: mine, ANNOTATIONS: a.json, IMAGES: images}\n"
    (entry,) = load_config(write(tmp_path / "data.yaml", text)).DATASETS.REGISTER
    assert entry == {"NAME": "mine", "ANNOTATIONS": "a.json", "IMAGES": "images"}


def test_a_misspelt_config_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean cpu/densepose_rcnn.yaml"):
        find_config("cpu/densepose_rccn")


def test_every_config_but_the_bases_begins_with_its_command():
    for path in CONFIGS.rglob("*.yaml"):
        first = path.read_text().splitlines()[0]
        command = f"# run: tools/train_net.py --config-file configs/{path.relative_to(CONFIGS)}"
        assert (first == command) != path.name.startswith("Base-"), path


def test_the_readme_names_configs_that_exist():
    names = re.findall(r"`([\w/]+_s1x(?:_legacy)?|cpu/\w+)`", (CONFIGS / "README.md").read_text())
    assert len(names) > 20
    for name in names:
        if not name.startswith("_"):
            find_config(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TEST:\n", "TEST=None is a section; give its keys below it"),
        ("SOLVER:\n  MAX_ITER:\n", "SOLVER.MAX_ITER=None is no value; the default is 40000"),
        ("DATASETS:\n  TEST:\n", "DATASETS.TEST=None is no value"),
        ("DATASETS:\n  TRAIN: people\n", "DATASETS.TRAIN='people' must be a list"),
        ("DATASETS:\n  TRAIN: [1]\n", "DATASETS.TRAIN=.* holds 1, which is not of the type str"),
        ("SOLVER:\n  BASE_LR: .nan\n", "SOLVER.BASE_LR=nan is not a finite number"),
        ("SOLVER:\n  STEPS: [.inf]\n", "SOLVER.STEPS=.* holds inf, which is not of the type int"),
        ("SOLVER:\n  MAX_ITER: true\n", "SOLVER.MAX_ITER=True is not of the type int"),
        ("SOLVER:\n  MAX_ITER: 99999999999\n", "MAX_ITER=99999999999 is out of range"),
        ("INPUT:\n  MIN_SIZE_TRAIN: [[64]]\n", r"holds \[64\], which is not of the type int"),
        ("_BASE_: odd.yaml\n", "odd.yaml is its own base"),
        ("_BASE_:\n", "_BASE_ must be a file or a list of files, got None"),
        ("_BASE_: [3]\n", r"_BASE_ must be a file or a list of files, got \[3\]"),
    ],
)
def test_values_that_a_key_cannot_have(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=f"odd.yaml: .*{message}|odd.yaml is its own base"):
        load_config(write(tmp_path / "odd.yaml", text))


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "base.yaml").write_text("DATASETS: {REGISTER: [{NAME: a, IMAGES: ~/images}]}")
    (tmp_path / "mine.yaml").write_text("_BASE_: ~/base.yaml\nMODEL: {WEIGHTS: ~/w.pth}")
    cfg = load_config(find_config("~/mine.yaml"), ["OUTPUT_DIR", "~/out"])
    assert (cfg.OUTPUT_DIR, cfg.MODEL.WEIGHTS) == (f"{tmp_path}/out", f"{tmp_path}/w.pth")
    assert cfg.DATASETS.REGISTER == [{"NAME": "a", "IMAGES": f"{tmp_path}/images"}]

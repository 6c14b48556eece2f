"""``densepose predict`` from the command line, with a tiny model of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from densepose.cli.__main__ import main
from densepose.config import check_config, find_config, load_config
from densepose.data.mapper import DensePoseMapper
from densepose.engine.predictor import load_predictor
from densepose.evaluation.predictions import read_prediction
from densepose.modeling.inference import instances_to_prediction
from densepose.prediction.photos import read_photo
from densepose.vis.iuv_image import prediction_to_iuv, read_iuv_png

QUICK = str(Path(__file__).parents[1] / "configs" / "synthetic_cpu.yaml")
# Plain operators: compiling the faster ones takes longer than these photos.
SMALL = ("INPUT.MIN_SIZE_TEST", "64", "MODEL.DEVICE", "cpu", "MODEL.CPU_OPS", "off")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "b.png")
    Image.fromarray(pixels[:, :32]).convert("L").save(folder / "a.jpg")
    return folder


def predict(random_weights: Path, *words: object) -> int:
    given = ["--config-file", QUICK, "--weights", random_weights, *words, *SMALL]
    return main(["predict", *map(str, given)])


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "photos.jsonl").read_text().splitlines()]


def test_pictures_predictions_and_a_page_of_every_photo(random_weights, photos, tmp_path, capsys):
    out = tmp_path / "out"
    words = (photos, "--output", out, "--min-score", 0.0, "--save", "page,iuv,npz")
    assert predict(random_weights, *words) == 0
    assert f"{out / 'index.html'}: " in capsys.readouterr().out.splitlines()[-1]
    assert [Path(entry["file"]).name for entry in log(out)] == ["a.jpg", "b.png"]
    for entry, size in zip(log(out), [(48, 32), (48, 64)], strict=True):
        prediction = read_prediction(out / "predictions" / f"{entry['name']}.npz")
        assert prediction.image_size == size == (entry["height"], entry["width"])
        assert len(prediction) == entry["people"] > 0
        iuv = read_iuv_png(out / "iuv" / f"{entry['name']}.png")
        np.testing.assert_array_equal(iuv, prediction_to_iuv(prediction))
        assert read_photo(out / entry["pictures"][0]).shape[1] > 4 * size[1]
    page = (out / "index.html").read_text()
    assert page.count("<figure") == 2 and "a.jpg" in page and "b.png" in page


def test_a_photo_goes_the_way_of_an_evaluation(random_weights, photos):
    opts = [
        *SMALL,
        "MODEL.WEIGHTS",
        str(random_weights),
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
        "0.0",
    ]
    cfg = load_config(find_config(QUICK), opts)
    check_config(cfg)
    predictor = load_predictor(cfg, min_score=0.0)
    record = {"file_name": str(photos / "b.png"), "image_id": 3, "height": 48, "width": 64}
    with torch.no_grad():
        evaluated = predictor.model([DensePoseMapper(cfg, is_train=False)(record)])
    want = instances_to_prediction(evaluated[0]["instances"], 3)
    got = predictor(read_photo(record["file_name"]), 3)
    assert len(got) == len(want) > 0
    np.testing.assert_array_equal(got.boxes_xyxy_px, want.boxes_xyxy_px)
    for name in ("labels", "uv"):
        for ours, theirs in zip(getattr(got, name), getattr(want, name), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_broken_photo_is_named_and_the_rest_goes_on(random_weights, photos, tmp_path, capsys):
    (photos / "aa.jpg").write_bytes(b"no picture")
    assert predict(random_weights, photos, "--output", tmp_path / "out") == 3
    printed = capsys.readouterr().out
    assert "not readable: 1" in printed and "aa.jpg: not a picture" in printed
    assert [entry["name"] for entry in log(tmp_path / "out") if "error" not in entry] == ["a", "b"]
    assert "aa.jpg" in (tmp_path / "out" / "index.html").read_text()
    # Mended, it is the only one that is predicted again.
    (photos / "b.png").rename(photos / "aa.jpg")
    assert predict(random_weights, photos, "--output", tmp_path / "out") == 0
    assert "1 were finished before" in capsys.readouterr().out


def test_two_processes_write_what_one_writes(random_weights, photos, tmp_path):
    words = (photos, "--save", "npz", "--min-score", 0.0, "--output")
    for count in (1, 2):
        assert predict(random_weights, *words, tmp_path / str(count), "--processes", count) == 0
    one, two = ([{**e, "seconds": 0} for e in log(tmp_path / name)] for name in "12")
    assert len(one) == 2 and sorted(map(str, one)) == sorted(map(str, two))
    for name in ("a", "b"):
        a, b = (read_prediction(tmp_path / n / "predictions" / f"{name}.npz") for n in "12")
        np.testing.assert_allclose(a.boxes_xyxy_px, b.boxes_xyxy_px, atol=1e-3)


@pytest.mark.parametrize("compiled", [False, True])
def test_few_photos_do_not_wait_for_a_compiler(
    random_weights, photos, tmp_path, monkeypatch, compiled
):
    monkeypatch.setattr("densepose.ops.tile_threads.compiled_before", lambda: compiled)
    seen = []
    monkeypatch.setattr("densepose.engine.model.accelerate", lambda *_, **__: seen.append(1))
    words = ("--config-file", QUICK, "--weights", str(random_weights), *SMALL[:4])
    assert main(["predict", str(photos), "--output", str(tmp_path / "out"), *words]) == 0
    assert len(seen) == compiled
    # The operators give the same values, so that the folder is resumed with either.
    monkeypatch.setattr("densepose.ops.tile_threads.compiled_before", lambda: not compiled)
    assert main(["predict", str(photos), "--output", str(tmp_path / "out"), *words]) == 0


def test_the_largest_people_above_one_score(random_weights, photos, tmp_path):
    def boxes(name: str, *words: object) -> tuple[np.ndarray, np.ndarray]:
        out = tmp_path / name
        assert (
            predict(random_weights, photos / "b.png", "--out", out, "--save-predictions", *words)
            == 0
        )
        found = read_prediction(out / "predictions" / "b.npz")
        return found.boxes_xyxy_px, found.scores

    everybody, scores = boxes("all", "--min-score", 0)
    largest, _ = boxes("two", "--min-score", 0, "--largest", 2)
    area = (everybody[:, 2:] - everybody[:, :2]).prod(axis=1)
    assert len(everybody) > 2
    np.testing.assert_allclose(
        np.sort((largest[:, 2:] - largest[:, :2]).prod(axis=1)), np.sort(area)[-2:], rtol=1e-5
    )
    middle = float(np.median(scores))
    kept, _ = boxes("best", "--min-score", middle)
    assert 0 < len(kept) < len(everybody)
    np.testing.assert_allclose(kept, everybody[: len(kept)], rtol=1e-5)


def test_a_video_becomes_a_video(random_weights, tmp_path, capsys):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(5):
            pixels = np.full((48, 64, 3), 40 * shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    out = tmp_path / "out"
    assert predict(random_weights, path, "--output", out, "--save", "page,npz,iuv,video") == 0
    with av.open(str(out / "videos" / "clip.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
        assert container.streams.video[0].average_rate == 2
    (entry,) = log(out)
    assert entry["frames"] == 5 and (entry["height"], entry["width"]) == (48, 64)
    assert [Path(p).stem for p in entry["pictures"]] == ["000000", "000002", "000004"]
    assert len(list((out / "predictions" / "clip").glob("*.npz"))) == 5
    assert len(list((out / "iuv" / "clip").glob("*.png"))) == 5
    path.write_bytes(path.read_bytes()[:400])
    assert predict(random_weights, path, "--output", tmp_path / "cut") == 3
    assert not list((tmp_path / "cut").rglob("*.mp4*"))
    assert "clip.mp4: no video in this file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give --weights FILE, or the"),
        (("--weights", "some.pth"), "some.pth: no such file of weights"),
        (("--config-file", QUICK, "--weights", "none.pth"), "none.pth: no such file of weights"),
        (("--config-file", QUICK, *SMALL), "no weights: give --weights"),
        (("--config-file", "cpu/teacher.yaml", "--weights", "w.pth"), "needs the boxes of people"),
        (("nobody.jpg",), "nobody.jpg: no such photo"),
    ],
)
def test_what_is_missing_is_said(photos, tmp_path, capsys, words, message, monkeypatch):
    monkeypatch.setattr("densepose.model_zoo.files.SHIPPED_FOLDER", tmp_path / "none")
    assert main(["predict", str(photos), "--output", str(tmp_path / "out"), *words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

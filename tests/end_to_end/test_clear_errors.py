"""What a run answers to the mistakes that users make."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from densepose.cli.__main__ import run_verb
from tests.support.tiny_dataset import write_tiny_densepose_coco
from tests.support.training import QUICK, options


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    return write_tiny_densepose_coco(tmp_path / "data", num_images=5)


class Answer:
    """Runs a verb and keeps what it prints to the error stream, on one line."""

    def __init__(
        self, data: tuple[Path, Path], output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.data, self.output, self.capsys = data, output, capsys

    def __call__(self, *flags: str, status: int = 1, **changes: object) -> str:
        named = {key.replace("__", "."): value for key, value in changes.items()}
        words = [*flags, *options(self.data, self.output, **named)]
        assert run_verb("train", ["--config-file", QUICK, *words]) == status
        text = self.capsys.readouterr().err
        assert "Traceback" not in text
        return " ".join(text.split())


@pytest.fixture
def answer(data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Answer:
    return Answer(data, tmp_path / "out", capsys)


def test_a_truncated_image_is_found_before_the_run_or_named_in_it(
    answer: Answer, data: tuple[Path, Path]
):
    images = sorted(data[1].iterdir())
    good = images[0].read_bytes()
    images[0].write_bytes(good[:300])
    assert f"image {images[0]} cannot be read" in answer()
    images[0].write_bytes(good)
    for image in images[3:]:  # later ones are met while training
        image.write_bytes(image.read_bytes()[:300])
    text = answer(SOLVER__MAX_ITER=20)
    assert "cannot be decoded" in text
    assert any(f"{image}: image {int(image.stem)} " in text for image in images[3:])


class Evil:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path("ran-code"),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>not found</html>", "this is a web page or an error message"),
        (pickle.dumps({"model": {"w": Evil()}}, protocol=2), "could run code"),
    ],
)
def test_a_file_that_is_no_checkpoint(
    answer: Answer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    message: str,
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    assert message in answer("--eval-only", MODEL__WEIGHTS=path)
    assert not (tmp_path / "ran-code").exists()


def test_evaluation_without_weights(answer: Answer):
    assert "--eval-only needs weights: MODEL.WEIGHTS is empty" in answer("--eval-only")


def test_a_contradiction_between_keys(answer: Answer):
    text = answer(MODEL__ROI_DENSEPOSE_HEAD__HEATMAP_SIZE=100)
    assert "HEATMAP_SIZE=100, MODEL.ROI_DENSEPOSE_HEAD.POOLER_RESOLUTION=7" in text

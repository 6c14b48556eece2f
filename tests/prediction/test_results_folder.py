"""The folder of results: names, what is finished, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from densepose.errors import InputError
from densepose.prediction.results_folder import LOG, ResultsFolder

SETTINGS = {"weights": "a.pth", "min_score": 0.5}


def photo(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_ids_and_names_stay_and_names_are_never_shared(tmp_path: Path):
    paths = [photo(tmp_path, name) for name in ("1/a.jpg", "2/A.png", "2/b.jpg")]
    results = ResultsFolder(tmp_path / "out", SETTINGS)
    entries = [results.start(path) for path in paths]
    assert [(e["id"], e["name"]) for e in entries] == [(1, "a"), (2, "A_2"), (3, "b")]
    results.finish(entries[1])
    again = ResultsFolder(tmp_path / "out", SETTINGS)
    assert again.start(paths[1]) == entries[1]
    assert [again.is_finished(path) for path in paths] == [False, True, False]
    assert [again.start(paths[0])[key] for key in ("id", "name")] == [1, "a"]


def test_a_changed_photo_and_a_failed_one_are_not_finished(tmp_path: Path):
    path, bad = photo(tmp_path, "a.jpg"), photo(tmp_path, "bad.jpg")
    results = ResultsFolder(tmp_path / "out", SETTINGS)
    results.finish(results.start(path))
    results.finish({**results.start(bad), "error": "bad.jpg: cannot be read"})
    path.write_bytes(b"longer")
    again = ResultsFolder(tmp_path / "out", SETTINGS)
    assert not again.is_finished(path) and not again.is_finished(bad)


def test_the_last_line_of_a_file_counts_and_a_cut_one_does_not(tmp_path: Path):
    path = photo(tmp_path, "a.jpg")
    results = ResultsFolder(tmp_path / "out", SETTINGS)
    results.finish({**results.start(path), "error": "first"})
    results.finish({**results.start(path), "people": 2})
    with (tmp_path / "out" / LOG).open("a") as log:
        log.write('{"id": 2, "fi')
    assert [entry.get("people") for entry in results.entries()] == [2]
    # What is written next does not stick to the piece of a line.
    other = ResultsFolder(tmp_path / "out", SETTINGS)
    other.finish(other.start(photo(tmp_path, "b.jpg")))
    assert [Path(entry["file"]).name for entry in other.entries()] == ["a.jpg", "b.jpg"]


def test_other_settings_are_refused_with_the_difference(tmp_path: Path):
    results = ResultsFolder(tmp_path / "out", SETTINGS)
    other = {**SETTINGS, "min_score": 0.3}
    ResultsFolder(tmp_path / "out", other)  # nothing was finished: nothing to mix with
    results.finish(results.start(photo(tmp_path, "a.jpg")))
    with pytest.raises(InputError, match=r"min_score 0\.3 then, 0\.5 now"):
        ResultsFolder(tmp_path / "out", SETTINGS)
    photo(tmp_path / "out", "pictures/a.jpg")
    emptied = ResultsFolder(tmp_path / "out", SETTINGS, overwrite=True)
    assert list(emptied.entries()) == [] and not (tmp_path / "out" / "pictures").exists()


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path):
    photo(tmp_path, "out/thesis.doc")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"thesis\.doc"):
            ResultsFolder(tmp_path / "out", SETTINGS, overwrite=overwrite)
    assert (tmp_path / "out" / "thesis.doc").is_file()

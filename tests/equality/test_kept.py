"""What is kept of a comparison, and when it is measured again."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from densepose.equality.kept import KeptResults, sources_digest


def test_a_result_is_measured_once(tmp_path: Path):
    calls = []

    def measure() -> dict[str, tuple[int, int]]:
        calls.append(1)
        return {"a": (1, 2)}

    folder = tmp_path / "kept"
    for _ in range(2):
        assert KeptResults(folder, {"seed": (0,)}).get("model", "HRNet/x", measure) == {"a": [1, 2]}
    assert len(calls) == 1
    assert [path.name for path in folder.iterdir()] == ["model-HRNet__x.json"]
    KeptResults(folder, {"seed": (0,)}).get("views", "HRNet/x", measure)
    KeptResults(folder, {"seed": (1,)}).get("model", "HRNet/x", measure)
    KeptResults(None, {}).get("model", "HRNet/x", measure)
    assert len(calls) == 4
    state = json.loads((folder / "model-HRNet__x.json").read_text())["state"]
    assert state == {"seed": [1]}


def test_nothing_is_kept_of_what_failed(tmp_path: Path):
    def fails() -> None:
        raise FloatingPointError

    kept = KeptResults(tmp_path, {})
    with pytest.raises(FloatingPointError):
        kept.get("model", "x", fails)
    assert list(tmp_path.iterdir()) == []


def test_the_digest_by_hand(tmp_path: Path):
    package = tmp_path / "package"
    (package / "room").mkdir(parents=True)
    (package / "room" / "b.py").write_text("2")
    (package / "a.py").write_text("1")
    (package / "c.yaml").write_text("3")
    wanted = sha256(b"package/a.py1package/room/b.py2").hexdigest()
    assert sources_digest(package) == wanted
    assert sources_digest(package, "*.yaml") == sha256(b"package/c.yaml3").hexdigest()

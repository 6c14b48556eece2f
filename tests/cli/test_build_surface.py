"""``densepose build-surface``: from a mesh to a file, a picture, and clear mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from densepose.cli.__main__ import main
from densepose.data.registration import load_symmetry
from densepose.surface.own.surface_file import read_own_surface
from tests.support.shapes import sphere, write_obj


@pytest.fixture
def ball(tmp_path):
    points = sphere(1).vertices_m * np.array([40, 90, 50], np.float32)
    write_obj(tmp_path / "ball.obj", sphere(1).with_vertices(points))
    return tmp_path


def test_a_mesh_becomes_a_file_and_a_picture(ball, capsys):
    out = ball / "made" / "ball.npz"
    words = ["--out", str(out), "--num-parts", "4", "--scale", "0.01"]
    assert main(["build-surface", str(ball / "ball.obj"), *words]) == 0
    printed = capsys.readouterr().out
    assert f"{out}: 42 vertices, 4 parts, with left and right" in printed
    surface = read_own_surface(out)
    assert np.ptp(surface.atlas.mesh.vertices_m, axis=0).max() == pytest.approx(1.8, rel=0.01)
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.width > 1000
    symmetry = load_symmetry(str(out), ball)
    np.testing.assert_array_equal(symmetry.part, surface.symmetry.part)


def test_labels_and_warnings(ball, capsys):
    height = sphere(1).vertices_m[sphere(1).faces][..., 1].mean(axis=1)
    np.savetxt(ball / "parts.txt", np.where(height > 0, 1, 2), fmt="%d")
    out = ball / "ball.npz"
    words = ["--parts", str(ball / "parts.txt"), "--out", str(out), "--mirror", "none"]
    assert main(["build-surface", str(ball / "ball.obj"), *words, "--no-geodesics"]) == 0
    streams = capsys.readouterr()
    assert "warning" in streams.err and "--scale, 0.01 for centimetres" in streams.err
    assert "2 parts, without left and right" in streams.out
    np.testing.assert_array_equal(read_own_surface(out).atlas.face_part, np.where(height > 0, 1, 2))
    with pytest.raises(ValueError, match="ball.npz: has no left and right"):
        load_symmetry(str(out), ball)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["absent.obj"], "absent.obj: no such file"),
        (["ball.obj", "--parts", "absent.txt"], "absent.txt: no such file of labels"),
        (
            ["ball.obj", "--output", "ball.txt"],
            "--output ball.txt: the file of a surface ends in .npz",
        ),
        (["ball.obj", "--num-parts", "0"], "a surface has 1 to 24 parts, got 0"),
    ],
)
def test_mistakes_are_told(ball, capsys, monkeypatch, words, complaint):
    monkeypatch.chdir(ball)
    assert main(["build-surface", *words]) == 1
    assert complaint in capsys.readouterr().err
    assert not list(ball.glob("*.npz"))

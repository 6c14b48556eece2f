"""Step 2 without a server: sampling, the pre-chosen view, suspicious points, the six views."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest

from densepose.annotate import events as ev
from densepose.annotate.body import load_body
from densepose.annotate.picture import draw_errors
from densepose.annotate.points import expected_normals, sample_points, suspicious
from densepose.annotate.quality import quality_report
from densepose.annotate.regions import canvas_positions, draw_stroke, empty_canvas, region_at
from densepose.annotate.session import Options, open_project
from densepose.annotate.views import VIEW_PX, RegionViews
from densepose.surface.mesh import face_normals
from densepose.synthetic import make_synthetic_dataset
from densepose.vis.iuv_image import read_iuv_png

BOX = (10.0, 20.0, 40.0, 80.0)


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture
def canvas():
    """The upper half of the box is region 3, the lower one region 5."""
    canvas = empty_canvas(BOX)
    for region, top in ((3, 20), (5, 60)):
        corners = [(10, top), (50, top), (50, top + 40), (10, top + 40)]
        draw_stroke(canvas, ev.Stroke(instance=1, region=region, tool="polygon", xy=corners), BOX)
    return canvas


def test_strokes_are_drawn_where_they_are_in_the_image(canvas):
    _, area_px = canvas_positions(canvas, 3, BOX)
    assert area_px == pytest.approx(1600, rel=0.02)
    places = np.array([(30, 21), (30, 59), (30, 61), (30, 99), (9, 30), (30, 101)], float)
    assert region_at(canvas, places, BOX).tolist() == [3, 3, 5, 5, 0, 0]
    dot = ev.Stroke(instance=1, region=0, tool="brush", xy=[(30, 40)], width=10)
    draw_stroke(canvas, dot, BOX)
    assert area_px - canvas_positions(canvas, 3, BOX)[1] == pytest.approx(25 * np.pi, rel=0.05)


def test_points_stay_with_their_answers_and_leave_with_their_region(canvas):
    first = sample_points(canvas, BOX, 14, [], 0, seed=0)
    assert [len([p for p in first if p[1] == region]) for region in (3, 5)] == [14, 14]
    kept = [first[0], first[20]]
    again = sample_points(canvas, BOX, 14, kept, 28, seed=0)
    assert len(again) == 28 and set(kept) <= set(again)
    numbers = {point[0] for point in again}
    assert len(numbers) == 28 and min(numbers - {kept[0][0], kept[1][0]}) == 28
    canvas[canvas == first[0][1]] = 0
    fewer = sample_points(canvas, BOX, 14, kept, 56, seed=0)
    assert first[0] not in fewer and first[20] in fewer and len(fewer) == 14
    assert sample_points(np.zeros_like(canvas), BOX, 14, kept, 0, seed=0) == []


def test_what_is_expected_is_what_was_answered_nearby():
    asked = np.array([(1.0, 0), (99, 0)]), np.array([1, 1])
    answered = np.array([(0.0, 0), (100, 0)]), np.array([1, 1])
    expected = expected_normals(asked, answered, np.array([(0, 0, 1), (1, 0, 0)]), 100)
    assert expected.argmax(axis=1).tolist() == [2, 0]
    assert not expected_normals(asked, (np.zeros((0, 2)), np.zeros(0)), np.zeros((0, 3)), 9).any()


def test_a_point_far_from_its_neighbours_on_the_surface_is_suspicious(body):
    """A grid of image points lies evenly on the belly, but one was put onto the back."""
    u, v = (a.ravel() for a in np.meshgrid(np.linspace(0.3, 0.7, 5), np.linspace(0.3, 0.7, 5)))
    part, uv, points_px = np.full(25, 2), np.stack([u, v], axis=1), 100 * np.stack([u, v], axis=1)
    region = np.full(25, 1)
    assert not suspicious(points_px, region, part, uv, body).any()
    part[7] = 1
    assert np.flatnonzero(suspicious(points_px, region, part, uv, body)).tolist() == [7]
    assert not suspicious(points_px[:1], region[:1], part[:1], uv[:1], body).any()


@pytest.mark.parametrize("region", [1, 2, 14])
def test_a_click_where_a_point_is_shown_finds_that_point(body, region):
    views = RegionViews(body, region)
    members = np.flatnonzero(body.region_of_part[body.atlas.face_part] == region)
    face = np.random.default_rng(region).choice(members, 60)
    part, uv = body.atlas.from_surface(face, np.full((60, 3), 1 / 3))
    shown = views.show(part, uv)
    assert shown.visible.any(axis=0).mean() > 0.95
    assert ((shown.xy[shown.visible] > 0) & (shown.xy[shown.visible] < VIEW_PX)).all()
    points_m = body.atlas.to_points(part, uv)
    for view, k in np.argwhere(shown.visible)[::7]:
        place = views.place(view, *shown.xy[view, k])
        found_m = body.atlas.to_points([place.part], [(place.u, place.v)])[0]
        assert np.linalg.norm(found_m - points_m[k]) < 0.006
        vertex_m = body.atlas.mesh.vertices_m[place.vertex]
        assert np.linalg.norm(vertex_m - found_m) < 0.05
    assert views.place(0, 1, 1) is None


def test_open_ends_of_a_region_cannot_be_clicked(body):
    """From above, one could look through the neck at the inside of the torso."""
    views = RegionViews(body, 1)
    normals = face_normals(body.atlas.mesh.vertices_m, body.atlas.mesh.faces)
    for view, x, y in product(range(6), range(20, VIEW_PX, 40), range(20, VIEW_PX, 40)):
        place = views.place(view, x, y)
        if place is not None:
            face, _ = body.atlas.locate([place.part], [(place.u, place.v)])
            assert normals[face[0]] @ views.direction[view] > -0.05


def test_the_picture_of_errors_has_the_colour_of_a_part_where_the_part_is(body):
    picture = cv2.imdecode(np.frombuffer(draw_errors(body, {2: 9.0}), np.uint8), cv2.IMREAD_COLOR)
    blue, green, red = picture.astype(int).transpose(2, 0, 1)
    yellow = (red > blue + 90) & (green > blue + 90)  # the end of the scale
    front, back = yellow[:, :VIEW_PX].sum(), yellow[:, VIEW_PX : 2 * VIEW_PX].sum()
    assert front > 2000 and back < 0.1 * front


def test_errors_are_measured_against_the_truth_of_rendered_images(tmp_path):
    make_synthetic_dataset(
        tmp_path / "set", seed=1, num_train=1, num_val=0, image_size=128, people=(1, 1)
    )
    photos = tmp_path / "set" / "images" / "train"
    iuv = read_iuv_png(next((tmp_path / "set" / "truth" / "train").glob("*_iuv.png")))
    rows, columns = (index[::50] for index in np.nonzero(iuv[..., 0]))
    options = Options(images=photos, output=tmp_path / "my.json", tests=tmp_path / "set")
    with open_project(options) as project:
        name = next(iter(project.truth))
        project.open_photo(name)
        number = project.add(name, (0, 0, 128, 128), "annotator", "Ann").id
        places = np.stack([columns, rows], axis=1) + 0.5
        points = [(k, 1, x, y) for k, (x, y) in enumerate(places.tolist())]
        project.record(ev.Sampled(instance=number, points=points))
        for k, (part, u, v) in enumerate(iuv[rows, columns].tolist()):
            answer = ev.Answered(instance=number, point=k, part=part, u=u / 255, v=v / 255)
            project.record(answer, "Ann")
        report = quality_report(project)
        assert report.to_dict()["test_cm"][-1]["mean_cm"] == 0
        assert report.to_dict()["test_auc"] == {"auc10": 1.0, "auc30": 1.0}
        # One point put somewhere else has the distance to there.
        part, u, v = iuv[rows[0], columns[0]].tolist()
        other = ev.Answered(instance=number, point=0, part=24, u=0.5, v=0.5)
        project.record(other, "Ben")
        worst = max(quality_report(project).test.cm)
        body = project.body
        expected_m = body.distance_m(
            (np.array([part]), np.array([(u, v)]) / 255), (np.array([24]), np.array([(0.5, 0.5)]))
        )
        assert worst == pytest.approx(100 * expected_m[0], rel=1e-5)
        assert "torso" in report.text() or "head" in report.text()

"""Requests without a browser: who is refused, what an action does, two annotators, wrong photos."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from densepose.annotate.coco import write_annotations
from densepose.annotate.regions import region_at
from densepose.annotate.session import Options, open_project
from densepose.data.coco import check_annotations
from densepose.errors import InputError
from tests.support.annotating import TOKEN, serving

SQUARE = [[20.0, 30.0], [60.0, 30.0], [60.0, 90.0], [20.0, 90.0]]
BOX = [10.0, 20.0, 80.0, 100.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two photos and a file that is none; shared, so read only."""
    photos = tmp_path_factory.mktemp("annotate") / "photos"
    (photos / "day 1").mkdir(parents=True)
    for name in ("a.jpg", "day 1/b.png"):
        Image.fromarray(np.full((150, 120, 3), 128, np.uint8)).save(photos / name)
    (photos / "broken.jpg").write_bytes(b"not a photo")
    (photos.parent / "secret.txt").write_text("secret")
    return photos


@pytest.fixture(scope="module")
def shared(folder):
    """A server for requests that change nothing."""
    with serving(Options(images=folder, output=folder.parent / "shared.json")) as running:
        running.get("photo/0")
        yield running


@pytest.fixture
def opened(folder, tmp_path):
    return Options(images=folder, output=tmp_path / "my.json", points=3)


@pytest.fixture
def client(opened):
    with serving(opened) as running:
        yield running


def add_person(client, *, image=0, region=1, who="Ann"):
    """Number of a person with one region."""
    client.get(f"photo/{image}")
    number = client.do("add", image=image, box=BOX, who=who)["id"]
    client.do("stroke", instance=number, region=region, tool="polygon", xy=SQUARE, who=who)
    return number


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/start", {}),
        ("/wrong-token/start", {}),
        (f"/{TOKEN}x/start", {}),
        (f"/{TOKEN}/start", {"Host": "evil.example"}),
        (f"/{TOKEN}/start", {"Host": "127.0.0.1.evil.example"}),
        (f"/{TOKEN}/start", {"Origin": "http://evil.example"}),
        (f"/{TOKEN}/start", {"Origin": "null"}),
        (f"/{TOKEN}/../secret.txt", {}),
        (f"/{TOKEN}/..%2f..%2fsecret.txt", {}),
        (f"/{TOKEN}/annotate.py", {}),
        (f"/{TOKEN}/photo/../../secret.txt", {}),
        (f"/{TOKEN}/photo/-1", {}),
        (f"/{TOKEN}/photo/3.jpg", {}),
        (f"/{TOKEN}/view/99/0.png", {}),
        (f"/{TOKEN}/view/1/6.png", {}),
        (f"/{TOKEN}/photos?first=x&count=1", {}),
        (f"/{TOKEN}/instance/7?who=Ann", {}),
    ],
)
def test_what_is_not_a_request_of_the_page_is_refused(shared, path, headers):
    status, content = shared.ask(path, **headers)
    assert 400 <= status < 500, (path, status)
    assert b"secret" not in content if isinstance(content, bytes) else True


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        {"event": "nothing", "who": "Ann"},
        {"event": "opened", "who": "Ann", "image": "a.jpg", "width": 1, "height": 1},
        {"event": "answered", "who": "Ann", "instance": 1, "point": 0, "part": 2},
        {"event": "add", "who": "", "image": 0, "box": BOX},
        {"event": "add", "who": "Ann", "image": 9, "box": BOX},
        {"event": "add", "who": "Ann", "image": 0, "box": [0, 0, 1e99, 5]},
        {"event": "add", "who": "Ann", "image": 0, "box": [500, 500, 5, 5]},
        {"event": "undone", "who": "Ann", "instance": 1},
        {"event": "moved", "who": "Ann", "instance": 1, "box": BOX},
        {"event": "add", "who": "Ann", "image": 2, "box": BOX},
        {
            "event": "stroke",
            "who": "Ann",
            "instance": 1,
            "region": 25,
            "tool": "brush",
            "xy": SQUARE,
        },
    ],
)
def test_a_wrong_action_is_answered_with_a_sentence_and_leaves_no_trace(shared, folder, body):
    log = folder.parent / "shared.json.log"
    before = log.read_bytes()
    status, content = shared.ask(f"/{TOKEN}/do", body)
    assert status == 400 and content["problem"]
    assert log.read_bytes() == before


def test_an_action_is_json_and_not_too_large(shared):
    assert shared.ask(f"/{TOKEN}/do", {"event": "undone"}, Content_Type="text/plain")[0] == 415
    assert shared.ask(f"/{TOKEN}/do", b" " * 1_000_001)[0] == 413


def test_pages_come_with_a_policy_and_only_from_this_machine(shared):
    assert shared.ask(f"/{TOKEN}/")[0] == 200
    assert "default-src 'self'" in shared.headers["content-security-policy"]
    assert shared.headers["referrer-policy"] == "no-referrer"
    assert shared.ask(f"/{TOKEN}/annotate.js")[0] == 200


def test_a_file_that_is_no_photo_is_named_and_the_others_go_on(shared):
    status, content = shared.ask(f"/{TOKEN}/photo/1")
    assert status == 400 and "broken.jpg" in content["problem"]
    assert shared.get("photo/2")["name"] == "day 1/b.png"
    assert [row["name"] for row in shared.get("photos?first=0&count=9")] == [
        "a.jpg",
        "broken.jpg",
        "day 1/b.png",
    ]


def test_from_the_box_to_the_file(client, opened):
    number = add_person(client)
    state = client.do("sample", instance=number)
    assert state["regions"] == [1] and len(state["points"]) == 3
    first, second, third = (point["id"] for point in state["points"])
    assert all(20 <= p["x"] <= 60 and 30 <= p["y"] <= 90 for p in state["points"])
    state = client.do("click", instance=number, point=first, view=1, x=200, y=200)
    (placed,) = [p for p in state["points"] if p["id"] == first]
    assert placed["kind"] == "placed" and len(placed["shown"]) == 6
    assert placed["shown"][1] == [200, 200, 1]
    status, content = client.ask(
        f"/{TOKEN}/do",
        {"event": "click", "who": "Ann", "instance": number, "point": second, "view": 1, "x": 1}
        | {"y": 1},
    )
    assert status == 400 and "beside" in content["problem"]
    client.do("answered", instance=number, point=second, kind="hidden")
    client.do("answered", instance=number, point=third, kind="skipped")
    client.do("finished", instance=number, finished=True)
    assert client.get(f"picture/{number}.png").startswith(b"\x89PNG")
    write_annotations(client.pages.project, opened.output)
    report = check_annotations(opened.output, opened.images)
    assert not report.counts, report.summary()
    (person,) = json.loads(opened.output.read_text())["annotations"]
    assert person["bbox"] == BOX and len(person["dp_I"]) == 1
    # The square is 40 x 60 px.
    assert person["area"] == pytest.approx(2400, rel=0.03)
    assert sum(map(bool, person["dp_masks"])) == 1


def test_regions_stay_in_the_image_when_the_box_is_drawn_again(client):
    number = add_person(client)
    state = client.do("moved", instance=number, box=[-5, 25, 90, 500])
    assert state["box"] == [0, 25, 85, 125]  # cut to the 120 x 150 px of the photo
    instance = client.pages.project.instances[number]
    inside = region_at(instance.canvas(), np.array([(21, 31), (59, 89)]), instance.box)
    outside = region_at(instance.canvas(), np.array([(19, 31), (61, 89)]), instance.box)
    assert inside.tolist() == [1, 1] and outside.tolist() == [0, 0]


def test_everybody_undoes_their_own_strokes(client):
    number = add_person(client, who="Ann")
    client.do("stroke", instance=number, region=2, tool="polygon", xy=SQUARE, who="Ben")
    assert client.do("undone", instance=number, who="Ann")["regions"] == [2]
    assert client.do("undone", instance=number, who="Ann")["regions"] == [2]
    assert client.do("undone", instance=number, who="Ben")["regions"] == []


def test_points_stay_as_long_as_the_regions_do_and_numbers_are_not_used_again(client):
    number = add_person(client)
    first = client.do("sample", instance=number, who="Ann")["points"]
    assert client.do("sample", instance=number, who="Ben")["points"] == first
    client.do("stroke", instance=number, region=2, tool="polygon", xy=SQUARE[:3])
    second = client.do("sample", instance=number, who="Ben")["points"]
    assert not {p["id"] for p in first} & {p["id"] for p in second}
    gone = {"event": "click", "who": "Ann", "instance": number, "point": first[0]["id"], "view": 1}
    status, content = client.ask(f"/{TOKEN}/do", {**gone, "x": 200, "y": 200})
    assert status == 400 and "has no point" in content["problem"]


def test_a_small_picture_for_the_list_does_not_open_the_photo(client):
    assert client.get("photo/2.jpg?small").startswith(b"\xff\xd8")
    assert client.pages.project.opened == set()
    client.get("photo/2")
    assert client.pages.project.opened == {"day 1/b.png"}


def test_a_photo_somebody_works_on_is_not_the_next_one_of_another(client):
    add_person(client, who="Ann")
    assert client.get("next?after=0&who=Ann") == {"number": 0}
    assert client.get("next?after=0&who=Ben") == {"number": 1}
    assert client.get("next?after=3&who=Ann") == {"number": 0}


def test_agreement_is_measured_where_annotators_do_not_see_each_other(folder, tmp_path):
    opened = Options(images=folder, output=tmp_path / "my.json", points=1, overlap=1.0)
    names = ("Ann", "Ben", "Eve")
    with serving(opened) as client:
        number = add_person(client)
        (point,) = client.do("sample", instance=number)["points"]
        click = {"instance": number, "point": point["id"], "view": 1}
        client.do("click", **click, x=200, y=200, who="Ann")
        (seen,) = client.get(f"instance/{number}?who=Ben")["points"]
        assert "kind" not in seen
        client.do("click", **click, x=200, y=224.2, who="Ben")
        every = client.get("quality")["agreement_cm"][-1]
        assert not client.get(f"instance/{number}?who=Eve")["finished"]
        client.do("finished", instance=number, finished=True)
        ready = {who: client.get(f"instance/{number}?who={who}")["finished"] for who in names}
        assert ready == {"Ann": True, "Ben": True, "Eve": False}
    assert every["points"] == 1
    # 24.2 px of the torso's views are 5 cm, on a belly that is nearly flat.
    assert every["mean_cm"] == pytest.approx(5, abs=1.5)


def test_a_file_without_its_log_is_not_overwritten(opened):
    opened.output.write_text("{}")
    with pytest.raises(InputError, match="--annotations"), open_project(opened):
        pass
    assert opened.output.read_text() == "{}"


def test_one_program_at_a_time(opened):
    with open_project(opened), pytest.raises(InputError, match="has it open"):
        with open_project(opened):
            pass


def test_a_link_that_leads_outside_is_not_a_photo(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "outside.png")
    inside = tmp_path / "photos"
    inside.mkdir()
    Image.new("RGB", (9, 9)).save(inside / "a.png")
    (inside / "link.png").symlink_to(tmp_path / "outside.png")
    (inside / "inside.png").symlink_to(inside / "a.png")
    with open_project(Options(images=inside, output=tmp_path / "my.json")) as project:
        assert {"link.png", "inside.png"} & set(project.names) == {"inside.png"}

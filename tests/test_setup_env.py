"""The set-up behind make demo and make test, as far as it can be tried without installing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def setup_env():
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "tools" / "setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def never_pip(setup_env, monkeypatch):
    """Everything that would install something fails the test."""

    def refuse(*_):
        raise AssertionError("nothing was to be installed")

    monkeypatch.setattr(setup_env, "pip_install", refuse)


@pytest.fixture
def bare_venv(setup_env, tmp_path, monkeypatch):
    """A folder that looks like an environment of the running Python."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "pyvenv.cfg").touch()
    monkeypatch.setattr(setup_env, "site_packages", lambda venv: tmp_path / "site")
    (tmp_path / "site").mkdir()
    return tmp_path


def test_pythons_without_pinned_wheels_are_refused(setup_env):
    for version in ((3, 10), (3, 11), (3, 12), (3, 13)):
        setup_env.check_python(version)
    for version in ((3, 9), (3, 14)):
        with pytest.raises(setup_env.SetupError, match=rf"Python 3\.{version[1]} is not supported"):
            setup_env.check_python(version)


@pytest.mark.usefixtures("never_pip")
def test_a_folder_that_is_no_environment_is_left_alone(setup_env, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("ten years of work")
    assert setup_env.main(["--venv", str(tmp_path)]) == 2
    assert "is not empty and not a virtual environment" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.usefixtures("never_pip")
def test_too_little_disk_is_told_before_anything_is_made(setup_env, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(setup_env, "DISK_NEEDED_GB", 1e9)
    assert setup_env.main(["--venv", str(tmp_path / "venv")]) == 2
    assert "GB free, the environment needs" in capsys.readouterr().err


@pytest.mark.usefixtures("never_pip")
def test_a_finished_environment_is_not_looked_at_again(setup_env, bare_venv, capsys):
    setup_env.write_stamp(bare_venv, {"digest": setup_env.input_digest(), "bake": True})
    setup_env.set_up(bare_venv, bake=False)
    setup_env.set_up(bare_venv, bake=True)
    assert capsys.readouterr().out == ""


def test_all_steps_are_run_where_nothing_is_installed(setup_env, bare_venv, monkeypatch):
    steps = []
    monkeypatch.setattr(setup_env, "pip_install", lambda _, what, words: steps.append(words))
    monkeypatch.setattr(setup_env, "install_detectron2", lambda _: steps.append(["detectron2"]))
    setup_env.set_up(bare_venv, bake=False)
    assert "torch" in steps[1]
    assert not any("bake.txt" in word for word in steps[2])
    assert str(ROOT) in steps[-1]
    assert len(steps) == 5
    # The stamp lacks the needs of baking, so asking for them goes through the steps again ...
    setup_env.set_up(bare_venv, bake=True)
    assert len(steps) == 10
    assert any("bake.txt" in word for word in steps[7])
    # ... and they stay when a later run does not ask.
    setup_env.set_up(bare_venv, bake=False)
    assert len(steps) == 10


def test_an_interrupted_set_up_leaves_no_stamp(setup_env, bare_venv, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(setup_env, "pip_install", interrupt)
    assert setup_env.main(["--venv", str(bare_venv)]) == 130
    assert setup_env.read_stamp(bare_venv) == {}


def test_a_change_of_a_requirement_changes_the_digest(setup_env, tmp_path, monkeypatch):
    monkeypatch.setattr(setup_env, "ROOT", tmp_path)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "run.txt").write_text("numpy>=1")
    before = setup_env.input_digest()
    assert setup_env.input_digest() == before
    (tmp_path / "requirements" / "run.txt").write_text("numpy>=2")
    assert setup_env.input_digest() != before


def test_a_package_that_was_not_finished_is_installed_again(setup_env, tmp_path, capsys):
    for name, whole in (("sound-1.0", True), ("torn-2.0", False)):
        (tmp_path / f"{name}.dist-info").mkdir()
        if whole:
            (tmp_path / f"{name}.dist-info" / "INSTALLER").write_text("pip")
    (tmp_path / "~rn").mkdir()
    setup_env.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sound-1.0.dist-info"]
    assert "torn-2.0" in capsys.readouterr().out


@pytest.mark.usefixtures("never_pip")
def test_another_detectron2_is_left_alone(setup_env, bare_venv, monkeypatch, capsys):
    monkeypatch.setattr(setup_env, "ask_python", lambda *_: "/opt/detectron2/__init__.py")
    setup_env.install_detectron2(bare_venv)
    assert "left as it is (/opt/detectron2/__init__.py)" in capsys.readouterr().out


def test_only_detectron2_is_taken_out_of_its_wheel(setup_env, bare_venv, monkeypatch):
    def unpack(_, what, words):
        aside = bare_venv / words[words.index("--target") + 1]
        for name in ("detectron2", "tools", "sal_detectron2-0.7.2.dist-info"):
            (aside / name).mkdir()
        assert "--require-hashes" in words

    monkeypatch.setattr(setup_env, "ask_python", lambda *_: "")
    monkeypatch.setattr(setup_env, "pip_install", unpack)
    setup_env.install_detectron2(bare_venv)
    taken = sorted(path.name for path in (bare_venv / "site").iterdir())
    assert taken == ["detectron2", "sal_detectron2-0.7.2.dist-info"]
    assert not list(bare_venv.glob(".unpack-*"))


def test_errors_of_pip_are_told(setup_env, capsys):
    code = "print('Collecting x'); print('ERROR: No matching distribution found for x'); exit(1)"
    status, reasons = setup_env.run_told_shortly([sys.executable, "-c", code])
    assert (status, reasons) == (1, "ERROR: No matching distribution found for x")
    code = "print('  Downloading torch-2.14.1-cp311-cp311-linux_x86_64.whl (555.0 MB)')"
    assert setup_env.run_told_shortly([sys.executable, "-c", code]) == (0, "")
    assert "downloading torch 2.14.1 (555.0 MB)" in capsys.readouterr().out


def test_make_refuses_what_is_no_supported_python(tmp_path):
    command = ["make", "setup", "PYTHON=no-such-python", f"VENV={tmp_path}/venv"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert "is not Python 3.10, 3.11, 3.12 or 3.13" in result.stderr
    assert not (tmp_path / "venv").exists()

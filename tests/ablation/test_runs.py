from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from densepose.ablation import runs
from densepose.ablation.runs import in_a_process, is_finished, read_record, run_all

from .fake_runs import FakeCommand, content, experiments

ALL = [("plain", 0), ("cascade", 0), ("plain", 1), ("cascade", 1)]


def test_every_row_gets_a_first_result_before_any_gets_a_second(tmp_path: Path):
    made, command, tables = experiments(tmp_path), FakeCommand(), []
    assert (
        run_all(made, made.rows, tmp_path, command=command, after_each=lambda: tables.append(1))
        == []
    )
    assert command.trained == ALL
    assert len(tables) == 4
    assert "--resume" in command.lines[0]


@pytest.mark.parametrize("status", [130, -signal.SIGINT, -signal.SIGTERM])
def test_a_finished_run_is_not_repeated_and_an_interrupted_one_is(tmp_path: Path, status: int):
    made = experiments(tmp_path)
    interrupted = FakeCommand(lambda row, seed: status if (row, seed) == ("cascade", 0) else 0)
    with pytest.raises(KeyboardInterrupt):
        run_all(made, made.rows, tmp_path, command=interrupted)
    assert interrupted.trained == ALL[:2]
    plain, cascade = made.rows
    assert is_finished(tmp_path, plain, 0) and not is_finished(tmp_path, cascade, 0)
    seconds = read_record(tmp_path, cascade, 0)["seconds"]
    again = FakeCommand()
    run_all(made, made.rows, tmp_path, command=again)
    assert again.trained == ALL[1:]
    record = read_record(tmp_path, cascade, 0)
    assert record["attempts"] == 2 and record["seconds"] >= seconds
    last = FakeCommand()
    run_all(made, made.rows, tmp_path, command=last)
    assert last.trained == []


def test_a_failed_run_is_told_and_the_others_go_on(tmp_path: Path):
    made = experiments(tmp_path)
    command = FakeCommand(lambda row, seed: int((row, seed) == ("plain", 1)))
    (line,) = run_all(made, made.rows, tmp_path, command=command)
    assert line.startswith("plain, seed 1: densepose train") and "status 1" in line
    assert command.trained == ALL
    again = FakeCommand()
    assert run_all(made, made.rows, tmp_path, command=again) == []
    assert again.trained == [("plain", 1)]


def test_a_run_without_scores_has_failed(tmp_path: Path):
    made = experiments(tmp_path)
    failed = run_all(made, made.rows[:1], tmp_path, command=lambda words: 0)
    assert len(failed) == 2 and "ended without scores" in failed[0]


def test_a_folder_with_other_settings_is_refused(tmp_path: Path):
    made = experiments(tmp_path)
    run_all(made, made.rows, tmp_path, command=FakeCommand())
    other = experiments(tmp_path, OPTIONS={"DATASETS.TEST": ["tiny"], "SOLVER.BASE_LR": 0.1})
    with pytest.raises(ValueError, match=r"seed0: .*other settings: SOLVER.BASE_LR 0.5, now 0.1"):
        run_all(other, other.rows, tmp_path, command=FakeCommand())
    harmless = experiments(tmp_path, OPTIONS={**content()["OPTIONS"], "LOG_PERIOD": 7})
    run_all(harmless, harmless.rows, tmp_path, command=FakeCommand())


def test_a_damaged_note_is_named(tmp_path: Path):
    made = experiments(tmp_path)
    run_all(made, made.rows[:1], tmp_path, command=FakeCommand())
    note = tmp_path / "plain" / "seed0" / runs.RECORD
    note.write_text("{")
    with pytest.raises(ValueError, match="ablation_run.json: damaged"):
        run_all(made, made.rows[:1], tmp_path, command=FakeCommand())
    note.write_text(json.dumps({"schema": 99}))
    with pytest.raises(ValueError, match="schema 99"):
        run_all(made, made.rows[:1], tmp_path, command=FakeCommand())


def test_steps_before_are_run_once_and_again_only_if_they_failed(tmp_path: Path):
    rows = content()["ROWS"]
    for row in rows:
        row["BEFORE"] = [["make-data", "--out", "{output}/set"]]
    made = experiments(tmp_path, ROWS=rows)
    first = FakeCommand()
    failed = run_all(made, made.rows[:1], tmp_path, command=lambda words: first(words) or 1)
    assert "make-data" in failed[0] and first.trained == []
    command = FakeCommand()
    run_all(made, made.rows, tmp_path, command=command)
    assert command.lines[0] == ["make-data", "--out", f"{tmp_path}/set"]
    assert [words[0] for words in command.lines].count("make-data") == 1


def test_processes_share_the_runs_of_a_folder(tmp_path: Path):
    made = experiments(tmp_path)
    plain, cascade = made.rows
    second = FakeCommand()

    def while_another_is_at_it(row: str, seed: int) -> int:
        if (row, seed) == ("plain", 0):
            assert run_all(made, made.rows, tmp_path, command=second) == []
        return 0

    first = FakeCommand(while_another_is_at_it)
    assert run_all(made, made.rows, tmp_path, command=first) == []
    # The second process takes all that the first is not at; the first finds nothing left.
    assert first.trained == [("plain", 0)] and second.trained == ALL[1:]
    assert all(is_finished(tmp_path, row, seed) for row in (plain, cascade) for seed in (0, 1))


def test_a_step_of_two_processes_is_run_by_one(tmp_path: Path):
    rows = content()["ROWS"]
    rows[0]["BEFORE"] = [["make-data", "--out", "{output}/set"]]
    made = experiments(tmp_path, ROWS=rows)
    command, waiting = FakeCommand(), threading.Event()

    def slow(words: Sequence[str]) -> int:
        if words[0] == "make-data":
            other.start()
            waiting.wait(0.5)
        return command(words)

    other = threading.Thread(target=lambda: run_all(made, made.rows, tmp_path, command=command))
    run_all(made, made.rows[:1], tmp_path, command=slow)
    other.join()
    assert [words[0] for words in command.lines].count("make-data") == 1
    assert sorted(command.trained) == sorted(ALL)


def test_a_command_is_a_process_whose_status_counts(capfd: pytest.CaptureFixture[str]):
    assert in_a_process(["--version"]) == 0
    assert in_a_process(["no-such-verb"]) == 2
    assert "there is no 'no-such-verb'" in capfd.readouterr().err


def test_nothing_more_is_run_after_a_word_to_end(monkeypatch: pytest.MonkeyPatch):
    ours = os.getpid()
    # A command that ends its parent, and makes an ordinary error of the interrupt it gets for it.
    words = f"""
import os, signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(3))
os.kill({ours}, signal.SIGTERM)
time.sleep(60)
"""
    started = subprocess.Popen
    script = [sys.executable, "-c", words]
    monkeypatch.setattr(runs.subprocess, "Popen", lambda line: started(script))
    assert in_a_process(["train"]) == runs.INTERRUPTED
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

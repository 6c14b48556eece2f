"""The log: nothing that was acknowledged is lost, wherever writing stopped."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys

import pytest

from densepose.annotate import events as ev
from densepose.annotate.events import EventLog
from densepose.errors import InputError
from tests.support import ROOT

# Acknowledges every event once it is on the disk.
WRITER = """
import sys
from pathlib import Path
from densepose.annotate.events import EventLog, Stroke
log = EventLog(Path(sys.argv[1]))
start = len(log.events)
for number in range(start, 10 ** 6):
    log.append(Stroke(instance=number, region=1, tool="brush", xy=[(1.0, 2.0)] * 50), "Ann")
    print(number, flush=True)
"""


def test_a_writer_killed_at_random_moments_loses_nothing_that_it_acknowledged(tmp_path):
    path, rng = tmp_path / "my.log", random.Random(0)
    known = 0
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(rng.randrange(1, 60)):
                known = int(process.stdout.readline()) + 1
            os.kill(process.pid, signal.SIGKILL)
            known += sum(1 for line in process.stdout if line.endswith("\n"))
        log = EventLog(path)
        assert [event.instance for event in log.events][:known] == list(range(known))
        assert len(log.events) <= known + 1  # one may be on the disk without an answer
        log.close()


def test_a_last_line_cut_anywhere_is_removed_and_the_others_stay(tmp_path):
    path = tmp_path / "my.log"
    log = EventLog(path)
    for number in (1, 2):
        log.append(ev.Deleted(instance=number), "Ann")
    log.close()
    whole = path.read_bytes()
    end_of_first = whole.index(b"\n") + 1
    for cut in range(end_of_first, len(whole)):
        path.write_bytes(whole[:cut])
        log = EventLog(path)
        assert [event.instance for event in log.events] == [1]
        log.append(ev.Deleted(instance=3))
        log.close()
        log = EventLog(path)
        assert [event.instance for event in log.events] == [1, 3]
        log.close()


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "my.log"
    path.write_bytes(b'{"event":"deleted","instance":1}\n{"event":"del\n{"event":"undone"}\n')
    with pytest.raises(InputError, match=r"my\.log: line 2 is damaged"):
        EventLog(path)


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "my.log"
    log = EventLog(path)
    log.append(ev.Deleted(instance=1), "Ann")
    before = path.read_bytes()

    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full, pytest.raises(OSError, match="No space"):
        full.setattr(os, "fsync", refuse)
        log.append(ev.Deleted(instance=2), "Ann")
    assert path.read_bytes() == before
    log.append(ev.Deleted(instance=3), "Ann")
    log.close()
    log = EventLog(path)
    assert [event.instance for event in log.events] == [1, 3]
    log.close()


def test_an_event_says_who_and_when(tmp_path):
    log = EventLog(tmp_path / "my.log")
    event = log.append(ev.Undone(instance=1), "Ann")
    log.close()
    assert event.who == "Ann" and event.time.endswith("+00:00")

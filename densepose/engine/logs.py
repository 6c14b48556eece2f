"""Where messages go: the terminal of the main process, and a file beside the results; bars.

Messages of one run all pass through the loggers ``densepose``, ``detectron2`` and ``fvcore``. The
terminal is written through one console, so that a progress bar and messages do not tear each other
apart.
"""

from __future__ import annotations

import builtins
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

logger = logging.getLogger(__name__)

LOGGERS = ("densepose", "detectron2", "fvcore")
SHOWN = ("densepose", "detectron2.utils.events")  # the latter is about the progress of training
FILE_ONLY = {"file_only": True}  # logger.info(..., extra=FILE_ONLY): not for the terminal
FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

console = Console(highlight=False)
error_console = Console(highlight=False, stderr=True)

# Known to be harmless: said by libraries about one another. Message start and category.
THIRD_PARTY_WARNINGS = (
    ("`torch.jit.script` is deprecated", "FutureWarning"),
    ("torch.meshgrid", "UserWarning"),
    ("pkg_resources is deprecated", "UserWarning"),
)


def quiet_libraries() -> None:
    """Keep harmless warnings of libraries off the screen, here and in processes started from here.

    To be called before the libraries are imported.
    """
    rules = [f"ignore:{message}:{category}" for message, category in THIRD_PARTY_WARNINGS]
    given = [rule for rule in os.environ.get("PYTHONWARNINGS", "").split(",") if rule]
    os.environ["PYTHONWARNINGS"] = ",".join(dict.fromkeys([*rules, *given]))
    for message, category in THIRD_PARTY_WARNINGS:
        warnings.filterwarnings("ignore", re.escape(message), getattr(builtins, category))
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)


_installed: list[logging.Handler] = []  # by ``setup_logging``
_hidden: list[str] = []  # loggers that the terminal does not show at the moment


class TerminalHandler(logging.Handler):
    """Prints messages above a running progress bar.

    Not ``extra=FILE_ONLY``, and of most loggers of detectron2 warnings alone.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        warns = record.levelno >= logging.WARNING
        shown = record.name.startswith(SHOWN) and not record.name.startswith(tuple(_hidden))
        if getattr(record, "file_only", False) or not (warns or shown):
            return
        try:
            text = f"{record.levelname}: {record.getMessage()}" if warns else record.getMessage()
            style = {logging.WARNING: "yellow"}.get(record.levelno, "red") if warns else None
            console.print(text, style=style, markup=False, soft_wrap=True)
        except Exception:
            self.handleError(record)


class LogFile(logging.FileHandler):
    """A log file whose disk may become full: then one line says so, not a traceback a message."""

    _refused = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Report that a message could not be written, once."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
        elif not self._refused:
            self._refused = True
            reason = sys.exc_info()[1].strerror
            error_console.print(f"{self.baseFilename}: cannot be written ({reason})", markup=False)


def _report_thread(error: threading.ExceptHookArgs) -> None:
    """One line where a thread that writes, as TensorBoard's, is refused by the disk."""
    if isinstance(error.exc_value, OSError) and error.exc_value.strerror:
        error_console.print(f"A file cannot be written: {error.exc_value.strerror}", markup=False)
    else:
        threading.__excepthook__(error)


@contextmanager
def terminal_without(*loggers: str) -> Iterator[None]:
    """Within the block, the terminal shows warnings of these loggers only."""
    _hidden.extend(loggers)
    try:
        yield
    finally:
        del _hidden[-len(loggers) :]


def setup_logging(log_file: Path | None, *, rank: int = 0) -> None:
    """Send messages to the terminal and append them to ``log_file``; replaces an earlier call.

    Args:
        log_file: file to append to; other processes than 0 add ``.rank<n>``. None writes no file.
        rank: number of this process; all but 0 keep the terminal quiet except for errors.
    """
    remove_handlers()
    threading.excepthook = _report_thread
    _installed.append(TerminalHandler(logging.INFO if rank == 0 else logging.ERROR))
    if log_file is not None:
        path = log_file if rank == 0 else log_file.with_name(f"{log_file.name}.rank{rank}")
        path.parent.mkdir(parents=True, exist_ok=True)
        file = LogFile(path, encoding="utf-8", delay=True)
        file.setFormatter(logging.Formatter(FILE_FORMAT))
        _installed.append(file)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        for handler in _installed:
            logger.addHandler(handler)


def remove_handlers() -> None:
    """Undo ``setup_logging``; other people's handlers stay."""
    while _installed:
        handler = _installed.pop()
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)
        handler.close()

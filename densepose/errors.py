"""A user's mistakes and faults of the program: what a command shows of an exception.

Every part of the package may import this module. It needs no other one.
"""

from __future__ import annotations

import errno

# Exit statuses of the commands.
DONE, MISTAKE, USAGE, SOME_FAILED, FAULT, INTERRUPTED = 0, 1, 2, 3, 70, 130
FAULT_NOTICE = (
    "this is a fault of the program, not of your input. Please report it with the lines above, the"
    " command and what `densepose doctor` prints"
)
# A write to a full disk fails without the name of its file.
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class InputError(ValueError):
    """A mistake in what a user gave: a file, a config key, an option, a record.

    The message names it, says what was expected, what came and how to correct it. Commands print
    the message alone.
    """


def mistake_text(error: BaseException) -> str | None:
    """The message that a command prints in place of a traceback; None for a fault of the program.

    Mistakes are ``InputError``, what the operating system refuses about a named file or for lack of
    space, too little memory, and the end of a worker process, which is mostly a lack of memory. All
    other exceptions are faults of the program.
    """
    if isinstance(error, InputError):
        # The worker of a data loader sends its whole traceback as the message.
        return str(error).rsplit(f"{InputError.__name__}: ", 1)[-1].strip()
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return error.strerror
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # PyTorch's
        return f"{str(error).partition('. ')[0] or 'out of memory'}; use smaller batches or images"
    lost_worker = str(error).startswith("DataLoader worker") and not any(
        crash in str(error)
        for crash in ("Segmentation fault", "Aborted")  # faults of the program
    )
    if lost_worker or type(error).__name__ == "BrokenProcessPool":
        return (
            f"a worker process was ended from outside ({str(error).splitlines()[0]}); memory may"
            " have run out: use fewer workers"
        )
    return None

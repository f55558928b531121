"""Out of memory: the process ends at once, as a killed one does, and who supervises it starts a new one.

It could not promise to answer, to finish or to say why any more, and everything it does may be cut off anywhere.
"""

import os
import sys
import threading

_WORDS = b"out of memory\n"


def end_if_exhausted(error: BaseException | None = None) -> None:
    """For those who handle every `error`, by default the one that is being handled."""
    if isinstance(error or sys.exc_info()[1], MemoryError):
        os.write(2, _WORDS)
        os._exit(1)


def end_with_any_thread() -> None:
    """From now on a thread that dies of an exception takes the process along: none lives on half dead."""
    tell = threading.excepthook

    def end(told: threading.ExceptHookArgs) -> None:
        end_if_exhausted(told.exc_value)
        tell(told)
        os._exit(1)

    threading.excepthook = end

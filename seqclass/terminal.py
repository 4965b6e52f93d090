"""What a person at the terminal reads: sentences, tables, and errors as one red line with the remedy.

Into a file or a pipe the same text goes uncoloured, and no line is broken.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.text import Text

from seqclass.errors import SeqclassError

BAD_INPUT = 2

_UNBROKEN = 10_000


def say(sentence: str) -> None:
    """Prints a sentence to standard error, where it does not mix with results."""
    _console(stderr=True).print(Text(sentence), soft_wrap=True)


def note(sentence: str) -> None:
    """Prints one of several sentences on what was noticed by the way, as `say` does."""
    say(f"- {sentence}")


def show(result: RenderableType) -> None:
    """Prints a result, such as a table, to standard output."""
    _console().print(result)


def take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, and whether it was there."""
    return [argument for argument in arguments if argument != "--debug"], "--debug" in arguments


@contextmanager
def plain_errors(debug: bool) -> Iterator[None]:
    """Within the block an error about the user's input or disk becomes one red line and exit code 2.

    Args:
        debug: Let it through as it is, with its traceback.
    """
    try:
        yield
    except (SeqclassError, OSError) as error:
        if debug:
            raise
        told = _of_system(error) if isinstance(error, OSError) else error
        _console(stderr=True).print(Text(f"error: {told}", style="red"), soft_wrap=True)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        if debug:
            raise
        say("interrupted")
        sys.exit(130)


def _of_system(error: OSError) -> SeqclassError:
    """What the operating system refused, in the form of the errors of this library."""
    return SeqclassError(
        f"the system refused ({error.strerror or error})",
        remedy="Check the path, its permissions and the room on the disk",
        file=error.filename,
    )


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNBROKEN
    return console

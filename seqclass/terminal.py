"""What a person at the terminal reads: sentences, and errors as one red line with the remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from seqclass.errors import SeqclassError

BAD_INPUT = 2


def say(sentence: str) -> None:
    """Prints a sentence to standard error, where it does not mix with results."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(sentence, markup=False)


def take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, and whether it was there."""
    return [argument for argument in arguments if argument != "--debug"], "--debug" in arguments


@contextmanager
def plain_errors(debug: bool) -> Iterator[None]:
    """Within the block an error about the user's input becomes one red line and exit code 2.

    Args:
        debug: Let it through as it is, with its traceback.
    """
    try:
        yield
    except SeqclassError as error:
        if debug:
            raise
        Console(stderr=True, soft_wrap=True).print(Text(f"error: {error}", style="red"))
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        if debug:
            raise
        say("interrupted")
        sys.exit(130)

"""What the commands' parsers have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Command = Callable[[argparse.Namespace], None]


def add_command(
    commands: Any, name: str, summary: str, command: Command | None = None, add_help: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        add_help=add_help,
        allow_abbrev=False,
    )
    parser.set_defaults(command=command, parser=parser)
    return parser


def add_several(parser: argparse.ArgumentParser, option: str, summary: str) -> None:
    parser.add_argument(option, action="extend", nargs="+", default=[], help=summary)


def add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace output of the same kind that exists")


def add_length_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--length-policy",
        default="error",
        help="what becomes of sequences of another length than a fixed-length model takes: error refuses them, centre "
        "takes the middle (shorter ones get N around), tile scores every window (default: %(default)s)",
    )


def keywords(options: argparse.Namespace) -> dict[str, Any]:
    """The options of a command as keyword arguments of the function behind it."""
    return {key: value for key, value in vars(options).items() if key not in ("command", "parser", "rest")}

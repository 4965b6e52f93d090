"""`seqclass` and `python` for shell scripts, without the seconds that importing PyTorch and Lightning takes each time.

A server imports them once. Each command is a process forked from it, with the caller's directory, environment and
standard streams, so it does what a fresh process would. Only training is shortened: where a command does not say for
how many epochs or steps, it takes two batches.
"""

from __future__ import annotations

import array
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRAINING = ("fit", "pretrain", "cross-validate", "sweep", "lr-find")

# What stands in the caller's PATH: hands its arguments and streams to the server, and ends as the command does.
_CLIENT = """\
#!{python} -SE
import array, json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
streams = array.array("i", [0, 1, 2])
server.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
server.sendall(asked)
answer = server.recv(4)
sys.exit(int.from_bytes(answer, "big") if answer else 70)
"""


@contextmanager
def warm_commands(folder: Path) -> Iterator[Path]:
    """Within the block, a folder for PATH holds `seqclass` and `python` that start at once."""
    address = str(folder / "server")
    programs = folder / "bin"
    programs.mkdir()
    for name in ("seqclass", "python"):
        program = programs / name
        program.write_text(_CLIENT.format(python=sys.executable, address=address, name=name))
        program.chmod(0o755)
    with subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield programs
        finally:
            server.terminate()


def shorten(words: list[str]) -> list[str]:
    """The arguments of a command, with two batches for training that does not say how long it takes."""
    command = words[0] if words else ""
    said = [word.partition("=")[0] for word in words]
    if command not in TRAINING or {"--print_config", "--help", "--fast"} & set(said):
        return words
    if command == "lr-find":
        return words if "--steps" in said else [*words, "--steps", "20"]
    if command == "sweep" and "--trials" in said:
        words = [*words[: said.index("--trials") + 1], "2", *words[said.index("--trials") + 2 :]]
    limited = "--trainer.max_epochs" in said or "--trainer.max_steps" in said or "--config" in said
    return words if limited else [*words, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"]


def _serve(address: str) -> None:
    import pytorch_lightning  # noqa: F401
    import transformers  # noqa: F401

    import seqclass.cli
    import seqclass.training

    assert seqclass.cli
    assert seqclass.training
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            caller, _ = server.accept()
            if os.fork() == 0:
                _answer(caller)
            caller.close()


def _answer(caller: socket.socket) -> None:
    """Runs one command in this process, tells its exit code, and ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, parts, _, _ = caller.recvmsg(4, socket.CMSG_LEN(3 * array.array("i").itemsize))
    streams = array.array("i")
    streams.frombytes(parts[0][2])
    size = int.from_bytes(head, "big")
    asked = b""
    while len(asked) < size:
        asked += caller.recv(size - len(asked))
    name, words, place, environment = json.loads(asked)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    code = _run(name, words)
    caller.sendall(code.to_bytes(4, "big"))
    os._exit(0)


def _run(name: str, words: list[str]) -> int:
    from seqclass.cli import main

    try:
        if name == "seqclass":
            sys.argv = [name, *words]
            main(shorten(words))
        elif words[0] == "-m":
            sys.argv = ["", *words[2:]]
            runpy.run_module(words[1], run_name="__main__")
        else:
            sys.argv = [words[0], *shorten(words[1:])]
            sys.path[0] = str(Path(words[0]).parent)
            runpy.run_path(words[0], run_name="__main__")
        code: object = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    if code is None:
        return 0
    return code if isinstance(code, int) else 1


if __name__ == "__main__":
    _serve(sys.argv[1])

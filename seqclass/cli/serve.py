"""`seqclass serve`: bundles over HTTP."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from seqclass.cli.parsing import add_command
from seqclass.errors import SeqclassError

_SAGEMAKER = "/opt/ml/model"


def add_serve_command(commands: Any) -> None:
    """Adds `serve`."""
    serve = add_command(commands, "serve", "answer over HTTP, with a page to try it in", _serve)
    serve.add_argument(
        "bundles",
        nargs="*",
        metavar="BUNDLE",
        help="folders of bundles, or ONNX files; the first is asked where a request names none (default: that of a "
        f"SageMaker container, {_SAGEMAKER} or SM_MODEL_DIR)",
    )
    serve.add_argument("--host", help="address to listen at (default: 127.0.0.1; in a SageMaker container 0.0.0.0)")
    serve.add_argument("--port", type=int, default=8080, help="port to listen at, 0 for a free one (default: 8080)")
    serve.add_argument("--api-key-file", metavar="FILE", help="file with the key that clients must bring")
    limits = serve.add_argument_group("limits")
    limits.add_argument("--max-body", type=int, metavar="BYTES", help="of a request (default: 16,777,216)")
    limits.add_argument("--max-sequences", type=int, metavar="N", help="of a request (default: 4,096)")
    limits.add_argument("--max-length", type=int, metavar="RESIDUES", help="of a sequence (default: 100,000)")
    limits.add_argument("--max-queue", type=int, metavar="RESIDUES", help="that wait for a model (default: 8,388,608)")
    limits.add_argument(
        "--batch-residues",
        type=int,
        metavar="RESIDUES",
        help="that are scored at once (default: 32,768 on a CPU, 262,144 on a GPU)",
    )
    limits.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="to receive a request, and again to answer it (default: 60)"
    )
    jobs = serve.add_argument_group("jobs")
    jobs.add_argument(
        "--jobs",
        metavar="FOLDER",
        help="where jobs and their results are kept (default: seqclass/jobs/PORT in XDG_STATE_HOME or ~/.local/state; "
        "in a SageMaker container and with --port 0, a folder that is removed at the end)",
    )
    jobs.add_argument("--keep-jobs", type=float, metavar="DAYS", help="that a job which has ended is kept (default: 7)")
    jobs.add_argument("--max-jobs", type=int, metavar="N", help="that wait (default: 32)")
    jobs.add_argument("--max-upload", type=int, metavar="BYTES", help="of a job's file (default: 1,073,741,824)")


def _serve(options: argparse.Namespace) -> None:
    bundles, host, jobs = options.bundles, options.host or "127.0.0.1", options.jobs
    if not bundles:
        bundles, host = [_in_container()], options.host or "0.0.0.0"
    elif jobs is None and options.port != 0:
        jobs = _state_folder() / "seqclass" / "jobs" / str(options.port)
    from seqclass.serve.limits import Limits
    from seqclass.serve.server import serve

    given = {
        "body": options.max_body,
        "sequences": options.max_sequences,
        "length": options.max_length,
        "queue": options.max_queue,
        "batch": options.batch_residues,
        "timeout": options.timeout,
        "upload": options.max_upload,
        "jobs": options.max_jobs,
        "keep_days": options.keep_jobs,
    }
    limits = Limits(**{name: value for name, value in given.items() if value is not None})
    serve(bundles, host=host, port=options.port, api_key_file=options.api_key_file, limits=limits, jobs_folder=jobs)


def _state_folder() -> Path:
    """Where programs of a user keep what should outlast them (the XDG base directory specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def _in_container() -> Path:
    """The bundle in SageMaker's folder of the model, itself or a folder `bundle` in it."""
    folder = Path(os.environ.get("SM_MODEL_DIR", _SAGEMAKER))
    if not folder.is_dir():
        raise SeqclassError("no BUNDLE is given", remedy=f"Name the folder of one, or put one at {folder}")
    return folder / "bundle" if (folder / "bundle").is_dir() else folder

"""Bundles on the Hugging Face hub, whose folders are laid out as the hub's: load from there, and hand on to there.

An address is "hf://user/name", or "hf://user/name@revision" for a branch, a tag or a commit. What is fetched is kept in
the hub's own cache, and found there when the hub cannot be reached. Which hub, which cache and which token is for the
variables HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE to say, as for every program that uses the hub.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from seqclass.errors import BundleError, MissingPackageError
from seqclass.saved import BUNDLE, CHECKSUMS, PARTS, read_config

_SCHEME = "hf://"
_ADDRESS = re.compile(r"(?:hf://)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def is_address(path: str | Path) -> bool:
    """Whether this names a bundle on the hub, rather than a folder."""
    return str(path).startswith(_SCHEME)


def fetch(address: str) -> Path:
    """The folder of a bundle on the hub, downloaded unless it is here already.

    Args:
        address: "hf://user/name", or "hf://user/name@revision".

    Raises:
        BundleError: It is no address, the hub has no such bundle or cannot be reached, or a download failed.
        MissingPackageError: huggingface_hub is not installed.
    """
    name, revision = _parts(address)
    hub = _import_hub()
    with _telling(address):
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=[*PARTS, CHECKSUMS]))


def push(bundle: str | Path, address: str, *, private: bool = False, message: str = "Write the bundle") -> str:
    """Hands a bundle on to the hub, in one commit; the repository is made if there is none.

    Files of an earlier bundle there that this one lacks are removed; other files stay.

    Args:
        bundle: Its folder.
        address: "user/name", or "hf://user/name"; with "@branch" for another branch than the main one.
        private: Whether a repository that is made is for its owner alone.
        message: Of the commit.

    Returns:
        Where it can be looked at, as a URL.

    Raises:
        BundleError: The folder is no bundle or is damaged, or of version 1; it is no address; the hub cannot be reached
            or refuses.
        MissingPackageError: huggingface_hub is not installed.
    """
    name, revision = _parts(address)
    folder = Path(bundle)
    if read_config(folder, BUNDLE)["version"] < 2:
        raise BundleError(
            "this bundle is of version 1, which has neither a model card nor checksums",
            remedy=f"Write it anew first: seqclass models card {folder}",
            file=folder,
        )
    hub = _import_hub()
    ours = [part for part in (*PARTS, CHECKSUMS) if (folder / part).exists()]
    with _telling(address):
        api = hub.HfApi(library_name="seqclass")
        api.create_repo(name, private=private, exist_ok=True)
        there = set(api.list_repo_files(name, revision=revision))
        changes = [hub.CommitOperationAdd(part, folder / part) for part in ours]
        changes += [hub.CommitOperationDelete(part) for part in PARTS if part in there - set(ours)]
        done = api.create_commit(name, changes, commit_message=message, revision=revision)
    return str(done.commit_url)


def _parts(address: str) -> tuple[str, str | None]:
    """Name and revision."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise BundleError(
            f"'{address}' is no address of a bundle on the Hugging Face hub",
            remedy="Write hf://user/name, or hf://user/name@revision",
        )
    return match[1], match[2]


def _import_hub() -> ModuleType:
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise MissingPackageError("a bundle on the Hugging Face hub", "huggingface_hub", "hub") from None
    return huggingface_hub


@contextmanager
def _telling(address: str) -> Iterator[None]:
    """Within the block, what goes wrong with the hub becomes one error that says what to do."""
    from huggingface_hub import errors

    # The bases of the hub's own error are those of its HTTP client and the system, for what never reached the hub.
    failures: tuple[type[BaseException], ...] = (*errors.HfHubHTTPError.__bases__, errors.EntryNotFoundError)
    try:
        yield
    except errors.RevisionNotFoundError:
        raise _refusal(address, "there is no such revision", "Name a branch, a tag or a commit that exists") from None
    except errors.RepositoryNotFoundError:
        raise _refusal(
            address,
            "the hub has no such model, or not for you",
            "Check the name; for a private one, log in with 'hf auth login' or set HF_TOKEN",
        ) from None
    except errors.HFValidationError as error:
        raise _refusal(address, _first_line(error), "Write user/name, in letters, digits and . - _") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise _refusal(
            address,
            "the hub cannot be reached, and this is not on this machine yet",
            "Check the connection and HF_HUB_OFFLINE, or give the folder of a bundle",
        ) from None
    except errors.HfHubHTTPError as error:
        known = error.response is not None and error.response.status_code in (401, 403)
        remedy = "Log in with 'hf auth login', or set HF_TOKEN to a token that may write there"
        raise _refusal(address, _first_line(error), remedy if known else "Try again later") from None
    except failures as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise _refusal(address, "there is no room for it on the disk", "Make room, or set HF_HOME") from None
        raise _refusal(
            address, f"the hub cannot be reached ({_first_line(error)})", "Check the connection, and try again"
        ) from None


def _refusal(address: str, problem: str, remedy: str) -> BundleError:
    return BundleError(f"{address}: {problem}", remedy=remedy)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")

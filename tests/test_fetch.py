import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from seqclass.cli import main
from seqclass.data import originals
from seqclass.data.download import Patience
from seqclass.data.fetch import CONTENTS, RECORD, fetch
from seqclass.data.originals import ORIGINALS, Original, RemoteFile, get_original
from seqclass.errors import SeqclassError, SourceError, UnknownNameError

DATA = np.random.default_rng(0).integers(0, 256, 1_000_003, dtype=np.uint8).tobytes()
CUT = 400_000
PATIENCE = Patience(stall=10, attempts=3, pause=0.01)


class Server(ThreadingHTTPServer):
    """Serves `data` under any path; `behaviour` names, one a request, what it does wrong, and then all is well."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.etag, self.knows_ranges = DATA, '"one"', True
        self.behaviour: list[str] = []
        self.asked: list[str | None] = []
        self.released = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.bin"

    def handle_error(self, *_):
        """Clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        wrong = server.behaviour.pop(0) if server.behaviour else ""
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        data = server.data
        if wrong.isdecimal():
            self.answer(int(wrong), b"no", {})
            return
        headers = {"ETag": server.etag} if server.etag else {}
        validator = self.headers.get("If-Range", server.etag)
        begin = int(wanted[6:-1]) if wanted and server.knows_ranges else 0
        if wrong == "web page":
            headers["Content-Type"] = "text/html; charset=utf-8"
        if begin and wrong == "other part":
            begin -= 7
        is_part = bool(begin) and (validator == server.etag or wrong == "ignores If-Range")
        if is_part and begin >= len(data):
            self.answer(416, b"", headers | {"Content-Range": f"bytes */{len(data)}"})
            return
        body = data[begin:] if is_part else data
        if is_part:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        length = len(body) + {"announces more": 1000, "announces less": -1000}.get(wrong, 0)
        if wrong in ("stalls", "cuts", "kills"):
            self.answer(206 if is_part else 200, body[: max(0, CUT - (begin if is_part else 0))], headers, length)
            if wrong == "stalls":
                server.released.wait(10)
        elif wrong == "no length":
            self.answer(200, body, headers, None)
        else:
            self.answer(206 if is_part else 200, body[:length], headers, length)
        if wrong:
            self.close_connection = True

    def answer(self, status, body, headers, length=-1):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is None:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def bring(server, tmp_path):
    """Fetches one file from the server; its folder and name are `tmp_path / "out" / "file.bin"`."""

    def bring(checksum="", path="file.bin", unpack=False, patience=PATIENCE):
        files = (RemoteFile(server.url, path, checksum, unpack),)
        return fetch(Original("thing", "a thing", "CC0", "Nobody 2020", files), tmp_path / "out", patience=patience)

    return bring


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def left(folder):
    return sorted(path.name for path in folder.iterdir())


# what comes is what the server has


def test_a_file_is_fetched_recorded_and_not_fetched_again(bring, server, tmp_path):
    notes = bring()
    assert (tmp_path / "out" / "file.bin").read_bytes() == DATA
    assert left(tmp_path / "out") == [RECORD, "file.bin"]
    entry = json.loads((tmp_path / "out" / RECORD).read_text())["file.bin"]
    fetched = entry.pop("fetched")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", fetched)
    assert entry == {
        "data_set": "thing",
        "url": server.url,
        "bytes": len(DATA),
        "sha256": sha256(DATA),
        "licence": "CC0",
        "citation": "Nobody 2020",
    }
    assert notes[0] == "fetched file.bin: 1,000,003 bytes"
    assert notes[1].startswith("no checksum is published for file.bin: the SHA-256 found now is in ")
    assert bring() == ["here already, and not downloaded again: file.bin"]
    assert len(server.asked) == 1
    assert json.loads((tmp_path / "out" / RECORD).read_text())["file.bin"]["fetched"] == fetched


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_listed_checksum_is_compared(bring, tmp_path, algorithm):
    right = f"{algorithm}:{hashlib.new(algorithm, DATA).hexdigest()}"
    assert bring(right) == ["fetched file.bin: 1,000,003 bytes"]
    assert bring(right) == ["here already, and not downloaded again: file.bin"]


@pytest.mark.parametrize(
    ("behaviour", "asked"),
    [
        (["500"], [None, None]),
        (["503", "429"], [None, None, None]),
        (["cuts"], [None, f"bytes={CUT}-"]),
        (["cuts", "503"], [None, f"bytes={CUT}-", f"bytes={CUT}-"]),
        (["announces more"], [None, f"bytes={len(DATA)}-"]),
        (["no length"], [None]),
        (["cuts", "other part"], [None, f"bytes={CUT}-", None]),
    ],
)
def test_what_passes_is_got_over(bring, server, tmp_path, behaviour, asked):
    server.behaviour = behaviour
    bring()
    assert (tmp_path / "out" / "file.bin").read_bytes() == DATA
    assert left(tmp_path / "out") == [RECORD, "file.bin"]
    assert server.asked == asked


def test_a_stalling_server_is_left_and_asked_for_the_rest(bring, server, tmp_path):
    server.behaviour = ["stalls"]
    begin = time.monotonic()
    bring(patience=Patience(stall=0.3, attempts=3, pause=0.01))
    assert (tmp_path / "out" / "file.bin").read_bytes() == DATA
    assert 0.3 <= time.monotonic() - begin < 8
    # What waits in the client's last, unfinished piece is asked for again.
    assert CUT - (1 << 16) <= int(server.asked[1][6:-1]) <= CUT


def test_a_server_that_knows_no_ranges_is_asked_for_all_again(bring, server, tmp_path):
    server.knows_ranges, server.behaviour = False, ["cuts"]
    bring()
    assert (tmp_path / "out" / "file.bin").read_bytes() == DATA
    assert server.asked == [None, f"bytes={CUT}-"]


@pytest.mark.parametrize("behaviour", ["", "ignores If-Range"])
def test_a_file_that_changes_between_attempts_is_not_patched_together(bring, server, tmp_path, behaviour):
    server.behaviour = ["500", "500", "cuts"]
    with pytest.raises(SourceError):
        bring()
    server.data, server.etag, server.behaviour = DATA[::-1], '"two"', [behaviour]
    bring()
    assert (tmp_path / "out" / "file.bin").read_bytes() == DATA[::-1]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_nothing_is_resumed_that_cannot_be_told_apart(bring, server, tmp_path, etag):
    server.etag, server.behaviour = etag, ["cuts"]
    bring()
    assert (tmp_path / "out" / "file.bin").read_bytes() == DATA
    assert server.asked == [None, None]


def test_progress_earns_new_attempts(bring, server, tmp_path, monkeypatch):
    monkeypatch.setattr("seqclass.data.download._WORTHWHILE_BYTES", CUT)
    server.behaviour = ["500", "500", "cuts", "500"]
    bring()
    assert (tmp_path / "out" / "file.bin").read_bytes() == DATA


# what does not come ends in one error, and what has come is kept for the next time


def test_a_download_that_fails_too_often_says_how_much_is_here_and_goes_on_from_there(bring, server, tmp_path):
    server.behaviour = ["cuts", "500", "500"]
    with pytest.raises(SourceError) as error:
        bring()
    assert str(error.value) == (
        f"{tmp_path / 'out' / 'file.bin'}: {server.url} could not be downloaded: the server answered 500 Internal "
        "Server Error, and 3 attempts in a row failed; 400,000 bytes are here. Run it again later: it goes on from "
        "there."
    )
    assert not (tmp_path / "out" / "file.bin").exists()
    assert not (tmp_path / "out" / RECORD).exists()
    bring()
    assert (tmp_path / "out" / "file.bin").read_bytes() == DATA
    assert server.asked[3:] == [f"bytes={CUT}-"]


def test_a_killed_download_is_resumed_by_the_next(bring, server, tmp_path):
    server.behaviour = ["stalls"]
    code = (
        "from seqclass.data.fetch import *; from seqclass.data.download import Patience\n"
        f"file = RemoteFile({server.url!r}, 'file.bin')\n"
        f"fetch(Original('thing', '', '', '', (file,)), {str(tmp_path / 'out')!r}, patience=Patience(stall=60))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    partial = tmp_path / "out" / ".file.bin.partial"
    while process.poll() is None and not (partial.exists() and partial.stat().st_size):
        time.sleep(0.01)
    with pytest.raises(SourceError, match="another process is downloading this"):
        bring()
    process.kill()
    process.wait()
    size = partial.stat().st_size
    assert 0 < size < len(DATA)
    bring()
    assert (tmp_path / "out" / "file.bin").read_bytes() == DATA
    assert server.asked == [None, f"bytes={size}-"]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (["404"], "the server answered 404 Not Found. Look whether its publisher has moved it"),
        (["403"], "the server answered 403 Forbidden"),
        (["web page"], "is a web page, where a file is expected"),
        (["500"] * 3, "the server answered 500 Internal Server Error, and 3 attempts in a row failed; 0 bytes are"),
    ],
)
def test_a_refusal_is_one_error_and_leaves_nothing(bring, server, tmp_path, behaviour, message):
    server.behaviour = behaviour.copy()
    with pytest.raises(SourceError) as error:
        bring()
    assert message in str(error.value)
    assert len(server.asked) == len(behaviour)
    assert left(tmp_path / "out") == []


def test_a_server_that_is_not_there_is_one_error(bring, server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(SourceError, match="the connection broke"):
        bring()


@pytest.mark.parametrize("url", ["nonsense", "gopher://example.org/x", "http://", "http://[x"])
def test_a_wrong_address_is_one_error(tmp_path, url):
    wrong = Original("x", "", "", "", (RemoteFile(url, "x"),))
    with pytest.raises(SourceError, match="could not be downloaded"):
        fetch(wrong, tmp_path / "out", patience=PATIENCE)


def test_a_file_larger_than_the_disk_is_refused_before_it_comes(bring, server, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=999))
    with pytest.raises(SourceError, match="this needs 1,000,003 bytes more, and the disk has 999"):
        bring()
    assert left(tmp_path / "out") == []


# what is wrong is not kept


def test_a_download_with_a_wrong_checksum_is_not_kept(bring, server, tmp_path):
    wrong = "sha256:" + "0" * 64
    with pytest.raises(SourceError) as error:
        bring(wrong)
    assert f"has the checksum {sha256(DATA)}, where {wrong} is listed; it was not kept. Fetch it again" in str(
        error.value
    )
    assert left(tmp_path / "out") == []


def test_a_file_cut_by_a_length_too_small_is_found_by_its_checksum(bring, server, tmp_path):
    server.behaviour = ["announces less"]
    with pytest.raises(SourceError, match="it was not kept"):
        bring(f"sha256:{sha256(DATA)}")
    bring(f"sha256:{sha256(DATA)}")
    assert (tmp_path / "out" / "file.bin").read_bytes() == DATA


def test_a_second_download_has_to_be_what_the_first_was(bring, server, tmp_path):
    bring()
    (tmp_path / "out" / "file.bin").unlink()
    bring()
    (tmp_path / "out" / "file.bin").unlink()
    server.data, server.etag = DATA[:-1], '"two"'
    with pytest.raises(SourceError) as error:
        bring()
    assert f"where sha256:{sha256(DATA)} is recorded in {RECORD} since 20" in str(error.value)
    assert "to accept that, take its entry out of FETCHED.json" in error.value.remedy
    assert left(tmp_path / "out") == [RECORD]


@pytest.mark.parametrize("checksum", ["", f"md5:{hashlib.md5(DATA).hexdigest()}"])
def test_a_file_that_was_changed_is_told_and_left_alone(bring, server, tmp_path, checksum):
    bring(checksum)
    file = tmp_path / "out" / "file.bin"
    file.write_bytes(b"mine")
    with pytest.raises(SourceError, match="this has the checksum"):
        bring(checksum)
    assert file.read_bytes() == b"mine"


def test_a_file_that_someone_put_there_is_taken_and_recorded(bring, server, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file.bin").write_bytes(DATA)
    notes = bring()
    assert notes[0] == "here already, and not downloaded again: file.bin"
    assert server.asked == []
    assert json.loads((tmp_path / "out" / RECORD).read_text())["file.bin"]["sha256"] == sha256(DATA)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"file.bin": {}}', '{"file.bin": {"sha256": 3}}', '{"file.bin": []}'])
def test_a_damaged_record_is_refused(bring, tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / RECORD).write_text(text)
    with pytest.raises(SourceError, match=r"FETCHED\.json: this is not a record of fetched files"):
        bring()


def test_a_file_in_the_place_of_the_folder_is_refused(bring, tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(SourceError, match="this is a file, where a folder is expected"):
        bring()


# archives


def archive(members, mode="w:gz"):
    """A tar archive of {name: bytes}, or of (TarInfo, bytes)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


GOOD = (("bundle/train.mat", DATA), ("./bundle/deep/test.mat", b"test"), ("top.txt", b""))


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_an_archive_is_unpacked_beside_itself_and_once(bring, server, tmp_path):
    server.data = archive([(special("bundle", tarfile.DIRTYPE), b""), *GOOD])
    notes = bring(path="b.v0.9.tar.gz", unpack=True)
    folder = tmp_path / "out" / "b.v0.9"
    assert notes[-1] == f"unpacked to {folder}: 3 files"
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert sorted(files) == [CONTENTS, "bundle/deep/test.mat", "bundle/train.mat", "top.txt"]
    assert all((folder / name).read_bytes() == content for name, content in GOOD)
    before = files["bundle/train.mat"].stat().st_mtime_ns
    assert bring(path="b.v0.9.tar.gz", unpack=True) == ["here already, and not downloaded again: b.v0.9.tar.gz"]
    assert files["bundle/train.mat"].stat().st_mtime_ns == before


def test_the_archive_may_be_removed_once_it_is_unpacked_and_what_is_lost_is_unpacked_again(bring, server, tmp_path):
    server.data = archive(GOOD)
    bring(path="b.tar.gz", unpack=True)
    (tmp_path / "out" / "b.tar.gz").unlink()
    assert bring(path="b.tar.gz", unpack=True) == ["here already, and not downloaded again: b"]
    assert len(server.asked) == 1
    (tmp_path / "out" / "b" / "top.txt").unlink()
    bring(path="b.tar.gz", unpack=True)
    assert len(server.asked) == 2
    assert (tmp_path / "out" / "b" / "top.txt").exists()


@pytest.mark.parametrize(
    "member",
    [
        "../evil",
        "bundle/../../evil",
        "/tmp/evil",
        CONTENTS,
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.LNKTYPE, "bundle/train.mat"),
        special("pipe", tarfile.FIFOTYPE),
        special("device", tarfile.CHRTYPE),
    ],
    ids=lambda member: getattr(member, "name", member),
)
def test_an_archive_that_holds_more_than_plain_files_inside_it_is_not_unpacked(bring, server, tmp_path, member):
    server.data = archive([*GOOD, (member, b"")])
    with pytest.raises(SourceError, match="which is not a plain file inside its folder"):
        bring(path="b.tar.gz", unpack=True)
    assert left(tmp_path) == ["out"]
    assert left(tmp_path / "out") == ["b.tar.gz"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-6] + b"\0" + data[-5:],
        lambda data: b"plain text",
        lambda data: b"",
        lambda data: data[:5000] + bytes(200) + data[5200:],
        lambda data: archive([("a", b"file"), ("a/b", b"file below a file")]),
        lambda data: archive([("a/b", b"file"), ("a", b"file over a folder")]),
    ],
)
def test_a_damaged_archive_is_unpacked_not_at_all(bring, server, tmp_path, damage):
    server.data = damage(archive(GOOD))
    with pytest.raises(SourceError, match="the archive is damaged") as error:
        bring(path="b.tar.gz", unpack=True)
    assert error.value.remedy == "Move it away, and fetch it again"
    assert left(tmp_path / "out") == ["b.tar.gz"]
    (tmp_path / "out" / "b.tar.gz").unlink()
    server.data, server.etag = archive(GOOD), '"two"'
    bring(path="b.tar.gz", unpack=True)
    assert (tmp_path / "out" / "b" / "top.txt").exists()


def test_a_folder_of_other_things_is_not_replaced_by_an_archives(bring, server, tmp_path):
    server.data = archive(GOOD)
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / "out" / "b" / "mine").write_text("x")
    with pytest.raises(SeqclassError, match=r"holds other things than CONTENTS\.json"):
        bring(path="b.tar.gz", unpack=True)
    assert left(tmp_path / "out" / "b") == ["mine"]


# the list, and the command


def test_several_files_of_a_data_set_are_told_in_one_sentence(server, tmp_path):
    files = tuple(RemoteFile(server.url, f"train/data-{number}") for number in range(5))
    shards = Original("shards", "", "", "", files)
    server.data, server.behaviour = b"x" * 10, [""] * 3 + ["404"]
    with pytest.raises(SourceError):
        fetch(shards, tmp_path, patience=PATIENCE)
    notes = fetch(shards, tmp_path, patience=PATIENCE)
    assert notes[0] == "fetched train/data-3, train/data-4: 20 bytes"
    assert notes[1] == "here already, and not downloaded again: train/data-0, train/data-1, train/data-2"
    assert fetch(shards, tmp_path) == ["here already, and not downloaded again: 5 files"]


def test_every_listed_data_set_says_what_it_is_and_where():
    assert len({original.name for original in ORIGINALS}) == len(ORIGINALS)
    for original in ORIGINALS:
        assert all((original.what, original.licence, original.citation, original.files))
        assert len({file.path for file in original.files}) == len(original.files)
        for file in original.files:
            assert re.fullmatch(r"https?://[a-z0-9./_\-]+", file.url, re.IGNORECASE)
            assert not file.path.startswith("/")
            assert ".." not in file.path
            assert re.fullmatch(r"|sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", file.checksum)
            assert file.unpack == file.path.endswith(".tar.gz")


def test_the_pfam_split_is_laid_out_as_its_importer_reads_it():
    paths = [file.path for file in get_original("pfam-random").files]
    assert [sum(path.startswith(f"random_split/{split}/") for path in paths) for split in ("train", "dev", "test")] == [
        80,
        10,
        10,
    ]
    assert "random_split/train/data-00079-of-00080" in paths


def test_a_name_is_found_by_its_beginning_and_a_wrong_one_is_refused():
    assert get_original("sac").name == "saccer3"
    with pytest.raises(UnknownNameError, match="there is no public data set 'hg99'"):
        get_original("hg99")


def test_the_command_shows_the_licence_before_it_downloads(server, tmp_path, monkeypatch, capsys):
    thing = Original("thing", "a thing", "its terms", "Nobody 2020", (RemoteFile(server.url, "file.bin"),))
    monkeypatch.setattr(originals, "ORIGINALS", (thing,))
    monkeypatch.chdir(tmp_path)
    main(["data", "fetch", "thing"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[:4] == [
        "thing: a thing",
        "licence: its terms",
        "to cite: Nobody 2020",
        "- fetched file.bin: 1,000,003 bytes",
    ]
    assert lines[-1] == "wrote data/thing"
    assert (tmp_path / "data" / "thing" / "file.bin").read_bytes() == DATA
    server.behaviour = ["404"]
    with pytest.raises(SystemExit) as stop:
        main(["data", "fetch", "thing", "--out", "elsewhere"])
    assert stop.value.code == 2
    assert "licence: its terms\n" in capsys.readouterr().err


def test_the_command_lists_names_and_terms_and_asks_for_a_name(capsys):
    main(["data", "fetch", "--list"])
    shown = capsys.readouterr().out
    assert all(original.name in shown and original.licence in shown for original in ORIGINALS)
    with pytest.raises(SystemExit):
        main(["data", "fetch"])
    assert "which data set? 'seqclass data fetch --list' shows all" in capsys.readouterr().err


def test_without_pooch_the_extra_is_named(bring, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(SourceError, match=r"needs pooch.*pip install 'seqclass\[fetch\]'"):
        bring()
    assert not (tmp_path / "out").exists()

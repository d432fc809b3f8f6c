"""Downloads are tried against a local server with good, broken and hostile answers."""

import gc
import hashlib
import io
import os
import random
import re
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from xraylib.data import NI_YSZ, dataset_file
from xraylib.errors import DownloadError
from xraylib.files import packaged_data
from xraylib.formats import download
from xraylib.formats.layouts import DATASET_FILE, read_dataset_file

resource = pytest.importorskip("resource")
ROOT = Path(__file__).resolve().parents[2]
ZIP, KEPT_ZIP = "/images.zip", ".partial/SOCPristineTiffs.zip"
FIRST, LABEL = "data/SOCprist0001.tiff", "labels/slice__002.tif"


def numbered(count):
    """Names of `count` images and labels."""
    images = [f"data/SOCprist{i:04d}.tiff" for i in range(1, count + 1)]
    return images + [f"labels/slice__{i:03d}.tif" for i in range(1, count + 1)]


def zipped(members, method=zipfile.ZIP_DEFLATED, **lies):
    """A zip of the members; `lies` go into its central directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        for info in archive.infolist():
            for attribute, value in lies.items():
                setattr(info, attribute, value)
    return buffer.getvalue()


@dataclass
class Answer:
    """A body, perhaps shorter than announced, or stopped half-way until `release`."""

    body: bytes = b""
    status: int = 200
    announced: int | None = None
    release: threading.Event | None = None


@dataclass
class Source:
    """Both sources on 127.0.0.1: answers by path, and requests as they came."""

    url: str
    registry: Path
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    half_way: threading.Event = field(default_factory=threading.Event)

    def serve(self, files):
        """Offer the images in a sub-folder of the zip and the labels as files; register them."""
        self.files = files
        self.answers = {f"/labels/{name}": Answer(content) for name, content in files.items()
                        if name.startswith("labels/")}
        self.zip_of({"SOCPristineTiffs/readme.txt": b"read me"}
                    | {f"SOCPristineTiffs/{Path(n).name}": c for n, c in self.images().items()})
        self.registry.write_text("".join(f"{name} {hashlib.sha256(content).hexdigest()}\n"
                                         for name, content in files.items()))

    def images(self):
        return {name: content for name, content in self.files.items() if name.startswith("data/")}

    def zip_of(self, members, **how):
        self.answers[ZIP] = Answer(zipped(members, **how))

    def asked(self):
        """Requests since the last time, sorted."""
        requests = sorted(self.requests)
        self.requests.clear()
        return requests


@contextmanager
def server(played):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 (the name that http.server wants)
            played.requests.append(self.path)
            answer = played.answers.get(self.path, Answer(status=404))
            self.send_response(answer.status)
            if answer.announced != -1:
                self.send_header("Content-Length", str(answer.announced or len(answer.body)))
            self.end_headers()
            half = len(answer.body) // 2 if answer.release else len(answer.body)
            self.wfile.write(answer.body[:half])
            if answer.release:
                played.half_way.set()
                answer.release.wait(20)

        def log_message(self, format, *args):
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that server_close waits for every answer to end

    listening = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A local source of four images and labels, in the place of the real ones."""
    (tmp_path / "packaged").mkdir()
    played = Source("", tmp_path / "packaged/registry.txt")
    played.serve({name: b"II*\0" + name.encode() * 100 for name in numbered(4)})
    with server(played) as played.url:
        monkeypatch.setattr(download, "IMAGES_URL", played.url + ZIP)
        monkeypatch.setattr(download, "LABELS_URL", played.url + "/labels")
        monkeypatch.setattr(download, "RETRIES", 0)
        monkeypatch.setattr(download, "packaged_data", lambda: tmp_path / "packaged")
        yield played


def tree(folder):
    """Every downloaded file and link below a folder with its content."""
    paths = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()
             and path.name != DATASET_FILE]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def refusal(source, folder):
    """The message of a failed download, which leaves checked files only, and the zip at most."""
    with pytest.raises(DownloadError) as caught:
        download.download_real_data(folder)
    gc.collect()
    left = tree(folder)
    kept_zip = left.pop(KEPT_ZIP, None)
    assert kept_zip is None or kept_zip == source.answers[ZIP].body
    assert left.items() <= source.files.items()
    return str(caught.value)


# -- what should happen ----------------------------------------------------------------------------


def test_every_file_is_checked_and_no_other_is_written(source, tmp_path, capsys):
    folder = download.download_real_data(tmp_path / "got")
    assert folder == tmp_path / "got" and tree(folder) == source.files
    assert sorted(path.name for path in folder.iterdir()) == ["data", DATASET_FILE, "labels"]
    assert all((folder / name).stat().st_mode & 0o044 == 0o044 for name in source.files)
    told = capsys.readouterr().out
    for words in ("De Angelis", "10.5281/zenodo.1040274", "cite", "magn2998", "states no licence",
                  "not to be redistributed", source.url + ZIP, source.url + "/labels"):
        assert words in told
    assert told.splitlines()[-1].endswith(f"data_dir: {folder}")


def test_the_phases_are_named_unless_the_reader_has_named_them(source, tmp_path):
    folder = download.download_real_data(tmp_path / "got")
    assert read_dataset_file(folder) == dataset_file(NI_YSZ, (18.4, 18.4, 18.4))
    (folder / DATASET_FILE).write_text("ignore = [0]")
    download.download_real_data(folder)
    assert (folder / DATASET_FILE).read_text() == "ignore = [0]"


def test_a_second_call_asks_only_for_what_is_missing_or_damaged(source, tmp_path):
    folder = download.download_real_data(tmp_path / "got")
    assert len(source.asked()) == 5  # the zip and four labels
    download.download_real_data(folder)
    assert source.asked() == []
    (folder / LABEL).unlink()
    download.download_real_data(folder)
    assert source.asked() == [f"/labels/{LABEL}"]
    (folder / FIRST).write_bytes(b"damaged")
    download.download_real_data(folder)
    assert source.asked() == [ZIP] and tree(folder) == source.files


def play_zenodo(source, monkeypatch, record):
    """Let pooch find the DOI at the local server, which answers as Zenodo's API does."""
    monkeypatch.undo()
    url = "https://zenodo.org/record/1040274"
    monkeypatch.setattr(pooch.downloaders, "doi_to_url", lambda doi, **_: url)
    monkeypatch.setattr(pooch.downloaders.ZenodoRepository, "base_api_url", source.url + "/api")
    monkeypatch.setattr(download, "LABELS_URL", source.url + "/labels")
    monkeypatch.setattr(download, "RETRIES", 0)
    monkeypatch.setattr(download, "packaged_data", lambda: source.registry.parent)
    source.answers["/api/1040274"] = Answer(record.encode())


def test_the_real_address_is_resolved_as_a_doi(source, tmp_path, monkeypatch):
    record = '{"files": [{"key": "%s", "links": {"self": "%s"}}]}'
    play_zenodo(source, monkeypatch, record % (download.ARCHIVE, source.url + ZIP))
    assert tree(download.download_real_data(tmp_path / "got")) == source.files
    assert ZIP in source.asked()


def test_an_unreadable_answer_about_the_doi_is_refused(source, tmp_path, monkeypatch):
    play_zenodo(source, monkeypatch, '{"message": "too many requests"}')
    assert "'files'" in refusal(source, tmp_path / "got")


def test_the_registry_lists_the_thousand_files():
    lines = [line.split() for line in (packaged_data() / "registry.txt").read_text().splitlines()]
    assert [name for name, _ in lines] == numbered(500)
    assert all(re.fullmatch("[0-9a-f]{64}", known) for _, known in lines)


# -- breaks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ZIP, f"/labels/{LABEL}"])
def test_a_broken_download_is_not_kept_and_asked_for_again(source, tmp_path, path):
    good = source.answers[path]
    source.answers[path] = Answer(good.body[:100], announced=len(good.body))
    assert "run this again: it continues" in refusal(source, tmp_path / "got")
    source.asked()
    source.answers[path] = good
    assert tree(download.download_real_data(tmp_path / "got")) == source.files
    assert path in source.asked()


def test_a_zip_that_is_cut_short_is_downloaded_again(source, tmp_path):
    good = source.answers[ZIP]
    source.answers[ZIP] = Answer(good.body[:-60], announced=-1)
    assert "not a zip file" in refusal(source, tmp_path / "got")
    source.answers[ZIP] = good
    assert tree(download.download_real_data(tmp_path / "got")) == source.files


def test_interrupted_unpacking_uses_the_zip_again(source, tmp_path, monkeypatch):
    replace, moved = os.replace, []

    def interrupted(old, new):
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(new)
        replace(old, new)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", interrupted)
        download.download_real_data(tmp_path / "got")
    assert source.asked() == [ZIP]
    assert len(list((tmp_path / "got/data").iterdir())) == 2
    assert tree(download.download_real_data(tmp_path / "got")) == source.files
    assert ZIP not in source.asked()


def test_a_killed_process_leaves_checked_files_and_is_continued(source, tmp_path):
    source.serve({name: b"II*\0" + name.encode() * 100 for name in numbered(12)})
    stuck = "labels/slice__006.tif"
    good, release = source.answers[f"/labels/{stuck}"], threading.Event()
    source.answers[f"/labels/{stuck}"] = Answer(good.body, release=release)
    folder = tmp_path / "got"
    code = (f"from pathlib import Path; from xraylib.formats import download\n"
            f"download.IMAGES_URL, download.LABELS_URL = {source.url + ZIP!r}, "
            f"{source.url + '/labels'!r}\n"
            f"download.packaged_data = lambda: Path({str(source.registry.parent)!r})\n"
            f"download.download_real_data({str(folder)!r})")
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        arrived = source.half_way.wait(30)
        process.kill()
    release.set()
    assert arrived
    left = {name: content for name, content in tree(folder).items() if not name.startswith(".")}
    assert left.items() <= source.files.items() and len(left) >= 12 + 2 and stuck not in left
    source.answers[f"/labels/{stuck}"] = good
    assert tree(download.download_real_data(folder)) == source.files
    assert source.asked().count(ZIP) == 1, "the images were complete"


def test_the_first_failure_stops_the_rest(source, tmp_path):
    source.serve({name: name.encode() for name in numbered(100)})
    source.answers["/labels/labels/slice__001.tif"] = Answer(status=500)
    assert "500" in refusal(source, tmp_path / "got")
    assert len(source.asked()) < 60


@contextmanager
def largest_file(size):
    """Let no file grow beyond `size` bytes: the system then fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings("ignore:unclosed <socket")  # pooch leaves closing to the collector
@pytest.mark.parametrize(("name", "content", "zip_kept"), [
    (LABEL, bytes(2**18), True),  # downloading a label
    (FIRST, bytes(2**18), True),  # unpacking: the zip itself is small and complete
    (FIRST, random.Random(1).randbytes(2**18), False),  # downloading the zip
])
def test_a_full_disk_is_named(source, tmp_path, name, content, zip_kept):
    source.serve(source.files | {name: content})
    with largest_file(2**17):
        message = refusal(source, tmp_path / "got")
    assert f"Cannot write to {tmp_path / 'got'}" in message and "Make room" in message
    assert not (tmp_path / "got" / name).exists()
    assert (tmp_path / "got" / KEPT_ZIP).exists() == zip_kept
    assert tree(download.download_real_data(tmp_path / "got")) == source.files


def test_a_file_in_place_of_the_folder_is_kept(source, tmp_path):
    (tmp_path / "got").write_text("mine")
    with pytest.raises(DownloadError, match="take another folder"):
        download.download_real_data(tmp_path / "got")
    assert (tmp_path / "got").read_text() == "mine" and source.asked() == []


# -- wrong and hostile answers ---------------------------------------------------------------------


def test_a_wrong_label_is_refused(source, tmp_path):
    source.answers[f"/labels/{LABEL}"] = Answer(b"II*\0 another file")
    message = refusal(source, tmp_path / "got")
    assert Path(LABEL).name in message and "refused and not kept" in message
    assert hashlib.sha256(source.files[LABEL]).hexdigest() in message
    assert not (tmp_path / "got" / LABEL).exists()


@pytest.mark.parametrize("path", [ZIP, f"/labels/{LABEL}"])
def test_a_missing_file_is_named(source, tmp_path, path):
    source.answers[path] = Answer(status=404)
    message = refusal(source, tmp_path / "got")
    assert "404" in message and source.url + path in message and "connection" in message


def test_a_server_that_does_not_answer_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "IMAGES_URL", "http://127.0.0.1:9/images.zip")
    message = refusal(source, tmp_path / "got")
    assert "127.0.0.1" in message and "Check the connection" in message


def refused_zip(source, folder):
    """The message about a zip that must be refused and deleted, its first image not written."""
    message = refusal(source, folder)
    assert "refused and not kept" in message
    assert not (folder / FIRST).exists() and not (folder / KEPT_ZIP).exists()
    return message


def test_a_wrong_image_in_the_zip_is_refused(source, tmp_path):
    source.zip_of(source.images() | {FIRST: b"another"})
    message = refused_zip(source, tmp_path / "got")
    assert FIRST in message and hashlib.sha256(b"another").hexdigest() in message


def test_a_zip_without_one_image_is_refused(source, tmp_path):
    source.zip_of({name: content for name, content in source.images().items() if name != FIRST})
    assert "lacks SOCprist0001.tiff and 0 other images" in refused_zip(source, tmp_path / "got")


@pytest.mark.parametrize("before", ["../../", "{outside}/", "C:\\Windows\\", "..\\..\\", "a/./../"])
def test_paths_in_the_zip_are_ignored(source, tmp_path, before):
    before, files = before.format(outside=tmp_path / "outside"), tree(tmp_path)
    hostile = {before + Path(name).name: content for name, content in source.images().items()}
    source.zip_of({before + "evil.txt": b"evil"} | hostile)
    download.download_real_data(tmp_path / "a/got")
    assert tree(tmp_path) == files | {f"a/got/{name}": c for name, c in source.files.items()}


@pytest.mark.parametrize(("how", "reason"), [
    ({}, "is too large"),
    ({"file_size": 1000}, "Bad CRC-32"),  # a bomb that says it is small
    ({"method": zipfile.ZIP_BZIP2, "file_size": 1000}, "packed unexpectedly"),
    ({"flag_bits": 1, "file_size": 1000}, "encrypted"),
])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(source, tmp_path, how, reason):
    source.zip_of({FIRST: bytes(2**26)}, **how)
    tracemalloc.start()
    message = refused_zip(source, tmp_path / "got")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reason in message and most < 2**24

"""Fetching is tried against a local server that plays both sources, with good, broken and hostile answers."""

import gc
import hashlib
import io
import os
import random
import re
import resource
import stat
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from xraylib import files
from xraylib.slices import fetch

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "real"  # half of the real files, where they are at hand
KINDS = ["fake", "real"] if REAL.is_dir() else ["fake"]
ZIP = "/images.zip"
KEPT_ZIP = ".partial/SOCPristineTiffs.zip"
FIRST = "data/SOCprist0001.tiff"


def numbered(count: int) -> list[str]:
    """Names of `count` images and labels."""
    images = [f"data/SOCprist{i:04d}.tiff" for i in range(1, count + 1)]
    return images + [f"labels/slice__{i:03d}.tif" for i in range(1, count + 1)]


def fake_files(count: int = 4) -> dict[str, bytes]:
    """Small files that begin as TIFFs do, all different."""
    return {name: b"II*\0" + name.encode() * 100 for name in numbered(count)}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, **lies: int) -> bytes:
    """A zip of the members; `lies` are written into the central directory, over the truth about each of them."""
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
    """What the server sends: a body, perhaps shorter than announced, or stopped half-way until `release`."""

    body: bytes = b""
    status: int = 200
    announced: int | None = None
    release: threading.Event | None = None


@dataclass
class Source:
    """Both sources on 127.0.0.1: `answers` by path (a list is used up one by one), `requests` as they came."""

    url: str
    files: dict[str, bytes]
    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    half_way: threading.Event = field(default_factory=threading.Event)

    def serve(self, files: dict[str, bytes]) -> None:
        """Offer `files` as the sources do: images in a sub-folder of the zip, and everything as single files."""
        self.files = files
        inside = {f"SOCPristineTiffs/{Path(n).name}": c for n, c in files.items() if n.startswith("data/")}
        self.answers = {f"/repository/{name}": Answer(content) for name, content in files.items()}
        self.answers[ZIP] = Answer(zipped({"SOCPristineTiffs/readme.txt": b"read me"} | inside))

    def zip_of(self, members: dict[str, bytes], **how: int) -> None:
        """Offer another zip."""
        self.answers[ZIP] = Answer(zipped(members, **how))

    def asked(self) -> list[str]:
        """Requests since the last time, sorted."""
        requests = sorted(self.requests)
        self.requests.clear()
        return requests


@pytest.fixture
def source() -> Iterator[Source]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (the name http.server asks for)
            played.requests.append(self.path)
            answer = played.answers.get(self.path, Answer(status=404))
            if isinstance(answer, list):
                answer = answer.pop(0)
            self.send_response(answer.status)
            if answer.announced != -1:
                self.send_header("Content-Length", str(answer.announced or len(answer.body)))
            self.end_headers()
            half = len(answer.body) // 2 if answer.release else len(answer.body)
            self.wfile.write(answer.body[:half])
            if answer.release:
                played.half_way.set()
                answer.release.wait(20)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that server_close waits for every answer to end

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    played = Source(f"http://127.0.0.1:{server.server_port}", {})
    played.serve(fake_files())
    thread.start()
    yield played
    server.shutdown()
    thread.join()
    server.server_close()


def options(source: Source, folder: Path) -> dict[str, object]:
    """Keyword arguments that lead `fetch` to the local source, with a registry of its files."""
    folder.parent.mkdir(exist_ok=True)
    registry = folder.parent / "registry.txt"
    lines = [f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in source.files.items()]
    registry.write_text("".join(lines))
    return {
        "images_url": source.url + ZIP,
        "repository_url": source.url + "/repository",
        "registry": registry,
        "retries": 0,
    }


def bring(source: Source, folder: Path, **changes: object) -> Path:
    return fetch.fetch(folder, **(options(source, folder) | changes))


def tree(folder: Path) -> dict[str, bytes]:
    """Every file and link below `folder` with its content."""
    paths = [p for p in folder.rglob("*") if p.is_symlink() or p.is_file()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def refusal(source: Source, folder: Path, **changes: object) -> str:
    """The sentence with which `fetch` fails; what it leaves must be whole files only, at most the zip among them."""
    with pytest.raises(fetch.FetchError) as caught:
        bring(source, folder, **changes)
    left = tree(folder)
    whole_zip = left.pop(KEPT_ZIP, None)
    assert whole_zip is None or whole_zip == source.answers[ZIP].body
    assert left.items() <= source.files.items()
    message = str(caught.value)
    assert message.endswith(".") and ". " not in message and "run the same command again" in message
    return message


# ---- what should happen ----


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_arrives_checked_and_nothing_else(
    source: Source, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {}
    if kind == "real":
        known = dict(line.split() for line in (ROOT / "data" / "registry.txt").read_text().splitlines())
        source.serve({name: (REAL / name).read_bytes() for name in numbered(3)})
        changes["registry"] = tmp_path / "real.txt"
        changes["registry"].write_text("".join(f"{name} {known[name]}\n" for name in source.files))
    folder = bring(source, tmp_path / "got", **changes)
    assert folder == tmp_path / "got"
    assert tree(folder) == source.files
    assert sorted(p.name for p in folder.iterdir()) == ["data", "labels"]
    assert all(stat.S_IMODE((folder / name).stat().st_mode) & 0o044 for name in source.files), "others may read"
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].endswith(f"data_dir: {folder}")
    assert f"{len(source.files) // 2}/{len(source.files) // 2}" in printed.err, "an overall count of the labels"


def test_terms_are_said_before_anything_is_fetched(
    source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source.answers[ZIP] = Answer(status=503)
    refusal(source, tmp_path / "got")
    said = capsys.readouterr().out
    for word in ("De Angelis", "10.5281/zenodo.1040274", "cite", "magn2998", "no licence", "not to be redistributed"):
        assert word in said
    assert source.url + ZIP in said and source.url + "/repository" in said


def test_second_call_asks_only_for_what_is_missing_or_damaged(source: Source, tmp_path: Path) -> None:
    folder = bring(source, tmp_path / "got")
    assert len(source.asked()) == 5  # the zip and four labels
    bring(source, folder)
    assert source.asked() == []
    (folder / "labels/slice__002.tif").unlink()
    bring(source, folder)
    assert source.asked() == ["/repository/labels/slice__002.tif"]
    (folder / FIRST).write_bytes(b"damaged")
    bring(source, folder)
    assert source.asked() == [ZIP]
    assert tree(folder) == source.files


def test_images_can_come_from_the_repository(source: Source, tmp_path: Path) -> None:
    folder = bring(source, tmp_path / "got", images_from="repository")
    assert tree(folder) == source.files
    assert source.asked() == sorted(f"/repository/{name}" for name in source.files)
    with pytest.raises(ValueError, match='"zenodo" or "repository"'):
        bring(source, folder, images_from="elsewhere")


def play_zenodo(source: Source, monkeypatch: pytest.MonkeyPatch, record: bytes) -> None:
    """Let pooch find the DOI at the local server, which answers for the record as Zenodo's API does."""
    monkeypatch.setattr(pooch.downloaders, "doi_to_url", lambda doi, **_: f"https://zenodo.org/record/{doi[-7:]}")
    monkeypatch.setattr(pooch.downloaders.ZenodoRepository, "base_api_url", source.url + "/api")
    source.answers["/api/1040274"] = Answer(record)


def test_default_address_is_resolved_as_a_doi(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = '{"files": [{"key": "SOCPristineTiffs.zip", "links": {"self": "%s"}}]}' % (source.url + ZIP)
    play_zenodo(source, monkeypatch, record.encode())
    folder = bring(source, tmp_path / "got", images_url=fetch.IMAGES_URL)
    assert tree(folder) == source.files
    assert {"/api/1040274", ZIP} < set(source.asked())


def test_unreadable_answer_about_the_doi(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play_zenodo(source, monkeypatch, b'{"message": "too many requests"}')
    message = refusal(source, tmp_path / "got", images_url=fetch.IMAGES_URL)
    assert fetch.IMAGES_URL in message and "'files'" in message


def test_registry_lists_the_thousand_files() -> None:
    content = (files.shipped() / "registry.txt").read_text()     # of the repository, or of an installed package
    assert content == (ROOT / "data/registry.txt").read_text()
    lines = [line.split() for line in content.splitlines()]
    assert [name for name, _ in lines] == numbered(500)
    assert all(re.fullmatch("[0-9a-f]{64}", known) for _, known in lines)


def test_registry_is_found_inside_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "xraylib"
    (package / "shipped").mkdir(parents=True)
    monkeypatch.setattr(files, "__file__", str(package / "files.py"))
    assert files.shipped() == package / "shipped"


# ---- breaks ----


@pytest.mark.parametrize("path", [ZIP, "/repository/labels/slice__002.tif"])
def test_broken_off_download_is_not_kept_and_asked_for_again(source: Source, tmp_path: Path, path: str) -> None:
    good = source.answers[path]
    source.answers[path] = Answer(good.body[:100], announced=len(good.body))
    assert source.url + path in refusal(source, tmp_path / "got")
    source.asked()
    source.answers[path] = good
    assert tree(bring(source, tmp_path / "got")) == source.files
    assert path in source.asked()


def test_zip_cut_short_without_announced_length(source: Source, tmp_path: Path) -> None:
    good = source.answers[ZIP]
    source.answers[ZIP] = [Answer(good.body[:-60], announced=-1), good]
    assert "not a zip file" in refusal(source, tmp_path / "got")
    assert tree(bring(source, tmp_path / "got")) == source.files
    assert source.asked().count(ZIP) == 2


def test_failed_download_is_tried_again_by_itself(source: Source, tmp_path: Path) -> None:
    path = "/repository/labels/slice__003.tif"
    source.answers[path] = [Answer(b"II*", announced=999), source.answers[path]]
    assert tree(bring(source, tmp_path / "got", retries=1)) == source.files
    assert source.asked().count(path) == 2


def test_interrupted_unpacking_uses_the_zip_again(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, moved = os.replace, []

    def interrupted(old: Path, new: Path) -> None:
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(new)
        replace(old, new)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", interrupted)
        bring(source, tmp_path / "got")
    assert source.asked() == [ZIP]
    assert len(list((tmp_path / "got/data").iterdir())) == 2
    assert tree(bring(source, tmp_path / "got")) == source.files
    assert ZIP not in source.asked()


def test_killed_process_leaves_whole_files_and_is_continued(source: Source, tmp_path: Path) -> None:
    source.serve(fake_files(12))
    stuck = "labels/slice__006.tif"
    good, release = source.answers[f"/repository/{stuck}"], threading.Event()
    source.answers[f"/repository/{stuck}"] = Answer(good.body, release=release)
    folder = tmp_path / "got"
    keywords = {name: str(value) for name, value in options(source, folder).items() if name != "retries"}
    code = f"from xraylib.slices import fetch; fetch.fetch({str(folder)!r}, **{keywords!r})"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        arrived = source.half_way.wait(20)
        process.kill()
    release.set()
    assert arrived
    left = tree(folder / "data") | tree(folder / "labels")
    assert {Path(n).name: c for n, c in source.files.items()}.items() >= left.items()
    assert len(left) >= 12 + 2 and Path(stuck).name not in left
    here = left | tree(folder / ".partial" / "labels")  # whole ones there were about to be moved: they are used too
    # A mirror's address tells the requests of the second run from late ones of the first.
    source.answers |= {f"/mirror/{name}": Answer(content) for name, content in source.files.items()}
    assert tree(bring(source, folder, repository_url=source.url + "/mirror")) == source.files
    requests = source.asked()
    assert requests.count(ZIP) == 1, "the images were whole"
    missing = [f"/mirror/{name}" for name in source.files if Path(name).name not in here]
    assert [path for path in requests if path.startswith("/mirror")] == missing


def test_first_failure_stops_the_rest(source: Source, tmp_path: Path) -> None:
    source.serve(fake_files(100))
    source.answers["/repository/labels/slice__001.tif"] = Answer(status=500)
    assert "HTTP 500" in refusal(source, tmp_path / "got")
    assert len(source.asked()) < 60


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: the system then fails as on a full disk, in the middle of writing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings("ignore:unclosed <socket")  # pooch leaves closing to the garbage collector here
@pytest.mark.parametrize(
    ("name", "content", "zip_kept"),
    [
        ("labels/slice__002.tif", bytes(2**18), False),  # downloading a label
        (FIRST, bytes(2**18), True),  # unpacking: the zip itself is small, and whole
        (FIRST, random.Random(1).randbytes(2**18), False),  # downloading the zip
    ],
)
def test_full_disk(source: Source, tmp_path: Path, name: str, content: bytes, zip_kept: bool) -> None:
    source.serve(source.files | {name: content})
    with largest_file(2**17):
        message = refusal(source, tmp_path / "got")
    gc.collect()
    assert f"Cannot write to {tmp_path / 'got'}" in message and "make room" in message
    assert not (tmp_path / "got" / name).exists()
    assert (tmp_path / "got" / KEPT_ZIP).exists() == zip_kept
    assert tree(bring(source, tmp_path / "got")) == source.files


def test_folder_that_is_a_file(source: Source, tmp_path: Path) -> None:
    (tmp_path / "got").write_text("mine")
    with pytest.raises(fetch.FetchError, match="take another folder"):
        bring(source, tmp_path / "got")
    assert (tmp_path / "got").read_text() == "mine" and source.asked() == []


# ---- wrong and hostile answers ----


def test_wrong_label_is_refused(source: Source, tmp_path: Path) -> None:
    name = "labels/slice__002.tif"
    source.answers[f"/repository/{name}"] = Answer(b"II*\0 another file")
    message = refusal(source, tmp_path / "got")
    assert name in message and "was refused and not kept" in message
    assert f"expected {hashlib.sha256(source.files[name]).hexdigest()}" in message
    assert f"got {hashlib.sha256(b'II*' + bytes(1) + b' another file').hexdigest()}" in message
    assert not (tmp_path / "got" / name).exists()


@pytest.mark.parametrize("path", [ZIP, "/repository/labels/slice__002.tif"])
def test_missing_at_the_source(source: Source, tmp_path: Path, path: str) -> None:
    source.answers[path] = Answer(status=404)
    message = refusal(source, tmp_path / "got")
    assert "HTTP 404" in message and source.url + path in message and "connection" in message


def test_source_that_does_not_answer(source: Source, tmp_path: Path) -> None:
    message = refusal(source, tmp_path / "got", images_url="http://127.0.0.1:9/images.zip")
    assert "SOCPristineTiffs.zip from http://127.0.0.1:9/images.zip (ConnectionError)" in message


def refused_zip(source: Source, folder: Path) -> str:
    """The sentence for a zip that must be refused, its first image not written and the zip itself deleted."""
    message = refusal(source, folder)
    assert source.url + ZIP in message and "was refused and deleted" in message
    assert not (folder / FIRST).exists() and not (folder / KEPT_ZIP).exists()
    return message


def images(source: Source) -> dict[str, bytes]:
    return {name: content for name, content in source.files.items() if name.startswith("data/")}


def test_wrong_image_in_the_zip(source: Source, tmp_path: Path) -> None:
    known = hashlib.sha256(source.files[FIRST]).hexdigest()
    source.zip_of(images(source) | {FIRST: b"another"})
    message = refused_zip(source, tmp_path / "got")
    assert f"'{FIRST}'" in message and f"expected {known}" in message
    assert f"got {hashlib.sha256(b'another').hexdigest()}" in message


def test_image_lacking_in_the_zip(source: Source, tmp_path: Path) -> None:
    source.zip_of({name: content for name, content in images(source).items() if name != FIRST})
    assert "lacks SOCprist0001.tiff and 0 other images" in refused_zip(source, tmp_path / "got")


@pytest.mark.parametrize("before", ["../../", "{outside}/", "C:\\Windows\\", "C:", "..\\..\\", "deep/er/./../", ""])
def test_paths_in_the_zip_have_no_effect(source: Source, tmp_path: Path, before: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "a" / "got"
    before = before.format(outside=outside)
    outside.mkdir()
    hostile = {before + Path(name).name: content for name, content in images(source).items()}
    source.zip_of({before + "evil.txt": b"evil"} | hostile)
    bring(source, folder)
    assert tree(folder) == source.files
    assert tree(tmp_path) == {f"a/got/{n}": c for n, c in source.files.items()} | {
        "a/registry.txt": (tmp_path / "a/registry.txt").read_bytes()
    }


def link(name: str) -> zipfile.ZipInfo:
    """A zip entry that claims to be a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def test_links_in_the_zip_are_never_made(source: Source, tmp_path: Path) -> None:
    outside = str(tmp_path / "outside").encode()
    (tmp_path / "outside").mkdir()
    source.zip_of({link("data"): outside, link("labels"): outside} | images(source))
    assert tree(bring(source, tmp_path / "got")) == source.files
    source.zip_of({link(FIRST): outside + b"/evil"})
    refused_zip(source, tmp_path / "other")
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert tree(tmp_path / "outside") == {}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({}, f"claims {2**26} bytes"),
        ({"file_size": 1000}, "Bad CRC-32"),  # a bomb that says it is small
        ({"method": zipfile.ZIP_BZIP2, "file_size": 1000}, "compressed in an unexpected way"),
        ({"flag_bits": 1, "file_size": 1000}, "encrypted"),
    ],
)
def test_bomb_is_refused_before_it_unfolds(source: Source, tmp_path: Path, how: dict[str, int], reason: str) -> None:
    source.zip_of({FIRST: bytes(2**26)}, **how)
    tracemalloc.start()
    message = refused_zip(source, tmp_path / "got")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reason in message
    assert most < 2**24

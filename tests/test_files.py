"""Writing is complete or not at all, and only the leftovers of killed writers are removed."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from xraylib import files
from xraylib.errors import DataError

LEFTOVER = f".0123456789abcdef{files.SUFFIX}"
posix = pytest.mark.skipif(files.fcntl is None, reason="needs the locks of POSIX")


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(f"*{files.SUFFIX}"))


def test_home_is_the_environment_variable_then_the_repository(monkeypatch, tmp_path):
    monkeypatch.setenv("XRAYLIB_HOME", "~/somewhere")
    assert files.home() == Path.home() / "somewhere"
    monkeypatch.delenv("XRAYLIB_HOME")
    assert (files.home() / "pyproject.toml").exists()
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site/xraylib/files.py"))
    monkeypatch.chdir(tmp_path)
    assert files.home() == tmp_path


def test_a_path_is_not_empty_and_its_links_are_resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "circle").symlink_to("circle")
    assert files.real_path("~/link/a") == (tmp_path / "there/a").resolve()
    assert files.real_path(tmp_path / "circle").name == "circle"
    with pytest.raises(DataError, match="the name of a file or folder is empty"):
        files.expand_user("")


def test_packaged_data_is_found_in_the_repository_and_in_a_package(tmp_path, monkeypatch):
    assert (files.packaged_data() / "registry.txt").is_file()
    (tmp_path / "site/xraylib/shipped").mkdir(parents=True)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site/xraylib/files.py"))
    assert files.packaged_data() == tmp_path / "site/xraylib/shipped"


def test_every_plugin_is_loaded_once(monkeypatch):
    loaded = []
    monkeypatch.setattr(EntryPoint, "load", lambda self: loaded.append(self.value))
    plugin = EntryPoint("name", "some.plugin", "xraylib.plugins")
    found = {"xraylib.plugins": [plugin]}
    monkeypatch.setattr(files, "entry_points", lambda group: found[group])
    files.load_plugins.cache_clear()
    files.load_plugins(), files.load_plugins()
    files.load_plugins.cache_clear()
    assert loaded == ["some.plugin"]


# -- one writer ------------------------------------------------------------------------------------


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with files.atomic_file(path, "w", encoding="utf-8") as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old" and len(leftovers(tmp_path)) == 1
    assert path.read_text() == "new" and not leftovers(tmp_path)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_leftover(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error), files.atomic_file(tmp_path / "a.txt") as file:
        file.write(b"half")
        raise error
    with pytest.raises(error), files.atomic_folder(tmp_path / "deep/er/folder") as part:
        (part / "half").write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_json_is_readable(tmp_path):
    files.write_json(tmp_path / "a.json", {"a": [1]})
    written = (tmp_path / "a.json").read_bytes()
    assert written == files.json_bytes({"a": [1]}) == b'{\n "a": [\n  1\n ]\n}\n'


def test_the_first_of_two_folders_is_kept(tmp_path):
    with files.atomic_folder(tmp_path / "deep/folder") as part:
        (part / "mine").touch()
        (tmp_path / "deep/folder").mkdir()
        (tmp_path / "deep/folder/theirs").touch()
    assert [path.name for path in (tmp_path / "deep").rglob("*")] == ["folder", "theirs"]


def test_the_first_of_two_exclusive_files_is_kept(tmp_path, monkeypatch):
    files.create_exclusively(tmp_path / "a", b"first")
    files.create_exclusively(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first" and not leftovers(tmp_path)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    files.create_exclusively(tmp_path / "b", b"first")
    assert (tmp_path / "b").read_bytes() == b"first" and not leftovers(tmp_path)


def test_text_is_utf_8_and_may_hold_names_that_are_not(tmp_path):
    with files.atomic_file(tmp_path / "a", "w") as file:
        file.write("±\udcff")
    assert (tmp_path / "a").read_bytes() == "±\\udcff".encode()


FULL = OSError(errno.ENOSPC, "No space left on device")  # as a write says it: without a name


@pytest.mark.parametrize("error", [FULL, OSError("4096 requested and 100 written")])
def test_an_error_of_the_system_names_the_file_of_the_reader(tmp_path, error):
    """Defect: a full disk was reported without a name, or with that of a temporary file."""
    path = tmp_path / "a"
    with pytest.raises(OSError, match="No space left") as raised, files.atomic_file(path):
        raise error
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))


def test_an_error_in_a_temporary_folder_names_the_folder_of_the_reader(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, files.atomic_folder(tmp_path / "new") as part:
        (part / "missing/b").touch()
    assert raised.value.filename == str(tmp_path / "new/missing/b")
    with pytest.raises(ValueError, match="^not of the system$"), files.atomic_file(tmp_path / "a"):
        raise ValueError("not of the system")
    with pytest.raises(FileNotFoundError) as raised, files.atomic_file(tmp_path / "a"):
        (tmp_path / "another").read_bytes()
    assert str(raised.value.filename) == str(tmp_path / "another")


@posix
def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="It is not a file") as raised:
        files.read_regular(tmp_path / "pipe")
    assert raised.value.filename == str(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"all")
    (tmp_path / "link").symlink_to("file")
    assert files.read_regular(tmp_path / "link") == b"all"


def test_a_temporary_name_depends_on_neither_process_nor_machine(tmp_path):
    """Defect: what another node of a cluster left behind stayed for ever."""
    names = []
    for _ in range(2):
        with files.atomic_file(tmp_path / "a"):
            names += [path.name for path in leftovers(tmp_path)]
    assert len({*names}) == 2
    assert all(re.fullmatch(rf"\.[0-9a-f]{{16}}{re.escape(files.SUFFIX)}", name) for name in names)


@posix
def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with files.atomic_file(tmp_path / "a"), files.atomic_folder(tmp_path / "b"):
            pass
        files.create_exclusively(tmp_path / "c", b"")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "abc"]
    assert modes == [0o640, 0o750, 0o640]


@posix
def test_a_planted_link_of_a_guessed_name_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0123456789abcdef")
    (tmp_path / LEFTOVER).symlink_to(victim)
    with pytest.raises(FileExistsError), files.atomic_file(tmp_path / "a") as file:
        file.write(b"theirs")
    with pytest.raises(FileExistsError):
        files.create_exclusively(tmp_path / "a", b"theirs")
    files.remove_leftovers(tmp_path)
    assert victim.read_text() == "mine" and not (tmp_path / "a").exists()


# -- several processes -----------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from xraylib import files
folder = Path(sys.argv[1])
with files.atomic_file(folder / "file") as file, files.atomic_folder(folder / "folder") as part:
    (part / "inside").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """A process that writes a file and a folder until its input ends."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def test_files_of_a_running_process_are_kept(tmp_path, writer):
    assert len(leftovers(tmp_path)) == 2
    files.remove_leftovers(tmp_path)
    assert len(leftovers(tmp_path)) == 2
    writer.communicate("")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@posix
def test_files_of_a_killed_process_are_removed(tmp_path, writer):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(leftovers(tmp_path)) == 2
    files.remove_leftovers(tmp_path)
    assert not any(tmp_path.iterdir())


@posix
def test_the_folder_of_a_killed_process_is_removed_by_the_next_one(tmp_path, writer):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with files.atomic_folder(tmp_path / "folder"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_only_names_that_the_library_gives_are_leftovers(tmp_path):
    """Defect: a reader's own folder, named alike, was removed with what was in it."""
    names = [f".a.part{os.getpid()}@host", "a.tmp", f"{LEFTOVER}.d", f"{LEFTOVER}s",
             f"my{files.SUFFIX}", f".my{files.SUFFIX}", f"my{LEFTOVER}"]
    for name in names:
        (tmp_path / name).mkdir()
    files.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@posix
def test_a_file_that_is_removed_before_its_lock_is_made_again(tmp_path, monkeypatch):
    lock, removed = files._lock, []

    def late(path, wait):
        if not removed:
            removed.append(path)
            path.unlink()
        return lock(path, wait)

    monkeypatch.setattr(files, "_lock", late)
    with files.atomic_file(tmp_path / "a") as file:
        file.write(b"all")
    assert removed and [path.name for path in tmp_path.iterdir()] == ["a"]


@posix
def test_writers_and_removers_at_the_same_time_lose_nothing(tmp_path):
    remover = ("import sys, pathlib; from xraylib import files\n"
               "while True: files.remove_leftovers(pathlib.Path(sys.argv[1]))")
    with subprocess.Popen([sys.executable, "-c", remover, str(tmp_path)]) as process:
        end = time.monotonic() + 2
        for number in iter(int, None):
            files.write_json(tmp_path / "a", {"number": number})
            if time.monotonic() > end:
                break
        process.kill()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    (tmp_path / LEFTOVER).touch()
    files.remove_leftovers(tmp_path)
    files.write_json(tmp_path / "b", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [LEFTOVER, "b"]

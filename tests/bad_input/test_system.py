"""What a shell or a system does to a command: odd names, closed outputs, limits, Ctrl-C."""

import errno
import io
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
from bad_input.spoiling import FLAT, PREDICT, SET, Cases, must_say

from xraylib import __main__, workers
from xraylib.volumes import predict_volume

CASES = Cases()


def link_in_a_circle() -> None:
    """A link that points at itself."""
    Path("circle").symlink_to("circle")


def pipe(name: str) -> None:
    """A pipe into which nobody writes: whoever opens it waits for ever."""
    Path(name).unlink(missing_ok=True)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(name)


def run_file(name: str) -> str:
    """A file of the good run."""
    (folder,) = Path("home/runs").glob("*/*")
    return str(folder / name)


EMPTY = "an argument is empty, as an unset variable is. Give it, or leave it out."
ESCAPES = "x\rerror: all is well\x1b[31m"
LONG = "is not a whole number, 0 or more"
for name, line, message, *spoil in [
    # links in a circle
    ("a circle as IN", "predict flat.safetensors circle out", "circle is neither a TIFF file nor",
     link_in_a_circle),
    ("a circle as OUT", "predict flat.safetensors volume circle", "circle: File exists. Choose",
     link_in_a_circle),
    ("a circle as RUN", "predict circle volume out", "circle is neither a file, a run folder nor",
     link_in_a_circle),
    ("a circle as DATA", SET.replace("=set", "=circle"),
     "circle/dataset.toml: Too many levels of symbolic links. Choose", link_in_a_circle),
    ("a circle as the home", "data make --profile tiny", "circle ... Choose another folder, or",
     link_in_a_circle, lambda: os.environ.__setitem__("XRAYLIB_HOME", "circle")),
    # pipes
    ("a pipe as a slice of OUT", FLAT, "out/slice_0003.tif exists and was not made of",
     lambda: pipe("out/slice_0003.tif")),
    ("a pipe as a record", FLAT, "out/prediction.json: It is not a file. Choose another folder",
     lambda: pipe("out/prediction.json")),
    ("a pipe as a network of OUT", FLAT, "out/network.safetensors: It is not a file. Choose",
     lambda: pipe("out/network.safetensors")),
    ("a pipe as weights", FLAT, "flat.safetensors is not a weights file",
     lambda: pipe("flat.safetensors")),
    ("a pipe as a result", "report", "holds no complete run (no result.json)",
     lambda: pipe(run_file("result.json"))),
    ("a pipe as a configuration", "report", "config.json is damaged ( ... It is not a file",
     lambda: pipe(run_file("config.json"))),
    ("a pipe as a history", "report", "history.csv is damaged ( ... It is not a file",
     lambda: pipe(run_file("history.csv"))),
    # empty and foreign places
    ("no IN", "predict flat.safetensors '' out", EMPTY),
    ("no OUT", "predict flat.safetensors volume ''", EMPTY),
    ("a file in place of the previews", f"{FLAT} --preview 1", "out/preview is a file. Name a",
     lambda: Path("out").mkdir(), lambda: Path("out/preview").touch()),
    # characters that move the cursor, and texts without end
    ("escapes in IN", f"predict flat.safetensors '{ESCAPES}' out",
     r"x\rerror: all is well\x1b[31m is neither a TIFF file nor"),
    ("escapes in RUN", f"predict '{ESCAPES}' volume out",
     r"x\rerror: all is well\x1b[31m is neither a file, a run folder nor"),
    ("escapes in DATA", SET.replace("=set", f"='{ESCAPES}'").replace("-p 'data", "-p data"),
     r"x\rerror: all is well\x1b[31m/"),
    ("escapes in an option", f"{FLAT} '{ESCAPES}'", r"x\rerror: all is well\x1b[31m"),
    ("a number of 5,000 digits", f"{FLAT} --tile {'9' * 5000}", "argument --tile: ... " + LONG),
    ("a name of 100,000 letters", f"sweep 01_baseline -p {'x' * 100_000}=1",
     "unknown parameter 'xxx ... "),
    ("a path of 100,000 letters", f"predict {'x' * 100_000} volume out", "File name too long"),
]:
    CASES.add(name, message, line, *spoil)
CASES.add("an empty name", "the name of a file or folder is empty. Give one; . is this folder.",
          lambda: predict_volume("flat.safetensors", "volume", ""))


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_and_nothing_is_written(name, refuse, monkeypatch):
    refuse(*CASES[name])


def command(line: str, monkeypatch) -> None:
    """Run a command line in this process."""
    monkeypatch.setattr(sys, "argv", ["xraylib", *shlex.split(line)])
    __main__.main()


def start(line: str, **options) -> subprocess.Popen:
    """Run a command line in another process."""
    return subprocess.Popen([sys.executable, "-m", "xraylib", *line.split()], text=True,
                            stderr=subprocess.PIPE, start_new_session=True, **options)


# -- outputs ---------------------------------------------------------------------------------------


def test_an_ascii_output_has_other_characters_escaped(place, monkeypatch):
    """Defect: after the work was done, the sign ± ended a sweep in an UnicodeEncodeError."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    command(f"{SET} -p seed=0,1", monkeypatch)
    assert rb" \xb1 " in sys.stdout.buffer.getvalue()


def test_paths_that_are_not_utf_8_work(place, monkeypatch):
    name = os.fsdecode(b"s\xff")
    Path("set").rename(name)
    monkeypatch.setenv("XRAYLIB_HOME", os.fsdecode(b"h\xff"))
    command(f"{SET.replace('=set', f'={name}')} -p seed=3", monkeypatch)
    command("report", monkeypatch)
    assert r"s\\udcff" in Path(os.fsdecode(b"h\xff"), "runs/summary.md").read_text("utf-8")


@pytest.mark.parametrize("line", [
    f"predict flat.safetensors volume '{ESCAPES}/a'",
    f"predict flat.safetensors volume '{ESCAPES}/a' --stack",
    f"{FLAT} --worst 2 '{ESCAPES}/a'", f"predict '{ESCAPES}/flat.safetensors' volume out",
    f"data inspect '{ESCAPES}'", f"{SET[:-3]}'{ESCAPES}'"])
def test_printed_paths_have_their_control_characters_escaped(line, place, monkeypatch, capsys):
    """Defect: errors escaped them, and a success did not."""
    shutil.copytree("set", ESCAPES)
    shutil.copy("flat.safetensors", ESCAPES)
    command(line, monkeypatch)
    printed = capsys.readouterr().out
    assert r"x\rerror: all is well\x1b[31m" in printed.replace(r"\[", "[")
    assert not {"\r", "\x1b"} & set(printed)


def test_a_closed_standard_output_is_not_an_error(place, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    command(f"{FLAT} --preview 6", monkeypatch)
    assert len(list(Path("out").glob("*.tif"))) == 12
    sys.stdout.close(), sys.stderr.close()


def test_a_full_disk_under_standard_output_is_reported_once(place, monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as raised:
            command("networks", monkeypatch)
        must_say("error: standard output: No space left on device. Make room", raised.value.code)
        full.flush()  # as Python does when it ends


def test_every_path_argument_accepts_a_tilde(place, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(place))
    command(f"predict ~/{run_file('')} ~/volume ~/out", monkeypatch)
    assert len(list(Path("out").glob("*.tif"))) == 12 and not Path("~").exists()


# -- names in tables -------------------------------------------------------------------------------


def test_a_copied_folder_is_not_a_second_run(place, monkeypatch, capsys):
    shutil.copytree(run_file(""), Path(run_file("")).with_name("copy"))
    command("report", monkeypatch)
    assert "±" not in capsys.readouterr().out


def test_names_are_escaped_in_html_and_tables(place, monkeypatch):
    name = "<img src=x onerror=alert(1)>|b"
    Path("set").rename(name)
    monkeypatch.setattr(sys, "argv", ["xraylib", *SET.split()[:-1], f"data_dir={name}"])
    __main__.main()
    command("report", monkeypatch)
    summary = Path("home/runs/summary.md").read_text("utf-8")
    assert r"&lt;img src=x onerror=alert(1)&gt;\|b" in summary and "<" not in summary


# -- limits and Ctrl-C -----------------------------------------------------------------------------


@pytest.fixture
def few_files(monkeypatch):
    """The process that starts workers may open 25 files."""
    monkeypatch.setattr(workers, "START_TIMEOUT", 20)
    limits = 25, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    monkeypatch.setattr(workers, "Popen", partial(
        subprocess.Popen, preexec_fn=partial(resource.setrlimit, resource.RLIMIT_NOFILE, limits)))


@pytest.fixture
def no_process(monkeypatch):
    """The system starts no further process."""
    def popen(*_, **__) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(workers, "Popen", popen)


@pytest.fixture
def no_time(monkeypatch):
    """The workers wait for something that never comes."""
    monkeypatch.setattr(workers, "START_TIMEOUT", 0.1)


# Dask before 2026 waits for ever, until the time limit of `few_files`.
NO_FILES = ("OSError: [Errno 24] Too many open files" if version("distributed") >= "2026" else
            "Timeout (0:00:20)!")


@pytest.mark.parametrize(("limit", "reason"), [
    ("no_time", "Timeout (0:00:00.100000)!"),
    ("few_files", NO_FILES),
    ("no_process", "[Errno 11] Resource temporarily unavailable")])
def test_workers_that_cannot_start_are_one_error_and_leave_no_files(refuse, request, limit, reason):
    """Defect: several tracebacks, and an output folder with a record."""
    request.getfixturevalue(limit)
    refuse(f"the workers cannot start ({reason}). Give fewer or none, or raise your limits (ulimit "
           "-a).", f"{FLAT} --workers 2", ())


def interrupt(process: subprocess.Popen, when) -> str:
    """Send Ctrl-C to a process as soon as a condition holds; return what it says."""
    while not when():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=60)[1]


def test_ctrl_c_while_torch_is_imported_is_one_line(place):
    process = start(PREDICT)
    maps = Path(f"/proc/{process.pid}/maps")
    assert interrupt(process, lambda: "libtorch" in maps.read_text()) == (
        "error: stopped before it began.\n")


def test_ctrl_c_while_workers_start_is_one_line_and_leaves_no_files(place):
    """Defect: tracebacks of this process and of each worker, some seconds later."""
    process = start(f"{FLAT} --workers 2", stdout=subprocess.DEVNULL)
    found: list[psutil.Process] = []

    def workers_start() -> bool:
        found[:] = psutil.Process(process.pid).children(recursive=True)
        return any("spawn_main" in " ".join(child.cmdline()) for child in found)

    assert interrupt(process, workers_start) == f"error: {__main__.INTERRUPTED}\n"
    assert not Path("out").exists()
    assert not psutil.wait_procs(found, timeout=10)[1]

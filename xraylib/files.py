"""Where things lie on disk, and how they are written: whole or not at all."""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """A path as a reader gives it: ~ is a home folder, and stays as it is where there is no such user."""
    return Path(os.path.expanduser(path))


def home() -> Path:
    """The folder that holds data/ and runs/: $XRAYLIB_HOME, else the repository, else the current folder."""
    if os.environ.get("XRAYLIB_HOME"):
        return expanded(os.environ["XRAYLIB_HOME"])
    repository = Path(__file__).resolve().parents[1]
    return repository if (repository / "pyproject.toml").exists() else Path.cwd()


def shipped() -> Path:
    """What comes with the library, registry.txt and published/: in an installed package, else in the repository."""
    package = Path(__file__).resolve().parent
    return package / "shipped" if (package / "shipped").exists() else package.parent / "data"


def part_of(path: Path) -> Path:
    """The temporary name, beside it, of what is being written; another process writes to another one."""
    return path.with_name(f"{path.name}.part{os.getpid()}@{socket.gethostname()}")


def clean(folder: Path) -> None:
    """Remove from this folder what processes of this machine were writing (`part_of`) when they were killed."""
    for part in folder.glob("*.part*@*"):
        number, _, machine = part.name.rpartition(".part")[2].partition("@")
        if machine == socket.gethostname() and number.isdecimal() and not _lives(int(number)):
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    if os.name != "posix":              # elsewhere a signal of 0 is one that ends the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:                     # it is somebody else's
        return True
    return True


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write(temporary path)`` write a file, then put it in place at once: whole or not at all.

    Whoever wrote it, it can be read by whom the umask says.
    """
    part = part_of(path)
    try:
        part.touch()
        mode = part.stat().st_mode
        write(part)
        part.chmod(mode)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_once(path: Path, content: bytes) -> None:
    """Write a file, whole, unless it is there: of processes that begin at the same moment, one does."""
    part = part_of(path)
    try:
        part.write_bytes(content)
        try:
            os.link(part, path)
        except FileExistsError:
            return
        except OSError:                     # a file system that has no links
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def as_json(content: dict) -> bytes:
    """Readable JSON, as `write_json` writes it."""
    return (json.dumps(content, indent=1) + "\n").encode()


def write_json(path: Path, content: dict) -> None:
    """Write readable JSON, whole or not at all."""
    replace(path, lambda part: part.write_bytes(as_json(content)))


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``folder`` when the block ends well, and is removed when it does not."""
    part = part_of(folder)
    clean(folder.parent)
    shutil.rmtree(part, ignore_errors=True)             # of a killed process that had this one's number
    part.mkdir(parents=True)
    try:
        yield part
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():                     # else another process was faster
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def said(error: BaseException) -> str:
    """What an exception says, in one line for a place within a sentence, and not all of it where it says much."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= 200 else f"{line[:200]} ..."

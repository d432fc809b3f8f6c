"""Where files lie on disk, and how they are written: complete or not at all."""

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from .errors import DataError

try:
    import fcntl
except ImportError:  # Windows has no fcntl, so leftovers are not removed there
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".xraylib-tmp"
REINSTALL = "It came with the library: install the library again (in a clone: git checkout data)."
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy's message when a disk is full


def expand_user(path: str | Path) -> Path:
    """Return the path with ~ replaced by the home folder, if there is such a user."""
    if not str(path):
        raise DataError("the name of a file or folder is empty. Give one; . is this folder.")
    return Path(os.path.expanduser(path))


def real_path(path: str | Path) -> Path:
    """Return the absolute path with ~ and links resolved; circular links stay unresolved."""
    return Path(os.path.realpath(expand_user(path)))


def home() -> Path:
    """Return the parent of data/ and runs/: $XRAYLIB_HOME, the repository or the current folder."""
    repository = Path(__file__).resolve().parents[1]
    default = repository if (repository / "pyproject.toml").exists() else Path.cwd()
    return expand_user(os.environ.get("XRAYLIB_HOME") or default)


def packaged_data() -> Path:
    """Return the folder of registry.txt and published/, in the installed package or repository."""
    package = Path(__file__).resolve().parent
    return package / "shipped" if (package / "shipped").exists() else package.parent / "data"


@cache
def load_plugins() -> list[Any]:
    """Import every plugin, once: the modules in the entry-point group "xraylib.plugins"."""
    return [plugin.load() for plugin in entry_points(group="xraylib.plugins")]


def json_bytes(content: dict) -> bytes:
    """Return readable JSON, as `write_json` writes it."""
    return (json.dumps(content, indent=1) + "\n").encode()


def write_json(path: Path, content: dict) -> None:
    """Write readable JSON, complete or not at all."""
    with atomic_file(path) as file:
        file.write(json_bytes(content))


@contextmanager
def atomic_file(path: Path, mode: str = "wb", **open_kwargs: Any) -> Iterator[Any]:
    """Open a file for writing that replaces `path` when the block ends without an error.
    Args:
        path, mode, open_kwargs: As for `open`. Text is UTF-8; what cannot be encoded is escaped.
    """
    if "b" not in mode:
        open_kwargs = {"encoding": "utf-8", "errors": "backslashreplace"} | open_kwargs
    with _temporary(path) as part:
        with part.open(mode, **open_kwargs) as file:
            yield file
        os.replace(part, path)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder`, unless another process has created that."""
    new = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder.parent)
        with _temporary(folder, is_folder=True) as part:
            yield part
            try:
                part.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    finally:
        for parent in new:
            with suppress(OSError):  # it is not empty: there was no error
                parent.rmdir()


def create_exclusively(path: Path, content: bytes) -> None:
    """Write a complete file unless it exists. Of several processes, exactly one writes the file."""
    with _temporary(path) as part:
        part.write_bytes(content)
        try:
            os.link(part, path)
        except OSError:  # it exists, or the file system has no links
            if not path.exists():
                os.replace(part, path)


def read_regular(path: Path) -> bytes:
    """Read a file; raises `OSError` for a pipe or a device, which might never end."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "It is not a file", str(path))
    return path.read_bytes()


@contextmanager
def name_in_errors(path: Path, part: Path | None = None) -> Iterator[None]:
    """Make operating-system errors name the file `path`, not the temporary `part` or no file."""
    try:
        yield
    except OSError as error:
        if SHORT_WRITE.fullmatch(str(error)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if error.errno is not None:
            error.filename = str(error.filename or path).replace(str(part or path), str(path))
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders in `folder` whose writers were killed."""
    for part in folder.glob(f".{'[0-9a-f]' * 16}{SUFFIX}"):
        with _lock(part, wait=False) as locked:
            if locked:
                _remove(part)


@contextmanager
def _temporary(path: Path, is_folder: bool = False) -> Iterator[Path]:
    """Yield a locked file or folder with a random name beside `path`; remove it afterwards."""
    part = path.with_name(f".{secrets.token_hex(8)}{SUFFIX}")
    with name_in_errors(path, part), ExitStack() as stack:
        part.mkdir() if is_folder else part.touch(exist_ok=False)
        stack.enter_context(_lock(part, wait=True))
        if not part.exists():  # `remove_leftovers` in another process removed it
            part = stack.enter_context(_temporary(path, is_folder))
        stack.callback(_remove, part)
        yield part


@contextmanager
def _lock(path: Path, wait: bool) -> Iterator[bool]:
    """Lock a file or folder during the block, and yield whether that was possible."""
    locked = False
    with ExitStack() as stack:
        with suppress(OSError, AttributeError):  # another process holds it, or there is no fcntl
            access = os.O_RDONLY if path.is_dir() else os.O_RDWR
            descriptor = os.open(path, access | os.O_NOFOLLOW)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        yield locked


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is still there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

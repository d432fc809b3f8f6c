"""Where files lie on disk, and how they are written: complete or not at all."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows has no such locks, so leftovers stay there
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".xraylib-tmp"


def expand_user(path: str | Path) -> Path:
    """Return the path with ~ replaced by the home folder, if there is such a user."""
    return Path(os.path.expanduser(path))


def home() -> Path:
    """Return the folder of data/ and runs/: $XRAYLIB_HOME, the repository or the current folder."""
    if os.environ.get("XRAYLIB_HOME"):
        return expand_user(os.environ["XRAYLIB_HOME"])
    repository = Path(__file__).resolve().parents[1]
    return repository if (repository / "pyproject.toml").exists() else Path.cwd()


def packaged_data() -> Path:
    """Return the folder of registry.txt and published/: in the installed package or repository."""
    package = Path(__file__).resolve().parent
    return package / "shipped" if (package / "shipped").exists() else package.parent / "data"


@cache
def load_plugins() -> None:
    """Import every plugin, once: an entry point of the group "xraylib.plugins"."""
    for plugin in entry_points(group="xraylib.plugins"):
        plugin.load()


def json_bytes(content: dict) -> bytes:
    """Return readable JSON, as `write_json` writes it."""
    return (json.dumps(content, indent=1) + "\n").encode()


def write_json(path: Path, content: dict) -> None:
    """Write readable JSON, complete or not at all."""
    with atomic_file(path) as file:
        file.write(json_bytes(content))


@contextmanager
def atomic_file(path: Path, mode: str = "wb", **open_kwargs: Any) -> Iterator[IO]:
    """Open a file for writing that replaces `path` when the block ends without an error.
    Args:
        path, mode, open_kwargs: As for `open`.
    """
    with _temporary(path.parent) as part:
        with part.open(mode, **open_kwargs) as file:
            yield file
        os.replace(part, path)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` when the block ends without an error.

    If another process has made `folder` meanwhile, its folder stays and this one is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent)
    with _temporary(folder.parent, is_folder=True) as part:
        yield part
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise


def create_exclusively(path: Path, content: bytes) -> None:
    """Write a complete file unless it exists: of several processes, exactly one writes it."""
    with _temporary(path.parent) as part:
        part.write_bytes(content)
        try:
            os.link(part, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            os.replace(part, path)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders in `folder` whose writers were killed."""
    for part in folder.glob(f"*{SUFFIX}"):
        with _lock(part, wait=False) as locked:
            if locked:
                _remove(part)


@contextmanager
def _temporary(folder: Path, is_folder: bool = False) -> Iterator[Path]:
    """Yield a locked file or folder of a new, unguessable name; remove what is left of it."""
    part = folder / f".{secrets.token_hex(8)}{SUFFIX}"
    part.mkdir() if is_folder else part.touch(exist_ok=False)
    with _lock(part, wait=True):
        if part.exists():
            try:
                yield part
            finally:
                _remove(part)
            return
    with _temporary(folder, is_folder) as part:  # `remove_leftovers` of another process was faster
        yield part


@contextmanager
def _lock(path: Path, wait: bool) -> Iterator[bool]:
    """Lock a file or folder during the block, and yield whether that was possible."""
    with ExitStack() as stack:
        try:
            access = os.O_RDONLY if path.is_dir() else os.O_RDWR
            descriptor = os.open(path, access | os.O_NOFOLLOW)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except (OSError, AttributeError):  # another process has it, or there is no fcntl
            locked = False
        yield locked


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is still there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

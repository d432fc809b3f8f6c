"""Where things lie on disk, and how they are written: whole or not at all."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def home() -> Path:
    """The folder that holds data/ and runs/: $XRAYLIB_HOME, else the repository, else the current folder."""
    if "XRAYLIB_HOME" in os.environ:
        return Path(os.environ["XRAYLIB_HOME"])
    repository = Path(__file__).resolve().parents[1]
    return repository if (repository / "pyproject.toml").exists() else Path.cwd()


def shipped() -> Path:
    """What comes with the library, registry.txt and published/: in an installed package, else in the repository."""
    package = Path(__file__).resolve().parent
    return package / "shipped" if (package / "shipped").exists() else package.parent / "data"


def part_of(path: Path) -> Path:
    """The temporary name, beside it, of what is being written; another process writes to another one."""
    return path.with_name(f"{path.name}.part{os.getpid()}")


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write(temporary path)`` write a file, then put it in place at once: whole or not at all."""
    part = part_of(path)
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: dict) -> None:
    """Write readable JSON, whole or not at all."""
    replace(path, lambda part: part.write_text(json.dumps(content, indent=1) + "\n"))


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``folder`` when the block ends well, and is removed when it does not."""
    part = part_of(folder)
    shutil.rmtree(part, ignore_errors=True)             # of a killed process that had this one's number
    part.mkdir(parents=True)
    try:
        yield part
        if not folder.exists():                         # else another process was faster
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)

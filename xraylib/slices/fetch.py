"""Brings the real data set at the reader's request: says where it comes from, checks every file, can be continued.

The images are one zip at Zenodo, found by its DOI; the labels are single files of a public course repository. Nothing
gets its final name before its SHA-256 matches `data/registry.txt`, so a break at any moment leaves only whole files.
"""

import hashlib
import logging
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

import pooch
import requests
from tqdm.auto import tqdm

from ..files import expanded, replace, shipped

ARCHIVE = "SOCPristineTiffs.zip"
IMAGES_URL = f"doi:10.5281/zenodo.1040274/{ARCHIVE}"
COMMIT = "d94a4bbdfb6149d433d52322d32c70fae6447373"
REPOSITORY_URL = f"https://raw.githubusercontent.com/magn2998/XraySegmentation/{COMMIT}/data"
PARTIAL = ".partial"  # sub-folder for what is on its way; removed when all is there
LARGEST_IMAGE = 4 * 2**20  # bytes; a slice of 501 x 501 x 2 bytes needs 0.5 MB, so no zip bomb gets far
CONNECTIONS = 4  # parallel requests for single files: polite to the server, and latency no longer counts
AGAIN = "then run the same command again: it continues"
CHANGED = "run the same command again, and if it stays so, report that the source has changed"

TERMS = """\
Images: De Angelis, Jørgensen, Tsai Rho, Holler, Kreka, Bowen (2018), Zenodo, doi:10.5281/zenodo.1040274,
        under the terms of that record: cite it when you use them. Fetched from {images}
Labels: manual segmentation from the public course repository https://github.com/magn2998/XraySegmentation,
        no licence stated there: fetched at your request, not to be redistributed. Fetched from {labels}"""


class FetchError(RuntimeError):
    """The data set could not be fetched; the message is one sentence that says what, where and what to do."""


def fetch(
    folder: str | Path,
    *,
    images_from: str = "zenodo",
    images_url: str = IMAGES_URL,
    repository_url: str = REPOSITORY_URL,
    registry: str | Path | None = None,
    retries: int = 2,
) -> Path:
    """Fetch what is missing of the 500 images and 500 labels into `folder` (about 260 MB; 500 MB on the way).

    images_from: "zenodo" (the published zip) or "repository" (single files, from where the labels are).
    images_url: address of the zip, http(s) or "doi:<DOI>/<file name>".
    repository_url: address below which `data/SOCprist0001.tiff` and `labels/slice__001.tif` are found.
    registry: file of SHA-256 hashes in pooch's format; default: the project's `data/registry.txt`.
    retries: how many times a failed download is tried again before giving up.

    Returns the absolute folder, to be passed as `data_dir`: it holds `data/*.tiff` and `labels/*.tif`.
    Raises FetchError for every failure (network, hash, archive, disk); whole files stay, so a second call continues.
    """
    if images_from not in ("zenodo", "repository"):
        raise ValueError(f'images_from must be "zenodo" or "repository", not {images_from!r}.')
    folder = expanded(folder).absolute()
    pup = pooch.create(folder / PARTIAL, repository_url, urls={ARCHIVE: images_url}, retry_if_failed=retries)
    pup.load_registry(registry or shipped() / "registry.txt")
    hashes = dict(pup.registry)
    pooch.get_logger().setLevel(logging.WARNING)  # the progress bars say it; 500 lines of log would hide them
    print(TERMS.format(images=images_url if images_from == "zenodo" else repository_url, labels=repository_url))
    with disk_errors_explained(folder):
        prepare(folder)
        missing = [
            n for n, known in hashes.items() if not (folder / n).is_file() or pooch.file_hash(folder / n) != known
        ]
        print(f"{len(hashes) - len(missing)} of {len(hashes)} files are already in {folder}")
        zipped = [name for name in missing if name.startswith("data/") and images_from == "zenodo"]
        if zipped:
            fetch_archive(pup, zipped, folder)
        fetch_files(pup, [name for name in missing if name not in zipped], folder)
        shutil.rmtree(folder / PARTIAL)
    print(f"All {len(hashes)} files are there and checked. Pass this folder as data_dir: {folder}")
    return folder


def prepare(folder: Path) -> None:
    """Make the folders now: pooch would make them from several threads at once, which can collide."""
    for parent in (folder, folder / PARTIAL):
        (parent / "data").mkdir(parents=True, exist_ok=True)
        (parent / "labels").mkdir(exist_ok=True)


def fetch_files(pup: pooch.Pooch, names: list[str], folder: Path) -> None:
    """Fetch single files over a few connections, with one progress bar that counts files."""
    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        futures = [pool.submit(fetch_file, pup, name, folder) for name in names]
        for done in tqdm(as_completed(futures), "single files", total=len(names), unit="file", disable=not names):
            done.result()
    finally:  # after the first failure, or Ctrl-C, nothing new is begun
        pool.shutdown(cancel_futures=True)


def fetch_file(pup: pooch.Pooch, name: str, folder: Path) -> None:
    """Fetch one file of the registry; pooch checks its hash before it appears."""
    with source_errors_explained(name, pup.get_url(name)):
        fetched = Path(pup.fetch(name))
    fetched.chmod(0o644)  # pooch's temporary files can be read by their owner only
    os.replace(fetched, folder / name)


def fetch_archive(pup: pooch.Pooch, names: list[str], folder: Path) -> None:
    """Fetch the zip and unpack the named images; a zip with anything wrong in it is not kept."""
    # The zip has no known hash and needs none: each file in it is checked. A whole one that a break left is used.
    known = {name: pup.registry[name] for name in names}
    pup.registry[ARCHIVE] = None
    url = pup.get_url(ARCHIVE)
    with source_errors_explained(ARCHIVE, url):
        archive = Path(pup.fetch(ARCHIVE, progressbar=True))
    try:
        unpack(archive, known, folder)
    except (FetchError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        archive.unlink()
        raise FetchError(f"{ARCHIVE} from {url} was refused and deleted ({error}): {CHANGED}.") from error
    archive.unlink()


def unpack(archive: Path, known: dict[str, str], folder: Path) -> None:
    """Write the known images, found anywhere in the zip, to `folder`; ignore every other entry.

    Where a file goes is taken from the registry, never from the zip: absolute paths, "..", drive letters and links
    in it have no effect. Each file is checked in memory, so nothing unchecked is ever written.
    """
    wanted = {Path(name).name: name for name in known}
    with zipfile.ZipFile(archive) as zipped:
        for member in tqdm(zipped.infolist(), "unpacking", unit="file"):
            name = wanted.pop(PureWindowsPath(member.filename).name, None)  # splits at both kinds of slash
            if name:
                content = read_checked(zipped, member, known[name])
                replace(folder / name, lambda part, content=content: part.write_bytes(content))
    if wanted:
        raise FetchError(f"it lacks {min(wanted)} and {len(wanted) - 1} other images")


def read_checked(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, known_hash: str) -> bytes:
    """Return the content of one member, refused if it is not what the registry says."""
    # Of zipfile's methods only deflate is unpacked piece by piece, whatever the member holds.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
        raise FetchError(f"{member.filename!r} in it is encrypted or compressed in an unexpected way")
    if member.file_size > LARGEST_IMAGE:
        raise FetchError(f"{member.filename!r} in it claims {member.file_size} bytes, far more than an image needs")
    with zipped.open(member) as stream:
        content = stream.read(LARGEST_IMAGE)  # without a number, zipfile would first unpack all of it, declared or not
    found = hashlib.sha256(content).hexdigest()
    if found != known_hash:
        raise FetchError(f"{member.filename!r} in it has the wrong SHA-256: expected {known_hash} but got {found}")
    return content


@contextmanager
def source_errors_explained(what: str, url: str) -> Iterator[None]:
    """Turn what pooch raises over a source into one sentence."""
    try:
        yield
    except requests.RequestException as error:
        reason = type(error).__name__
        if error.response is not None:
            reason = f"HTTP {error.response.status_code} {error.response.reason}"
            error.response.close()  # pooch leaves it open
        raise FetchError(f"Cannot fetch {what} from {url} ({reason}): check the connection, {AGAIN}.") from error
    except (ValueError, KeyError) as error:  # a wrong hash, or an answer about the DOI that pooch cannot read
        reason = f"no {error} in the answer" if isinstance(error, KeyError) else str(error).split(". ")[0]
        raise FetchError(f"{what} from {url} was refused and not kept ({reason}): {CHANGED}.") from error


@contextmanager
def disk_errors_explained(folder: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise FetchError(f"Cannot write to {folder} ({reason}): make room or take another folder, {AGAIN}.") from error

"""Downloads the real data set: images as one zip from Zenodo, labels as files from GitHub.

A file gets its final name only if its SHA-256 matches registry.txt, so a second call continues.
"""

import hashlib
import logging
import shutil
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PureWindowsPath

import pooch
from tqdm.auto import tqdm

from ..data import NI_YSZ, NI_YSZ_VOXEL_NM, dataset_file
from ..errors import DownloadError, one_line_message, printable
from ..files import atomic_file, expand_user, packaged_data, remove_leftovers
from .layouts import DATASET_FILE, write_dataset_file

ARCHIVE = "SOCPristineTiffs.zip"
IMAGES_URL = f"doi:10.5281/zenodo.1040274/{ARCHIVE}"
COMMIT = "d94a4bbdfb6149d433d52322d32c70fae6447373"
LABELS_URL = f"https://raw.githubusercontent.com/magn2998/XraySegmentation/{COMMIT}/data"
LARGEST_IMAGE = 4 * 2**20  # bytes; a slice needs 0.5 MB
CONNECTIONS, RETRIES = 4, 2  # parallel requests, further attempts per request
REFUSED = (ValueError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)
TERMS = """\
Images: De Angelis et al. (2018), doi:10.5281/zenodo.1040274, under the terms of that record: cite
        it when you use them. Downloaded from {images}
Labels: manual segmentation from https://github.com/magn2998/XraySegmentation, a public course
        repository that states no licence: downloaded at your request, not to be redistributed.
        Downloaded from {labels}"""


def download_real_data(folder: str | Path) -> Path:
    """Download those of 500 images and 500 labels that are missing (260 MB; temporarily 500 MB).
    Returns: The absolute folder with data/, labels/ and dataset.toml, for `data_dir`.
    Raises: DownloadError: Network, source or disk failed. Checked files stay.
    """
    folder = expand_user(folder).absolute()
    print(TERMS.format(images=IMAGES_URL, labels=LABELS_URL))
    try:
        _download_missing(folder)
    except OSError as error:
        if not hasattr(error, "response"):  # the errors of requests have one
            raise DownloadError(f"Cannot write to {folder} ({error.strerror or error}). Make room "
                                "or take another folder, then run this again.") from error
        if error.response is not None:
            error.response.close()  # pooch leaves it open
        raise DownloadError(f"The download failed ({one_line_message(error)}). Check the "
                            "connection, then run this again: it continues.") from error
    except REFUSED as error:
        raise DownloadError(f"A file was refused and not kept ({one_line_message(error)}). Run "
                            "this again. If it fails again, the source has changed.") from error
    print(f"All files are there and checked. Pass this folder as data_dir: "
          f"{printable(folder)}")
    return folder


def _download_missing(folder: Path) -> None:
    """Download every file that is missing, or whose SHA-256 is not that in registry.txt."""
    pooch.get_logger().setLevel(logging.WARNING)  # the progress bars say enough
    partial = folder / ".partial"
    source = pooch.create(partial, LABELS_URL, urls={ARCHIVE: IMAGES_URL}, retry_if_failed=RETRIES)
    source.load_registry(packaged_data() / "registry.txt")
    hashes = source.registry | {}
    for place in (folder / "data", folder / "labels", partial / "labels"):
        place.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place)
    missing = [name for name, known in hashes.items()
               if not (folder / name).is_file() or pooch.file_hash(folder / name) != known]
    print(f"{len(hashes) - len(missing)} of {len(hashes)} files are already in "
          f"{printable(folder)}")
    images = {Path(name).name: name for name in missing if name.startswith("data/")}
    if images:
        source.registry[ARCHIVE] = None  # no hash: each file in it is checked
        archive = Path(source.fetch(ARCHIVE, progressbar=True))
        try:
            _unpack(archive, images, hashes, folder)
        except REFUSED:
            archive.unlink()
            raise

    def download_label(name: str) -> None:
        file = Path(source.fetch(name))  # pooch checks its hash
        file.chmod(0o644)  # else only its owner can read it
        file.replace(folder / name)

    labels = [name for name in missing if name.startswith("labels/")]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        done = pool.map(download_label, labels)
        list(tqdm(done, "labels", len(labels), unit="file", disable=not labels))
    if not (folder / DATASET_FILE).exists():  # the reader may have edited it
        write_dataset_file(folder, dataset_file(NI_YSZ, NI_YSZ_VOXEL_NM))
    shutil.rmtree(partial)


def _unpack(archive: Path, images: dict[str, str], hashes: dict[str, str], folder: Path) -> None:
    """Write the images, wherever they are in the zip. Paths and links in the zip are ignored."""
    with zipfile.ZipFile(archive) as zipped:
        for member in tqdm(zipped.infolist(), "unpacking", unit="file"):
            name = images.pop(PureWindowsPath(member.filename).name, None)  # splits at / and \
            if not name:
                continue
            # Only deflate is unpacked piece by piece, so memory holds at most LARGEST_IMAGE bytes.
            packed = member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            if packed or member.file_size > LARGEST_IMAGE:
                raise ValueError(f"{name} in {ARCHIVE} is too large or packed unexpectedly")
            with zipped.open(member) as stream:
                content = stream.read(LARGEST_IMAGE)
            if (found := hashlib.sha256(content).hexdigest()) != hashes[name]:
                raise ValueError(f"{name} in {ARCHIVE} has the SHA-256 {found}")
            with atomic_file(folder / name) as file:
                file.write(content)
    if images:
        raise ValueError(f"{ARCHIVE} lacks {min(images)} and {len(images) - 1} other images")

"""A server for the built live page, and a browser to open it: for tests, proofs and benchmarks."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from check_browser import SYSTEM_BROWSERS
from playwright.sync_api import Browser, Playwright


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """A handler that does not print a line per request."""

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on this computer, and yield the address."""
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def open_browser(playwright: Playwright) -> Browser:
    """Open the system's Chromium or Chrome, or else the one in Playwright's cache."""
    executable = next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), None)
    return playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])

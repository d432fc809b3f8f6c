"""Check that a browser for the tests of the sliders is installed; say how to install one if not.

    python tools/check_browser.py

`make test` runs this check first and never installs anything itself.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Exit with an error if neither the system nor Playwright's cache has a Chromium."""
    if any(map(shutil.which, SYSTEM_BROWSERS)):
        return
    with sync_playwright() as playwright:
        if Path(playwright.chromium.executable_path).exists():
            return
    sys.exit(
        "error: the tests of the sliders need Chromium or Google Chrome; neither is installed.\n"
        "Install one from your system's packages (Debian: sudo apt-get install chromium;\n"
        "macOS: brew install --cask chromium). Or run `make chromium`: it downloads a copy into\n"
        "Playwright's cache and installs nothing into the system. Then run `make test` again."
    )


if __name__ == "__main__":
    main()

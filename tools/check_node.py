"""Check that Node.js and npm are installed, which build the live page; say how to install them.

    python tools/check_node.py

`make site` and `make test` run this check first and never install anything into the system.
"""

import re
import shutil
import subprocess
import sys

OLDEST = 18  # major version of Node.js


def main() -> None:
    """Exit with an error if Node.js or npm is missing or too old."""
    found = "not installed"
    if shutil.which("node") and shutil.which("npm"):
        version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
        major = re.match(r"v(\d+)\.", version)
        if major and int(major[1]) >= OLDEST:
            return
        found = f"too old ({version.strip()})"
    sys.exit(
        f"error: the live page needs Node.js {OLDEST} or later with npm, which is {found}.\n"
        "Install it from your system's packages (Debian: sudo apt-get install nodejs npm;\n"
        "macOS: brew install node). Then run make again."
    )


if __name__ == "__main__":
    main()

"""Open a page in headless Chromium, without a network: fail on errors in its console and on missing figures."""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
).split()
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND"


def chromium(page: Path, *flags: str) -> subprocess.CompletedProcess:
    """What Chromium prints when it opens the page with an empty profile."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("there is no Chromium (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *FLAGS, NO_NETWORK, f"--user-data-dir={profile}", "--virtual-time-budget=15000"]
        return subprocess.run(
            [*command, *flags, page.resolve().as_uri()], capture_output=True, text=True, timeout=180, check=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--screenshot", type=Path)
    chosen = parser.parse_args()
    done = chromium(chosen.page, "--enable-logging=stderr", "--dump-dom")
    complaints = [
        line for line in done.stderr.splitlines() if "CONSOLE" in line and re.search(r"error|uncaught", line, re.I)
    ]
    drawn = len(re.findall(r'class="main-svg"', done.stdout))
    if complaints:
        sys.exit("errors in the console of the page:\n" + "\n".join(complaints))
    if not drawn:
        sys.exit(f"no figure was drawn on {chosen.page}")
    if chosen.screenshot:
        chromium(chosen.page, f"--screenshot={chosen.screenshot.resolve()}", "--window-size=1280,4000")
    print(f"{chosen.page}: {drawn} drawings, no errors in the console")


if __name__ == "__main__":
    main()

"""Open a page in headless Chromium, without a network: fail on words in its console, requests and missing figures."""

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
    spoken = [line for line in done.stderr.splitlines() if "CONSOLE" in line]  # a healthy page says nothing
    fetched = re.findall(r'<(?:script|link|img|iframe)[^>]*\s(?:src|href)="(?:https?:)?//[^"]*"', done.stdout)
    drawn = len(re.findall(r'class="main-svg"', done.stdout))
    if spoken:
        sys.exit("the page spoke in its console:\n" + "\n".join(spoken))
    if fetched:
        sys.exit("the page needs a network:\n" + "\n".join(fetched))
    if not drawn:
        sys.exit(f"no figure was drawn on {chosen.page}")
    if chosen.screenshot:
        chromium(chosen.page, f"--screenshot={chosen.screenshot.resolve()}", "--window-size=1280,4000")
    print(f"{chosen.page}: {drawn} drawings, a silent console, no requests")


if __name__ == "__main__":
    main()

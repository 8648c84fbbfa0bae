"""A page in headless Chromium: what it logs, how wide it is, what it draws, and what it looks like."""

import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_FRAME = '<!doctype html><body style="margin:0"><iframe src="{page}" width="{width}" height="{height}" frameborder="0">'
# Writes what it finds in the frame into its own document, for --dump-dom.
_WRAPPER = """</iframe>
<pre id="found"></pre><script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => setTimeout(() => {{
  const page = frame.contentDocument;
  const widest = [...page.querySelectorAll("body *")]
    .filter((e) => !e.closest(".scroll, pre, .plot") && e.getBoundingClientRect().right > {width} + 0.5)
    .map((e) => e.tagName + "." + e.className);
  document.getElementById("found").textContent = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    overflowing: widest,
    plots: page.querySelectorAll(".plot").length,
    drawn: page.querySelectorAll(".plot svg .trace").length,
    filled: [...page.querySelectorAll(".plot")].filter((plot) => plot.querySelector("svg .trace")).length,
    scripts: page.querySelectorAll("script").length,
    alerts: page.defaultView.alerted || 0,
    text: page.body.innerText,
    labels: [...page.querySelectorAll(".plot text")].map((label) => label.textContent),
  }});
}}, 1500));
</script>"""


@dataclass(frozen=True)
class Seen:
    """What the browser found."""

    width: int
    overflowing: list[str]
    plots: int
    drawn: int
    filled: int
    scripts: int
    alerts: int
    text: str
    labels: list[str]
    console: list[str]


def look(page: Path, width: int = 390) -> Seen:
    """Load a page in a frame of a width and say what is there."""
    with _served(page.parent) as address:
        wrapper = page.with_name("wrapper.html")
        wrapper.write_text((_FRAME + _WRAPPER).format(page=page.name, width=width, height=1200))
        options = ("--dump-dom", "--virtual-time-budget=20000", "--window-size=1400,1300")
        done = _chromium(f"{address}/wrapper.html", *options)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    if not found or not found[1]:
        raise RuntimeError(f"the browser found nothing: {done.stdout[-500:]} {done.stderr[-2000:]}")
    text = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    console = re.findall(r"CONSOLE.*?\] (.*)", done.stderr)
    return Seen(**json.loads(text), console=console)


def screenshot(page: Path, picture: Path, *, width: int = 1280, height: int = 1600, dark: bool = False) -> None:
    """Take a picture of a page. Chromium's own window is never narrower than 500 pixels: a frame is."""
    with _served(page.parent) as address:
        frame = page.with_name("frame.html")
        frame.write_text(_FRAME.format(page=page.name, width=width, height=height))
        options = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
        size = f"--window-size={max(width, 500)},{height}"
        _chromium(f"{address}/frame.html", f"--screenshot={picture}", "--virtual-time-budget=20000", size, *options)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _chromium(address: str, *options: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--enable-logging=stderr", "--no-first-run", f"--user-data-dir={profile}", *options, address,
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

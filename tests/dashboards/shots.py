"""Takes the pictures of the pages for the docs: `python tests/dashboards/shots.py --warehouse URI --out docs/images`.

Or `--url` of a running app instead of `--warehouse`. Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import Any

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = {"progress": "/", "runs": "/runs"}
READY = {
    "progress": ".mlw-fresh, #progress-leaderboard tbody tr",
    "runs": '.mlw-fresh, .ag-row [col-id="attributes.run_name"] .ag-cell-value',
}
SIZES = {"wide": (1440, 900), "laptop": (1280, 800), "phone": (390, 844)}


def shoot(url: str, out: Path, *, sizes: tuple[str, ...], schemes: tuple[str, ...], n_ticked: int = 3) -> list[Path]:
    """Write one PNG of the whole page per page, size and colour scheme; returns their paths."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    written = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for scheme in schemes:
            for size in sizes:
                width, height = SIZES[size]
                context: Any = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
                )
                page = context.new_page()
                for name, path in PAGES.items():
                    page.set_viewport_size({"width": width, "height": height})
                    page.goto(url.rstrip("/") + path)
                    page.wait_for_selector(READY[name], timeout=120_000)
                    page.wait_for_load_state("networkidle", timeout=120_000)
                    if name == "runs":
                        boxes = page.locator(".ag-row input[type=checkbox]:visible")
                        for i in range(min(n_ticked, boxes.count())):
                            boxes.nth(i).check()
                        if n_ticked and boxes.count():
                            page.wait_for_selector("#runs-curves .js-plotly-plot", timeout=120_000)
                    # The frame's sides are as high as the window, so the window takes the page's height.
                    page.set_viewport_size({"width": width, "height": page.evaluate("document.body.scrollHeight")})
                    page.wait_for_timeout(900)
                    target = out / f"{name}-{size}-{scheme}.png"
                    page.screenshot(path=target, full_page=True)
                    written.append(target)
                context.close()
        browser.close()
    return written


def main() -> None:
    """Read the arguments, serve the warehouse where none is served yet, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="address of a running app")
    where.add_argument("--warehouse", help="URI of a warehouse to serve meanwhile")
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNG files")
    parser.add_argument("--size", choices=[*SIZES], action="append", help="default: all")
    parser.add_argument("--scheme", choices=["light", "dark"], action="append", help="default: both")
    chosen = parser.parse_args()
    sizes, schemes = tuple(chosen.size or SIZES), tuple(chosen.scheme or ("light", "dark"))
    if chosen.url:
        written = shoot(chosen.url, chosen.out, sizes=sizes, schemes=schemes)
    else:
        from werkzeug.serving import make_server

        import mlwarehouse
        from mlwarehouse.dashboards.app import create_app

        app = create_app(mlwarehouse.Warehouse(chosen.warehouse))
        server = make_server("127.0.0.1", 0, app.server, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        written = shoot(f"http://127.0.0.1:{server.server_port}", chosen.out, sizes=sizes, schemes=schemes)
        server.shutdown()
        server.server_close()
    for path in written:
        print(path)


if __name__ == "__main__":
    main()

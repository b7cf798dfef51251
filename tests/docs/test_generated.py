"""The generated pages are what the code says now, and the whole documentation builds without a warning."""

from __future__ import annotations

import subprocess
import sys

from .pages import ROOT


def test_generated_pages_are_fresh():
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_check_finds_a_stale_page(tmp_path):
    program = (
        "import pathlib, sys, docs.generate as g; g.FOLDER = pathlib.Path(sys.argv[1]); g.write_pages(); "
        "page = g.FOLDER / 'settings.md'; page.write_text(page.read_text() + 'more'); sys.exit(g.main(['--check']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "docs/reference/settings.md is stale; run `python -m docs.generate` and commit the difference."
    ]


def test_the_documentation_builds_without_a_warning(tmp_path):
    places = [ROOT / "docs", tmp_path / "html"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", tmp_path / "trees", *places],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "html" / "reference" / "python.html").is_file()

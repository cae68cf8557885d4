"""Takes the picture of the report that the README shows, and writes docs/evidence/REPORT.md, which says of what it is.

Run it after a run of the claims on the reference model: it is of reports/claims.html. It needs Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.pages import evidence
from lib.judging.baselines import read_session

PICTURE = evidence.FOLDER / "report.png"
REPORT = evidence.ROOT / "reports" / "claims.html"
WIDTH, HEIGHT = 1280, 1000
PAGE = """# The report, as a browser shows it

The first screen of `reports/claims.html`.

![The claim report](report.png)
"""


def take(report: Path, picture: Path) -> None:
    """The first screen of a report, as Chromium shows it. Raises SystemExit where there is none."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("there is no Chromium to take the picture with: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        options += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}", report.as_uri()]
        subprocess.run([chromium, *options], check=True, capture_output=True, timeout=120)


def main() -> None:
    """Take the picture, and write the page that shows it."""
    take(REPORT, PICTURE)
    evidence.write("REPORT.md", PAGE, command="make docs", session=read_session(REPORT.with_suffix(".json")))


if __name__ == "__main__":
    main()

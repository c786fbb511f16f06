"""The report as a real browser lays it out."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from evaluation.report import write_report
from evaluation.scoring import Scoring, score_folder
from inference.phantom import phantom
from tests.evaluation.maps import write_map

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromium") is None, reason="no chromium here; apt-get install chromium"
    ),
]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
# Run in the page: what overlaps, what sticks out, what did not load.
PROBE = """
<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const boxes = [...document.querySelectorAll("h1, h2, h3, p, .card, .scroll, summary")]
    .map(e => [e.tagName + " " + e.textContent.slice(0, 30), e.getBoundingClientRect()])
    .filter(([_, r]) => r.width && r.height);
  const overlaps = [];
  boxes.forEach(([name, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
    if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1) overlaps.push([name, other]);
  }));
  const cells = [...document.querySelectorAll("th, td")];
  const report = {
    width: innerWidth,
    page: document.documentElement.scrollWidth,
    overlaps,
    boxes: boxes.length,
    clipped: cells.filter(c => c.scrollWidth > c.clientWidth + 1).map(c => c.textContent),
    images: [...document.images].map(i => i.naturalWidth),
    svg: document.querySelectorAll("svg").length,
  };
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = JSON.stringify(report);
});
</script>
"""


@pytest.fixture(scope="module", params=["official", "fixed"])
def report(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    for number in range(4):
        hu, truth = phantom(number, (48, 60, 64), (6.0, 6.0, 6.0))
        name = f"FLARE23Ts_{number:04d}_of_a_center_with_a_rather_long_name"
        write_map(hu, root / "images" / f"{name}_0000.nii.gz", (6.0, 6.0, 6.0))
        write_map(truth, root / "truth" / f"{name}.nii.gz", (6.0, 6.0, 6.0))
        if number:
            pred = np.roll(truth, number, 2)
            write_map(pred, root / "pred" / f"{name}.nii.gz", (6.0, 6.0, 6.0))
    scores = score_folder(Scoring(root / "truth", root / "pred", request.param))
    path = root / "report.html"
    write_report(scores, path, root / "truth", root / "pred", root / "images")
    return path


def laid_out(report, tmp_path, width, style=""):
    """Open the report in Chromium and return what `PROBE` found."""
    probed = tmp_path / "probed.html"
    text = report.read_text("utf-8")
    probed.write_text(text.replace("</body>", f"<style>{style}</style>{PROBE}</body>"), "utf-8")
    done = subprocess.run(
        [
            "chromium", *FLAGS, f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},2000", "--virtual-time-budget=5000", "--dump-dom",
            probed.as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    (told,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(html.unescape(told))


@pytest.mark.parametrize("width", [1280, 500])  # Chromium's window is no narrower than 500
def test_nothing_overlaps_or_sticks_out(report, tmp_path, width):
    found = laid_out(report, tmp_path, width)
    assert found["width"] == width
    assert found["page"] <= width, "the page scrolls sideways"
    assert found["boxes"] > 20
    assert found["overlaps"] == []
    assert found["clipped"] == []
    assert len(found["images"]) == 3 and min(found["images"]) > 900
    assert found["svg"] == 1


def test_the_probe_can_fail(report, tmp_path):
    broken = "h2 { margin-top: -5rem } .scroll { overflow: visible } table { width: 3000px }"
    found = laid_out(report, tmp_path, 1280, broken)
    assert found["overlaps"]
    assert found["page"] > 1280


def test_it_can_be_pictured(report, tmp_path):
    shot = tmp_path / "shot.png"
    subprocess.run(
        [
            "chromium", *FLAGS, f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1280,4000", f"--screenshot={shot}", report.as_uri(),
        ],
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    from PIL import Image

    gray = np.asarray(Image.open(shot).convert("L"))
    assert gray.shape == (4000, 1280)
    assert gray.min() < 40  # ink
    assert np.mean(gray > 250) > 0.3  # paper

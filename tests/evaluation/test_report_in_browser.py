"""The report as a real browser lays it out: on a wide screen, on a phone and on paper."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from evaluation.report import write_report
from evaluation.report.scene import Folders
from evaluation.scoring.folders import Scoring, score_folder
from tests.evaluation.sample_report import wobbled, write_case

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
SHAPE, SPACING_MM = (48, 60, 64), (6.0, 6.0, 6.0)
WIDE, PHONE, PAPER = 1280, 390, 964
"""CSS pixels; paper is US letter across, 255 mm between the margins, the narrower one."""
# Runs beside the page and looks into it: the page's own policy lets no script run inside.
PROBE = """
const textBoxes = "h1, h2, h3, p, .card, .scroll, .plots > div, figure, summary";
function named(element) {
  return element.tagName + " " + element.textContent.trim().slice(0, 40);
}
function shown(root, selector) {
  return [...root.querySelectorAll(selector)]
    .map(e => [e, e.getBoundingClientRect()]).filter(([_, r]) => r.width && r.height);
}
function overlaps(boxes) {
  const found = [];
  boxes.forEach(([e, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
    if (e.contains(other)) return;
    if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
      found.push([named(e) || e.id, named(other) || other.id]);
  }));
  return found;
}
function luminance(color) {
  const [r, g, b] = color.match(/[\\d.]+/g).map(x => x / 255)
    .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(element, view) {
  const ink = luminance(view.getComputedStyle(element).color);
  let paper = element;
  while (view.getComputedStyle(paper).backgroundColor === "rgba(0, 0, 0, 0)"
         && paper.parentElement) paper = paper.parentElement;
  const ground = luminance(view.getComputedStyle(paper).backgroundColor);
  return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
}
function lettering(svg) {  // matplotlib draws letters as paths 100 units high, and scales them
  return [...svg.querySelectorAll("g[id^=text_] g")]
    .map(g => 100 * g.getAttribute("transform").match(/scale\\(([\\d.]+)/)[1]);
}
function measured(frame) {
  const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement;
  const inFlow = shown(page.body, "*").filter(([e]) => !e.closest(".scroll > *, svg *"));
  const texts = shown(page.body, "*").filter(([e]) => !e.closest("svg")
    && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
  return {
    width: view.innerWidth,
    page: root.scrollWidth,
    boxes: shown(page, textBoxes).length,
    overlaps: overlaps(shown(page, textBoxes)),
    beyond: inFlow.filter(([_, r]) => r.right > view.innerWidth + 1 || r.left < -1)
      .map(([e]) => named(e)),
    svgs: shown(page, ".plots svg").map(([svg, r]) => ({
      overlaps: overlaps(shown(svg, "g[id^=text_]")),
      texts: shown(svg, "g[id^=text_]").length,
      inside: shown(svg, "g[id^=text_]").every(([_, t]) => t.left >= r.left && t.right <= r.right),
      smallest: r.width / svg.viewBox.baseVal.width * Math.min(...lettering(svg)),
    })),
    images: shown(page, "img").map(([img, r]) => ({
      natural: [img.naturalWidth, img.naturalHeight], size: [r.width, r.height], top: r.top,
    })),
    cells: shown(page, "td").length,
    marks: shown(page, "td.lowest").filter(([e]) =>
      parseFloat(view.getComputedStyle(e, "::before").borderTopWidth) >= 3).length,
    smallest: Math.min(...texts.map(([e]) => parseFloat(view.getComputedStyle(e).fontSize))),
    contrast: Math.min(...texts.map(([e]) => contrast(e, view))),
    scrolling: shown(page, ".scroll").filter(([e]) => e.scrollWidth > e.clientWidth + 1)
      .map(([e]) => e.getAttribute("aria-label")),
  };
}
addEventListener("load", () => setTimeout(() => {
  const found = [...document.querySelectorAll("iframe")].map(measured);
  const element = document.createElement("pre");
  element.id = "found";
  element.textContent = JSON.stringify(found);
  document.body.append(element);
}, 500));
"""


@pytest.fixture(scope="module", params=["official", "fixed"])
def report(request, tmp_path_factory):
    """Four cases, one of them without a prediction and one with a note."""
    root = tmp_path_factory.mktemp("page")
    folders = Folders(root / "truth", root / "pred", root / "images")
    for number in range(4):

        def pred(labels, number=number):
            labels[labels == number + 8] = 0
            return wobbled(labels, SPACING_MM, 2.0 + number, number) if number else None

        name = f"FLARE23Ts_{number:04d}" + "_of_a_center_with_a_rather_long_name" * (number == 2)
        write_case(folders, name, number, pred, SHAPE, SPACING_MM)
    scores = score_folder(Scoring(folders.truth, folders.pred, request.param))
    path = root / "report.html"
    write_report(scores, path, folders.truth, folders.pred, folders.images)
    return path


def chromium(tmp_path, *arguments):
    """Run Chromium with a profile of its own; return what it printed."""
    done = subprocess.run(
        ["chromium", *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *arguments],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def measure(text, widths, tmp_path):
    """Lay the page `text` out at each of `widths`, and say what PROBE finds."""
    frames = "".join(
        f'<iframe style="border:0;width:{width}px;height:900px" srcdoc="{html.escape(text)}">'
        "</iframe>"
        for width in widths
    )
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(f"<!doctype html>{frames}<script>{PROBE}</script>", "utf-8")
    dom = chromium(tmp_path, "--virtual-time-budget=5000", "--dump-dom", wrapper.as_uri())
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    return json.loads(html.unescape(found))


@pytest.fixture(scope="module")
def layouts(report, tmp_path_factory):
    """The page wide, on a phone, and by the rules for paper, with everything unfolded."""
    text = report.read_text("utf-8")
    tmp_path = tmp_path_factory.mktemp("browser")
    wide, phone = measure(text.replace("<details>", "<details open>"), (WIDE, PHONE), tmp_path)
    (paper,) = measure(text.replace("@media print", "@media all"), (PAPER,), tmp_path)
    return {WIDE: wide, PHONE: phone, PAPER: paper}


@pytest.mark.parametrize("width", [WIDE, PHONE, PAPER])
class TestLayout:
    def test_nothing_overlaps(self, layouts, width):
        found = layouts[width]
        assert found["boxes"] > 25
        assert found["overlaps"] == []

    def test_nothing_sticks_out(self, layouts, width):
        found = layouts[width]
        assert found["width"] == width
        assert found["page"] <= width, "the page scrolls sideways"
        assert found["beyond"] == []

    def test_plots_are_legible(self, layouts, width):
        for plot in layouts[width]["svgs"]:
            # 14 organs, 14 counts, 6 ticks, the axis's name
            assert plot["texts"] == 35
            assert plot["overlaps"] == []
            assert plot["inside"]
            assert plot["smallest"] >= 8  # CSS pixels
        assert len(layouts[width]["svgs"]) == 2

    def test_pictures_are_whole_and_not_distorted(self, layouts, width):
        images = layouts[width]["images"]
        assert len(images) == 3 * 3
        for image in images:
            scales = [a / b for a, b in zip(image["size"], image["natural"], strict=True)]
            assert scales[0] == pytest.approx(scales[1], rel=0.02)
            assert 0.6 < scales[0] <= 1.001

    def test_words_are_legible(self, layouts, width):
        assert layouts[width]["smallest"] >= (9 if width == PAPER else 11)
        assert layouts[width]["contrast"] >= 4.5  # WCAG 2, AA


def test_planes_beside_each_other_have_one_scale(layouts):
    for width in (WIDE, PAPER):
        images = layouts[width]["images"]
        for case in range(0, len(images), 3):
            scales = [image["size"][0] / image["natural"][0] for image in images[case : case + 3]]
            assert max(scales) - min(scales) < 0.01


def test_only_a_phone_needs_to_scroll_tables(layouts):
    assert layouts[WIDE]["scrolling"] == []
    assert "DSC by case and label" in layouts[PHONE]["scrolling"]


def test_paper_shows_what_is_folded_and_cuts_nothing(layouts):
    paper, wide = layouts[PAPER], layouts[WIDE]
    assert paper["cells"] == wide["cells"] > 4 * 14 * 2
    assert paper["marks"] == wide["marks"] >= 4 + 2 * 14
    assert paper["scrolling"] == []


def test_the_probe_itself_can_fail(tmp_path):
    text = """<!doctype html><body style="margin:0"><p style="color:#bbb;font-size:8px">one</p>
        <p style="margin-top:-20px;width:600px">two</p><td></td></body>"""
    (found,) = measure(text, (PHONE,), tmp_path)
    assert found["overlaps"] == [["P one", "P two"]]
    assert found["page"] == 600
    assert found["beyond"] == ["P two"]
    assert found["smallest"] == 8
    assert found["contrast"] < 2


def test_it_can_be_pictured(report, tmp_path):
    shot = tmp_path / "shot.png"
    chromium(tmp_path, f"--window-size={WIDE},4000", f"--screenshot={shot}", report.as_uri())
    gray = np.asarray(Image.open(shot).convert("L"))
    assert gray.shape == (4000, WIDE)
    assert gray.min() < 40  # ink
    assert np.mean(gray > 250) > 0.3  # paper

"""The page as a real browser draws it: pixels of organs, switches, no complaint, no request."""

import re

import numpy as np
import pytest
import SimpleITK as sitk

from imaging.label_maps import read_label_map
from imaging.organs import COLORS, ORGANS
from imaging.volumes import read_volume
from tests.viewer.browser import Browser, needs_chromium
from tests.viewer.cases import write_case
from viewer import write_page
from viewer.case import read_viewed

pytestmark = [pytest.mark.slow, needs_chromium]
WIDE, PHONE = (1280, 900), (390, 1700)
LARGE = ("liver", "spleen", "stomach", "left kidney", "right kidney")
NEAR = 6
"""By how much a painted pixel's colour may be off."""
START = "[...document.querySelectorAll('#slices input')].map(i => Number(i.value)).reverse()"
"""The cross in the copy, x, y, z."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def choose(browser, value):
    browser.run(f"document.querySelector('input[value=\"{value}\"]').click()")


def switch(browser, organ):
    browser.run(f"document.getElementById('organ-{ORGANS[organ]}').click()")


def opaque(browser):
    browser.run(
        "(() => { const slider = document.getElementById('opacity'); slider.value = 100;"
        "slider.dispatchEvent(new Event('input')); })()"
    )


def canvas(browser, name):
    """Return the pixels of a canvas as they are on the screen."""
    box = browser.run(
        f"(() => {{ const r = document.getElementById('{name}').getBoundingClientRect();"
        "return [r.top, r.bottom, r.left, r.right].map(Math.round); })()"
    )
    return browser.picture()[box[0] : box[1], box[2] : box[3]]


def mouse(browser, event, across, down, button="left", **more):
    """Send an event of the mouse at a share of the planes' width and height."""
    box = browser.run("document.getElementById('planes').getBoundingClientRect().toJSON()")
    browser.call(
        "Input.dispatchMouseEvent", type=event, button=button, clickCount=1,
        x=box["left"] + across * box["width"], y=box["top"] + down * box["height"], **more,
    )  # fmt: skip
    browser.picture()  # events wait for a frame


def planes(browser):
    """Return the pixels of the three planes: black where the surfaces lie."""
    pixels = canvas(browser, "planes").copy()
    pixels[pixels.shape[0] // 2 :, pixels.shape[1] // 2 :] = 0
    return pixels


def painted(pixels, color):
    """Return where [rows, columns] a colour is."""
    return (np.abs(pixels.astype(int) - color) <= NEAR).all(axis=2)


def hue(pixels, color):
    """Return where a surface of this colour may be: shaded, so only the ratio of RGB counts."""
    bright = pixels.max(axis=2)
    wanted = np.array(color) / max(color)
    shares = pixels / np.maximum(bright, 1)[..., np.newaxis]
    return (bright > 40) & (np.abs(shares - wanted) < 0.12).all(axis=2)


def cross(browser):
    return [int(place) for place in browser.run(START)]


@pytest.fixture(scope="class")
def drawn(browser, page):
    """The prediction alone, without lines, opaque."""
    browser.open(page, *WIDE)
    choose(browser, "0")
    opaque(browser)


@pytest.fixture(scope="class", params=[WIDE, PHONE], ids=["wide", "phone"])
def width(browser, page, request):
    """The page in a window of this width."""
    browser.events.clear()
    browser.open(page, *request.param)
    return request.param[0]


@pytest.mark.usefixtures("drawn")
class TestDrawing:
    def test_the_axial_plane_shows_every_organ_where_it_is(self, browser, paths):
        choose(browser, "axial")
        pixels = canvas(browser, "planes")
        choose(browser, "all")
        case = read_viewed(*paths)
        labels = case.maps["prediction"][case.box]
        mm_y, mm_x = case.grid.spacing_mm[1:]
        plane = labels[cross(browser)[2]]
        height, width = pixels.shape[:2]
        # As large as the canvas allows, in its middle; the patient's right is on the left.
        scale = min(width / (plane.shape[1] * mm_x), height / (plane.shape[0] * mm_y))
        seen = 0
        for organ in LARGE:
            rows, columns = np.nonzero(plane == ORGANS[organ])
            if rows.size < 20:
                continue
            found = painted(pixels, COLORS[ORGANS[organ]])
            area = rows.size * mm_x * mm_y * scale**2
            assert 0.5 * area < found.sum() <= area, organ  # edges are blurred
            x = width / 2 - ((columns + 0.5).mean() - plane.shape[1] / 2) * mm_x * scale
            y = height / 2 - ((rows + 0.5).mean() - plane.shape[0] / 2) * mm_y * scale
            at = np.argwhere(found).mean(axis=0)
            assert at == pytest.approx([y, x], abs=0.02 * width), organ
            seen += 1
        assert seen >= 3

    @pytest.mark.parametrize("organ", ["liver", "stomach"])
    def test_an_organ_is_switched_off_and_on(self, browser, organ):
        color = COLORS[ORGANS[organ]]
        before = painted(planes(browser), color).sum()
        solid = hue(canvas(browser, "surfaces"), color).sum()
        assert before > 300
        assert solid > 300
        switch(browser, organ)
        left = painted(planes(browser), color).sum()  # where others' edges are blurred
        assert left <= before / 100
        assert hue(canvas(browser, "surfaces"), color).sum() < solid / 10
        switch(browser, organ)
        assert painted(planes(browser), color).sum() == before

    def test_all_and_none(self, browser):
        color = COLORS[ORGANS["liver"]]
        browser.run("document.getElementById('none').click()")
        pixels = planes(browser)
        assert not any(painted(pixels, COLORS[ORGANS[organ]]).any() for organ in LARGE)
        assert (canvas(browser, "surfaces").max(axis=2) > 60).mean() < 0.05  # but the cube
        browser.run("document.getElementById('every').click()")
        assert painted(planes(browser), color).any()

    def test_the_surfaces_stand_as_the_patient_faces_us(self, browser):
        pixels = canvas(browser, "surfaces")
        liver, spleen = (
            np.argwhere(hue(pixels, COLORS[ORGANS[organ]])).mean(axis=0)
            for organ in ("liver", "spleen")
        )
        assert liver[1] < spleen[1]  # the patient's right is on the left

    def test_windows(self, browser):
        browser.run("document.getElementById('none').click()")
        means = {}
        for name in ("soft tissue", "lung", "bone"):
            choose(browser, name)
            means[name] = planes(browser).mean()
        # soft tissue near 40 HU: 0.5 of its window, 0.74 of the lung's, 0.27 of the bone's
        assert means["lung"] > 1.1 * means["soft tissue"] > 1.3 * means["bone"]
        choose(browser, "soft tissue")
        browser.run("document.getElementById('every').click()")

    def test_the_mouse(self, browser):
        """A click moves the cross, the wheel goes through slices, the right button windows."""
        choose(browser, "axial")
        place = cross(browser)
        mouse(browser, "mousePressed", 0.3, 0.4)
        mouse(browser, "mouseReleased", 0.3, 0.4)
        x, y, z = cross(browser)
        # 0.3 from the left is 0.7 of the way to the patient's right: of 52 voxels
        assert (x, z) == (pytest.approx(0.7 * 52, abs=2), place[2])
        assert y != place[1]
        mouse(browser, "mouseWheel", 0.3, 0.4, deltaX=0, deltaY=120)
        assert cross(browser)[:2] == [x, y]
        assert abs(cross(browser)[2] - z) == 1
        for event, at in (("mousePressed", 0.4), ("mouseMoved", 0.5), ("mouseReleased", 0.5)):
            mouse(browser, event, 0.5, at, button="right")
        assert not browser.run("document.querySelectorAll('[name=window]:checked').length")
        assert browser.run("document.getElementById('range').textContent") != "−160 to 240 HU"
        choose(browser, "soft tissue")
        assert browser.run("document.getElementById('range').textContent") == "−160 to 240 HU"
        choose(browser, "all")

    def test_the_truth_and_where_both_differ(self, browser, paths):
        prediction, truth = (read_label_map(path).labels for path in paths[1:])
        assert (prediction != truth).any()
        red, blue = COLORS[ORGANS["aorta"]], (64, 156, 255)
        first = painted(planes(browser), red)
        choose(browser, "1")
        second = painted(planes(browser), red)
        assert second.sum() > 50
        assert (first != second).any()
        choose(browser, "differences")
        pixels = planes(browser)
        assert painted(pixels, blue).sum() > 100
        assert painted(pixels, (255, 176, 0)).sum() > 100
        assert not painted(pixels, red).any()
        choose(browser, "both")
        lines = painted(planes(browser), (255, 255, 255)).sum()
        choose(browser, "0")
        assert painted(planes(browser), (255, 255, 255)).sum() < lines


class TestWords:
    @pytest.mark.parametrize(("order", "coarser"), [((0, 1, 2), False), ((2, 0, 1), True)])
    def test_the_cross_is_named_by_the_files_voxel(self, browser, tmp_path, order, coarser):
        """Wherever the axes of the file go, and where the copy is coarser."""
        paths = write_case(tmp_path, truth=False)
        for path in paths:
            image = sitk.PermuteAxes(sitk.ReadImage(str(path)), order)
            sitk.WriteImage(sitk.Flip(image, (False, True, False)), str(path))
        case = read_viewed(*paths)
        size = write_page(case, tmp_path / "page.html")
        if coarser:
            write_page(case, tmp_path / "page.html", size - 12_000)
        browser.open(tmp_path / "page.html", *WIDE)
        hu, labels = read_volume(paths[0]).hu, read_label_map(paths[1]).labels
        for organ in ("liver", "spleen", "left kidney"):
            browser.run(f"document.querySelector('[title=\"Go to {organ}\"]').click()")
            value, name, x, y, z = re.fullmatch(
                r"(-?\d+) HU · ([\w ]+) · voxel (\d+), (\d+), (\d+)",
                browser.run("document.getElementById('here').textContent"),
            ).groups()
            voxel = int(z), int(y), int(x)
            assert name == organ
            assert labels[voxel] == ORGANS[organ]
            assert coarser or abs(hu[voxel] - int(value)) <= 2

    def test_volumes_and_dsc(self, browser, page, paths):
        browser.open(page, *WIDE)
        rows = browser.run(
            "[...document.querySelectorAll('#organs tbody tr')]"
            ".map(row => [...row.cells].map(cell => cell.textContent))"
        )
        organs = read_viewed(*paths).organs
        assert [row[0] for row in rows] == list(ORGANS)
        for row, organ in zip(rows, organs, strict=True):
            if organ.dsc is not None:
                assert float(row[3]) == pytest.approx(organ.dsc, abs=6e-4)
                for shown, ml in zip(row[1:3], organ.volumes_ml, strict=True):
                    assert float(shown) == pytest.approx(ml, abs=0.51)


class TestPage:
    def test_it_fits(self, browser, width):
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.body.dataset.state") == "ready"
        stage = browser.run("document.getElementById('stage').getBoundingClientRect().toJSON()")
        assert 0 <= stage["left"] < stage["right"] <= width
        assert stage["width"] >= 0.6 * width
        assert quarters_with_something(canvas(browser, "planes")) == [0, 1, 2, 3]

    def test_every_control_is_reached_by_the_keyboard(self, browser, width):
        wanted = browser.run(
            "[...document.querySelectorAll('input:enabled, button:enabled, canvas, summary')]"
            ".filter(e => e.offsetParent && (e.type !== 'radio' || e.checked)).length"
        )
        reached = set()
        for _ in range(wanted + 5):
            for kind in ("keyDown", "keyUp"):
                browser.call(
                    "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab",
                    windowsVirtualKeyCode=9,
                )  # fmt: skip
            reached.add(
                browser.run(
                    "(e => [e.tagName, e.id, e.title, e.name].join())(document.activeElement)"
                )
            )
        assert wanted > 30
        assert len({one for one in reached if not one.startswith(("BODY", "PRE"))}) == wanted

    def test_every_control_has_a_name(self, browser, width):
        nameless = browser.run(
            "[...document.querySelectorAll('input, button, canvas')].filter(e => !("
            "e.labels?.[0]?.textContent.trim() || e.textContent.trim() || e.ariaLabel))"
            ".map(e => e.outerHTML)"
        )
        assert nameless == []

    def test_nothing_is_complained_of_and_nothing_asked_for(self, browser, page, width):
        for value in ("axial", "3D", "lung", "1", "differences", "both", "all"):
            choose(browser, value)
        browser.picture()
        assert browser.complaints() == []
        assert set(browser.requests()) == {page.as_uri()}


def quarters_with_something(pixels):
    """Which quarters of a canvas are not black: the fourth is where the surfaces lie."""
    rows, columns = (np.array_split(np.arange(count), 2) for count in pixels.shape[:2])
    parts = [pixels[np.ix_(row, column)] for row in rows for column in columns]
    return [number for number, part in enumerate(parts) if (part > 60).mean() > 0.02]


class TestFaults:
    def test_without_webgl_it_says_so(self, browser, page):
        code = "HTMLCanvasElement.prototype.getContext = () => null"
        added = browser.call("Page.addScriptToEvaluateOnNewDocument", source=code)
        browser.open(page, *WIDE)
        assert "this browser has no WebGL 2" in problem(browser)
        browser.call("Page.removeScriptToEvaluateOnNewDocument", **added)

    def test_another_script_is_not_run(self, browser, page, tmp_path):
        """The policy holds NiiVue's digest."""
        text = re.sub(r"'sha256-[^']+'(?=; style)", "'sha256-AAAA'", page.read_text("utf-8"))
        (tmp_path / "page.html").write_text(text, "utf-8")
        browser.open(tmp_path / "page.html", *WIDE)
        assert "NiiVue could not be started" in problem(browser)


def problem(browser):
    assert browser.run("document.body.dataset.state") == "failed"
    return browser.run("document.getElementById('problem').textContent")

"""The page as text: what is in it, what it may do, how large it is."""

import base64
import hashlib
import itertools
import json
import re
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from imaging.errors import GeometryError, KitError, VolumeError
from imaging.geometry import Grid
from imaging.label_maps import read_label_map
from imaging.organs import ORGANS
from imaging.volumes import read_volume
from tests.evaluation.maps import box, write_map
from tests.viewer.cases import write_case
from viewer import write_page
from viewer.case import read_viewed, shown_box
from viewer.linked import write_linked
from viewer.packing import TABLE_HU
from viewer.reduced import reduced

LIVER, SPLEEN = ORGANS["liver"], ORGANS["spleen"]


def element(text, name):
    (found,) = re.findall(rf'<script type="[\w/]+" id="{name}">(.*?)</script>', text, re.DOTALL)
    return found


def about(path):
    return json.loads(element(path.read_text("utf-8"), "case"))


def voxels_of(path, name):
    """The bytes of an element: labels as they are, the CT as differences."""
    data = base64.b64decode(element(path.read_text("utf-8"), name))
    z, y, x = reversed(about(path)["shape"])
    return np.frombuffer(zlib.decompress(data), np.uint8).reshape(z, y, x)


def ct_of(path):
    """The CT's HU: each voxel is stored as its difference to three that come before it."""
    codes = voxels_of(path, "ct").copy()
    for z, y, x in itertools.product(*(range(1, count) for count in codes.shape)):
        before = (codes[z, y, x - 1], codes[z, y - 1, x], codes[z - 1, y, x])
        codes[z, y, x] = (int(codes[z, y, x]) + sum(map(int, before)) // 3) % 256
    return TABLE_HU[codes]


class TestFile:
    def test_its_policy_allows_its_own_scripts_and_no_connection(self, page):
        text = page.read_text("utf-8")
        (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        digest = {
            name: base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
            for name, part in (("script", script), ("style", style))
        }
        pinned = bytes.fromhex("47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af")
        library = base64.b64encode(pinned).decode()
        assert rules == {
            "default-src": "'none'",
            "script-src": f"'sha256-{digest['script']}' 'sha256-{library}'",
            "style-src": f"'sha256-{digest['style']}'",
            "img-src": "data: blob:",
            "base-uri": "'none'",
            "form-action": "'none'",
        }

    def test_it_refers_to_nothing(self, page):
        text = page.read_text("utf-8")
        text = text.replace(element(text, "library"), "").replace(element(text, "ct"), "")
        assert not re.search(r"\b(src|href|action|srcset)=|@import|url\(", text)

    def test_the_same_case_gives_the_same_bytes(self, page, paths, tmp_path):
        size = write_page(read_viewed(*paths), tmp_path / "again.html")
        assert (tmp_path / "again.html").read_bytes() == page.read_bytes()
        assert size == page.stat().st_size

    def test_names_stay_text(self, tmp_path):
        name = '<img onerror=x>&"</script>'.replace("/", "∕")
        paths = write_case(tmp_path, name, truth=False)
        write_page(read_viewed(*paths), tmp_path / "page.html")
        text = (tmp_path / "page.html").read_text("utf-8")
        assert "<img" not in text
        assert about(tmp_path / "page.html")["name"] == name

    def test_it_cannot_be_written(self, paths, tmp_path):
        with pytest.raises(KitError, match="cannot write"):
            write_page(read_viewed(*paths), tmp_path / "none" / "page.html")
        assert list(tmp_path.iterdir()) == []

    def test_the_licences_are_in_it(self, page):
        assert "Copyright (c) 2021, Niivue" in page.read_text("utf-8")


class TestContent:
    def test_voxels_are_the_files_own(self, page, paths):
        found = about(page)
        start = [axis["start"] for axis in found["file"]]
        hu, labels = read_volume(paths[0]).hu, read_label_map(paths[1]).labels
        # the page's axes grow to Right, Anterior, Superior, the files' to Left, Posterior
        assert [axis["last"] >= 0 for axis in found["file"]] == [True, True, False]
        x, y, z = found["shape"]
        part = np.s_[
            start[2] : start[2] + z, start[1] : start[1] + y, start[0] : start[0] + x
        ]  # fmt: skip
        turned = [array[:, ::-1, ::-1][part] for array in (hu, labels)]
        assert (voxels_of(page, "map-0") == turned[1]).all()
        off = np.abs(ct_of(page) - np.clip(turned[0], -1024, 1520))
        assert off.max() <= 8
        assert off[(turned[0] > -160) & (turned[0] < 240)].max() <= 2

    def test_volumes_and_dsc_are_of_the_files(self, tmp_path):
        shape = (6, 8, 10)
        hu = np.arange(480, dtype=np.int16).reshape(shape)
        truth = box(shape, (0, 2), (0, 2), (0, 4), LIVER)
        pred = box(shape, (1, 3), (0, 2), (0, 4), LIVER) + box(shape, (4, 6), (4, 6), (4, 6), 17)
        for name, array in (("a_0000", hu), ("pred", pred), ("truth", truth)):
            write_map(array, tmp_path / f"{name}.nii.gz", (10.0, 10.0, 10.0))
        files = (tmp_path / f"{name}.nii.gz" for name in ("a_0000", "pred", "truth"))
        organs = {organ.name: organ for organ in read_viewed(*files).organs}
        assert list(organs) == [*ORGANS, "label 17"]
        # |A| = |B| = 16, |A and B| = 8  ->  2 * 8 / 32 = 1/2
        assert (organs["liver"].volumes_ml, organs["liver"].dsc) == ((16.0, 16.0), 0.5)
        assert (organs["label 17"].volumes_ml, organs["label 17"].dsc) == ((8.0, 0.0), None)
        assert (organs["spleen"].volumes_ml, organs["spleen"].dsc) == ((0.0, 0.0), None)

    def test_what_was_reduced_is_said(self, page, paths, tmp_path):
        notes = about(page)["notes"]
        assert notes[0] == "Voxels are the CT's own: 7 × 7 × 8 mm (x, y, z)."
        assert "HU are in steps of 4 from -160 to 240 and of 16 elsewhere" in notes[1]
        case = read_viewed(*paths)
        write_page(case, tmp_path / "small.html", page.stat().st_size - 20_000)
        notes = about(tmp_path / "small.html")["notes"]
        assert re.fullmatch(
            r"Shown at [\d.]+ × [\d.]+ × [\d.]+ mm \(x, y, z\); the CT has 7 × 7 × 8 mm\.", notes[0]
        )

    def test_warnings_about_the_ct_are_said(self, tmp_path):
        paths = write_case(tmp_path, truth=False)
        hu = read_volume(paths[0]).hu
        write_map((hu + 1024).astype(np.int16), paths[0], (8.0, 7.0, 7.0))
        case = read_viewed(*paths)
        assert case.warnings
        write_page(case, tmp_path / "page.html")
        assert about(tmp_path / "page.html")["notes"][-1] == case.warnings[-1]


class TestReading:
    @pytest.mark.parametrize("kind", ["nrrd", "mha"])
    def test_a_ct_in_another_format(self, paths, tmp_path, kind):
        sitk.WriteImage(sitk.ReadImage(str(paths[0])), str(tmp_path / f"a_0000.{kind}"))
        case, same = (read_viewed(ct, *paths[1:]) for ct in (tmp_path / f"a_0000.{kind}", paths[0]))
        assert (case.name, case.box, case.grid.shape) == (same.name, same.box, same.grid.shape)
        assert (case.hu == same.hu).all()
        assert case.organs == same.organs

    def test_a_map_of_another_ct_is_refused(self, paths, tmp_path):
        write_map(np.ones((3, 4, 5), np.uint8), tmp_path / "other.nii.gz")
        message = r"other.nii.gz: the map has 5×4×3 voxels, not 52×44×40; give a map of a_0000"
        with pytest.raises(GeometryError, match=message):
            read_viewed(paths[0], tmp_path / "other.nii.gz")
        with pytest.raises(GeometryError, match=message):
            read_viewed(paths[0], paths[1], tmp_path / "other.nii.gz")

    def test_a_file_that_is_missing(self, paths, tmp_path):
        with pytest.raises(VolumeError, match=r"none\.nii\.gz is missing; run predict first"):
            read_viewed(paths[0], tmp_path / "none.nii.gz")

    def test_the_part_that_is_shown(self):
        # 10 mm slices: three above and below the organs; all of the body in the slice
        grid = Grid((20, 40, 40), (10.0, 5.0, 5.0))
        hu = np.full(grid.shape, -1000, np.int16)
        hu[:, 8:32, 10:30] = 40
        maps = [
            box(grid.shape, (9, 11), (20, 22), (20, 22)),
            box(grid.shape, (10, 12), (3, 4), (20, 22)),
        ]
        z, y, x = shown_box(hu, maps, grid)
        assert (z.start, z.stop) == (6, 15)
        assert y.start == 3 < x.start < 10  # the second map lies outside of the body
        assert 30 < x.stop < 40
        whole = shown_box(hu, [np.zeros(grid.shape, np.uint8)], grid)
        assert (whole[0].start, whole[0].stop) == (0, 20)


class TestSize:
    def test_the_finest_copy_that_fits(self, paths):
        case = read_viewed(*paths)
        full = reduced(case, 10**9)
        assert full.spacing_mm == case.grid.spacing_mm
        sizes = []
        for share in (0.8, 0.4, 0.2):
            most = int(full.text_bytes * share)
            copy = reduced(case, most)
            assert most / 2 < copy.text_bytes <= most
            assert all(new >= old for new, old in zip(copy.spacing_mm, (8, 7, 7), strict=True))
            sizes.append(copy.text_bytes)
        assert sizes == sorted(sizes, reverse=True)

    def test_short_axes_are_reduced_first(self, tmp_path):
        case = read_viewed(
            *write_case(tmp_path, False, shape=(20, 60, 64), spacing_mm=(9.0, 5.0, 5.0))
        )
        z, y, x = reduced(case, reduced(case, 10**9).text_bytes // 2).spacing_mm
        assert z == 9
        assert 5 < x < 9
        assert x == pytest.approx(y, rel=0.05)

    def test_what_does_not_fit_at_all(self, paths):
        with pytest.raises(KitError, match="a: no copy of the CT fits into 100 bytes; crop the CT"):
            reduced(read_viewed(*paths), 100)


class TestLinked:
    def test_beside_a_report(self, paths, tmp_path):
        link = write_linked(tmp_path / "report.html", "a b", tuple(paths), ("new", "old"))
        assert (link.address, link.problem) == ("view/a%20b.html", None)
        assert about(tmp_path / "view" / "a b.html")["maps"] == ["new", "old"]

    def test_whatever_is_wrong_becomes_a_message(self, paths, tmp_path):
        none = tmp_path / "none.nii.gz"
        link = write_linked(tmp_path / "report.html", "a", (paths[0], none, paths[1]))
        assert link.address is None
        assert "none.nii.gz is missing" in link.problem
        assert list((tmp_path / "view").iterdir()) == []

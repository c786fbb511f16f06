"""The steps from a trained network to its archive, in order."""

import gzip
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evaluation.efficiency.archives import team_of
from evaluation.efficiency.protocol import Protocol
from evaluation.submission.archive import wrong_name
from evaluation.submission.check import CheckRequest
from evaluation.submission.rules import Submission
from imaging.digest import file_sha256
from imaging.errors import KitError
from imaging.files import make_folder, prepare_file, replacing
from imaging.organs import ORGANS
from imaging.records import write_json
from imaging.words import number_of
from inference.manifest import Manifest, load_manifest, verify_files
from inference.predictor import UNSEEN, Progress
from train.inventory.writing import LICENCES, SBOM
from train.package.context import (
    MANIFEST,
    copy_bundle,
    date_of,
    refuse_no_checkout,
    refuse_weights_elsewhere,
    write_context,
)
from train.package.image import (
    build_image,
    image_bytes,
    image_id,
    refuse_no_docker,
    save_archive,
)
from train.package.request import Outcome, Package, PackageRequest, Step
from train.package.rewriting import Rewritten

SCHEMA = 1
BUNDLE, CHECK = "bundle", "check"
"""Folders of the weights and of what the check found, in the work folder."""
WORKSPACE = "workspace"
"""The image's WORKDIR, from /."""
_MB = 1_000_000


@dataclass(frozen=True)
class Watcher:
    """What the steps tell whoever shows them."""

    check: Callable[[CheckRequest], Submission]
    """Checks the archive, and shows its rules."""
    say: Callable[[str], None] = lambda text: None
    """Called with the name of every step that takes long."""
    progress: Progress = UNSEEN
    """Called as labelled CTs are segmented, for 8-bit weights."""


def make_package(request: PackageRequest, watcher: Watcher) -> Package:
    """Export, quantize, build, save and check; write package.json at the end.

    The archive appears whole or not at all. It stays where a rule of the check fails.

    Raises:
        KitError: There is no Docker, no checkout, or a step cannot be done.
    """
    if problem := wrong_name(request.archive):
        raise KitError(f"{problem}: the organisers take the team's name from it")
    refuse_no_checkout(request.checkout)
    refuse_no_docker()
    prepare_file(request.archive)
    make_folder(request.work)
    steps = _Steps(request, watcher, team_of(request.archive), date_of(request.checkout))
    steps.export()
    steps.quantize()
    manifest = load_manifest(request.work / BUNDLE / MANIFEST)
    verify_files(manifest)
    steps.compare_labels(manifest)
    steps.build(manifest)
    saved = steps.save()
    steps.check()
    done = Package(request.archive, tuple(steps.rows))
    write_json(_record(done, steps.tag, manifest, request, saved), request.work / "package.json")
    return done


@dataclass
class _Steps:
    """The steps, each of which notes how it ended; it lasts from the one before it."""

    request: PackageRequest
    watcher: Watcher
    team: str
    epoch_s: int
    """Date of all that is made."""
    rows: list[Step] = field(default_factory=list)
    since_s: float = field(default_factory=time.monotonic)

    @property
    def tag(self) -> str:
        """The image's name and tag."""
        return f"{self.team}:latest"

    def _add(self, name: str, outcome: Outcome, found: str) -> None:
        now_s = time.monotonic()
        self.rows.append(Step(name, outcome, round(now_s - self.since_s, 1), found))
        self.since_s = now_s

    def export(self) -> None:
        """Make the bundle that is packaged; one that was given is copied, and stays as it is."""
        model, bundle = self.request.model, self.request.work / BUNDLE
        if (model / MANIFEST).is_file():
            given = load_manifest(model / MANIFEST)
            refuse_weights_elsewhere(given)
            verify_files(given)
            copy_bundle(given, bundle)
            self._add("export", "not asked for", f"{model} is a bundle: {given.name}")
            return
        from train.export.bundle import ExportRequest, export_bundle

        self.watcher.say("exporting the network")
        settings = {"threads": self.request.threads, **self.request.export}
        made = export_bundle(ExportRequest(model, bundle, **settings))
        name = load_manifest(made.manifest).name
        outcome: Outcome = "warning" if made.warnings else "done"
        self._add("export", outcome, "; ".join((name, *made.warnings)))

    def quantize(self) -> None:
        """Add 8-bit weights to the bundle, where CTs for them are given."""
        cases, threads = self.request.int8, self.request.threads
        if cases is None:
            self._add("quantize", "not asked for", "no --calibrate")
            return
        from train.export.int8 import add_int8

        self.watcher.say("making 8-bit weights")
        manifest, shown = self.request.work / BUNDLE / MANIFEST, self.watcher.progress
        gate = add_int8(manifest, cases.calibration, cases.images, cases.truth, threads, shown)
        dsc = f"mean DSC {gate.int8_dsc:.4f}, {gate.f32_dsc:.4f} before"
        self._add("quantize", "done", f"{dsc}, on {number_of(len(gate.cases), 'CT')}")

    def compare_labels(self, manifest: Manifest) -> None:
        """Say where the network's labels are not FLARE23's: the scorer looks at values only."""
        official = {value: name for name, value in ORGANS.items()}
        found = [
            f"{value} is {name!r}, in FLARE23 {official.get(value, 'nothing')!r}"
            for name, value in manifest.labels.items()
            if official.get(value) != name
        ]
        known = {*manifest.labels.values()}
        if missing := [name for value, name in official.items() if value not in known]:
            found.append(f"no {', '.join(missing)}")
        message = "; ".join(found) or f"the {len(official)} of FLARE23"
        self._add("labels", "warning" if found else "done", message)

    def build(self, manifest: Manifest) -> None:
        """Build the image from a folder that holds this bundle's weights and no others."""
        request, log = self.request, self.request.work / "build.log"
        before = image_id(self.tag)
        self.watcher.say(f"building the image {self.tag}; Docker's words go to {log}")
        try:
            with tempfile.TemporaryDirectory(prefix=".context-", dir=request.work) as folder:
                write_context(request.checkout, manifest, request.target, Path(folder))
                build_image(self.tag, Path(folder), manifest, request, self.epoch_s, log)
        except OSError as error:
            raise KitError(f"cannot write to {request.work}: {error.strerror}") from error
        size = f"{self.tag}, {image_bytes(self.tag) / _MB:,.0f} MB with its base"
        if before not in (None, image_id(self.tag)):
            size += f"; {str(before)[:19]} had this name before, it has none now"
        self._add("build", "done", size)

    def save(self) -> Rewritten:
        """Write the archive, and what the image says that it holds beside it."""
        archive = self.request.archive
        self.watcher.say("saving the archive")
        inside = {name: f"{WORKSPACE}/{name}" for name in (SBOM, LICENCES)}
        saved = save_archive(self.tag, archive, self.epoch_s, tuple(inside.values()))
        size = f"{archive.name}, {archive.stat().st_size / _MB:,.0f} MB"
        if missing := sorted({*inside.values()} - saved.found.keys()):
            raise KitError(
                f"the image has no /{missing[0]}, which the kit's Dockerfile makes; "
                f"{archive} was written"
            )
        texts = gzip.decompress(saved.found[inside[LICENCES]])
        sbom = saved.found[inside[SBOM]]
        beside = {f"{self.team}.cdx.json": sbom, f"{self.team}.licences.txt": texts}
        for name, content in beside.items():
            with replacing(archive.with_name(name)) as partial:
                partial.write_bytes(content)
        self._add("save", "done", f"{size}; {' and '.join(beside)} say what it holds")
        return saved

    def check(self) -> None:
        """Have the archive checked on CTs, where some are given."""
        cases, folder = self.request.cases, self.request.work / CHECK
        if cases is None:
            message = "no --cases: the image was never run"
            if folder.exists():
                message += f"; {folder} is of an earlier archive"
            self._add("check", "not asked for", message)
            return
        self.watcher.say("checking the archive")
        archive = str(self.request.archive)
        result = self.watcher.check(CheckRequest(archive, cases, folder, Protocol()))
        passed = sum(rule.status == "passed" for rule in result.results.values())
        message = f"{passed} of {len(result.results)} rules passed on {number_of(len(cases), 'CT')}"
        if result.failed:
            message += f", failed: {', '.join(result.failed)}"
        self._add("check", "failed" if result.failed else "done", message)


def _record(
    done: Package, tag: str, manifest: Manifest, request: PackageRequest, saved: Rewritten
) -> dict[str, Any]:
    """Return the content of package.json."""
    return {
        "schema": SCHEMA,
        "kind": "package",
        "archive": {
            "name": done.archive.name,
            "sha256": file_sha256(done.archive),
            "bytes": done.archive.stat().st_size,
            "tar_sha256": saved.tar_sha256,
            "zlib": zlib.ZLIB_RUNTIME_VERSION,
        },
        "image": {"tag": tag, "id": saved.image, "target": request.target},
        "manifest": {"name": manifest.name, "sha256": manifest.sha256},
        "steps": [asdict(step) for step in done.steps],
    }

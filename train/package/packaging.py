"""The steps from a trained network to its archive, in order."""

import gzip
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

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
CHECK = "check"
"""Folder of what the check found, in the work folder."""
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


@dataclass
class _Steps:
    """The steps so far; each lasts from the one before it."""

    rows: list[Step] = field(default_factory=list)
    since_s: float = field(default_factory=time.monotonic)

    def add(self, name: str, outcome: Outcome, found: str) -> None:
        now_s = time.monotonic()
        self.rows.append(Step(name, outcome, round(now_s - self.since_s, 1), found))
        self.since_s = now_s


def make_package(request: PackageRequest, watcher: Watcher) -> Package:
    """Export, quantize, build, save and check; write package.json at the end.

    The archive appears whole or not at all. It stays where a rule of the check fails.

    Raises:
        KitError: There is no Docker, no checkout, or a step cannot be done.
    """
    if problem := wrong_name(request.archive):
        raise KitError(f"{problem}: the organisers take the team's name from it")
    refuse_no_checkout(request.build.checkout)
    refuse_no_docker()
    prepare_file(request.archive)
    make_folder(request.work)
    steps = _Steps()
    manifest = _bundle(request, watcher, steps)
    _labels(manifest, steps)
    epoch_s = date_of(request.build.checkout)
    _build(request, manifest, epoch_s, watcher, steps)
    saved = _save(request, epoch_s, watcher, steps)
    _check(request, watcher, steps)
    done = Package(request.archive, tuple(steps.rows))
    _write_record(done, manifest, request, saved)
    return done


def _bundle(request: PackageRequest, watcher: Watcher, steps: _Steps) -> Manifest:
    """Make the bundle that is packaged; one that was given stays as it is."""
    bundle = request.work / "bundle"
    if (request.model / MANIFEST).is_file():
        given = load_manifest(request.model / MANIFEST)
        refuse_weights_elsewhere(given)
        verify_files(given)
        copy_bundle(given, bundle)
        steps.add("export", "not asked for", f"{request.model} is a bundle: {given.name}")
    else:
        from train.export.bundle import ExportRequest, export_bundle

        watcher.say("exporting the network")
        made = export_bundle(
            ExportRequest(
                model_folder=request.model,
                bundle=bundle,
                threads=request.threads,
                **request.export,
            )
        )
        name = load_manifest(made.manifest).name
        outcome: Outcome = "warning" if made.warnings else "done"
        steps.add("export", outcome, "; ".join((name, *made.warnings)))
    _quantize(request, bundle / MANIFEST, watcher, steps)
    manifest = load_manifest(bundle / MANIFEST)
    verify_files(manifest)
    return manifest


def _quantize(request: PackageRequest, manifest: Path, watcher: Watcher, steps: _Steps) -> None:
    if request.int8 is None:
        steps.add("quantize", "not asked for", "no --calibrate")
        return
    from train.export.int8 import add_int8

    watcher.say("making 8-bit weights")
    cases = request.int8
    gate = add_int8(
        manifest, cases.calibration, cases.images, cases.truth, request.threads, watcher.progress
    )
    dsc = f"mean DSC {gate.int8_dsc:.4f}, {gate.f32_dsc:.4f} before"
    steps.add("quantize", "done", f"{dsc}, on {number_of(len(gate.cases), 'CT')}")


def _labels(manifest: Manifest, steps: _Steps) -> None:
    """Say where the network's labels are not FLARE23's: the scorer looks at values only."""
    official = {value: name for name, value in ORGANS.items()}
    found = [
        f"{value} is {name!r}, in FLARE23 {official.get(value, 'nothing')!r}"
        for name, value in manifest.labels.items()
        if official.get(value) != name
    ]
    if missing := [
        name for value, name in official.items() if value not in {*manifest.labels.values()}
    ]:
        found.append(f"no {', '.join(missing)}")
    told = "; ".join(found) or f"the {len(official)} of FLARE23"
    steps.add("labels", "warning" if found else "done", told)


def _build(
    request: PackageRequest, manifest: Manifest, epoch_s: int, watcher: Watcher, steps: _Steps
) -> None:
    """Build the image from a folder that holds this bundle's weights and no others."""
    tag, log = f"{team_of(request.archive)}:latest", request.work / "build.log"
    before = image_id(tag)
    watcher.say(f"building the image {tag}; Docker's words go to {log}")
    try:
        with tempfile.TemporaryDirectory(prefix=".context-", dir=request.work) as folder:
            write_context(request.build.checkout, manifest, request.build.target, Path(folder))
            build_image(tag, Path(folder), manifest, request.build, epoch_s, log)
    except OSError as error:
        raise KitError(f"cannot write to {request.work}: {error.strerror}") from error
    size = f"{tag}, {image_bytes(tag) / _MB:,.0f} MB with its base"
    if before not in (None, image_id(tag)):
        size += f"; {str(before)[:19]} had this name before, it has none now"
    steps.add("build", "done", size)


def _save(request: PackageRequest, epoch_s: int, watcher: Watcher, steps: _Steps) -> Rewritten:
    """Write the archive, and what the image says that it holds beside it."""
    archive, team = request.archive, team_of(request.archive)
    watcher.say("saving the archive")
    inside = {name: f"{WORKSPACE}/{name}" for name in (SBOM, LICENCES)}
    saved = save_archive(f"{team}:latest", archive, epoch_s, tuple(inside.values()))
    size = f"{archive.name}, {archive.stat().st_size / _MB:,.0f} MB"
    if missing := sorted({*inside.values()} - saved.found.keys()):
        raise KitError(
            f"the image has no /{missing[0]}, which the kit's Dockerfile makes; "
            f"{archive} was written"
        )
    texts = gzip.decompress(saved.found[inside[LICENCES]])
    beside = {f"{team}.cdx.json": saved.found[inside[SBOM]], f"{team}.licences.txt": texts}
    for name, content in beside.items():
        with replacing(archive.with_name(name)) as partial:
            partial.write_bytes(content)
    steps.add("save", "done", f"{size}; {' and '.join(beside)} say what it holds")
    return saved


def _check(request: PackageRequest, watcher: Watcher, steps: _Steps) -> None:
    if request.cases is None:
        told = "no --cases: the image was never run"
        if (request.work / CHECK).exists():
            told += f"; {request.work / CHECK} is of an earlier archive"
        steps.add("check", "not asked for", told)
        return
    watcher.say("checking the archive")
    asked = CheckRequest(str(request.archive), request.cases, request.work / CHECK, Protocol())
    result = watcher.check(asked)
    passed = sum(rule.status == "passed" for rule in result.results.values())
    cts = number_of(len(request.cases), "CT")
    told = f"{passed} of {len(result.results)} rules passed on {cts}"
    if result.failed:
        told += f", failed: {', '.join(result.failed)}"
    steps.add("check", "failed" if result.failed else "done", told)


def _write_record(
    done: Package, manifest: Manifest, request: PackageRequest, saved: Rewritten
) -> None:
    tag = f"{team_of(done.archive)}:latest"
    table = {
        "schema": SCHEMA,
        "kind": "package",
        "archive": {
            "name": done.archive.name,
            "sha256": file_sha256(done.archive),
            "bytes": done.archive.stat().st_size,
            "tar_sha256": saved.tar_sha256,
            "zlib": zlib.ZLIB_RUNTIME_VERSION,
        },
        "image": {"tag": tag, "id": saved.image, "target": request.build.target},
        "manifest": {"name": manifest.name, "sha256": manifest.sha256},
        "steps": [asdict(step) for step in done.steps],
    }
    write_json(table, request.work / "package.json")

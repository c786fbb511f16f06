"""weights_manifest.json: everything that prediction needs to know about a network, with digests.

It is the contract between training and prediction: `train.export` writes it, `inference` reads it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from imaging.digest import file_sha256
from imaging.errors import KitError, ManifestError
from imaging.geometry import is_orientation
from imaging.records import Finite, Positive, PositiveInt, Share, read_table, to_record, write_json
from inference.onnx_file import other_files
from inference.sliding_window import Blending

SCHEMA = 1
PLAIN_CROPS = ("none", "nonzero", "body")
CROPS = (*PLAIN_CROPS, "organs")
INT8 = ("int8", "int8_weights")
"""Kinds of file: an OpenVINO network of 8-bit integers, which is two files."""
LOCALISER = "localiser"
"""Kind of file: the ONNX file of the localiser."""


@dataclass(frozen=True)
class WeightsFile:
    """One file of weights; `path` is relative to the manifest's folder."""

    path: str
    sha256: str
    bytes: int

    @classmethod
    def of(cls, file: Path, path: str) -> "WeightsFile":
        """Return the entry of `file`, which the manifest names by `path`.

        Raises:
            KitError: It cannot be read.
        """
        return cls(path, file_sha256(file), file.stat().st_size)


@dataclass(frozen=True)
class Intensity:
    """CT normalization: clip, then subtract and divide; in Hounsfield units."""

    clip_hu: tuple[Finite, Finite]
    mean_hu: Finite
    std_hu: Positive


@dataclass(frozen=True)
class WindowSpec:
    """How the network's patch is moved over a volume; axes (Z, Y, X)."""

    patch: tuple[PositiveInt, PositiveInt, PositiveInt]
    step: Positive
    blending: Blending
    tta: Literal["none", "shift", "finer", "scales", "flip-x", "full"]
    mirror_axes: tuple[int, ...]


@dataclass(frozen=True)
class ComponentRule:
    """Which connected components of a label are kept: the largest, or all of at least `min_ml`."""

    label: str
    keep: Literal["largest"] | None = None
    min_ml: Finite | None = None


@dataclass(frozen=True)
class LocaliserSpec:
    """How to use the small network that finds the organs' box; axes (Z, Y, X)."""

    spacing_mm: tuple[Positive, Positive, Positive]
    intensity: Intensity
    patch: tuple[PositiveInt, PositiveInt, PositiveInt]
    step: Positive
    margin_mm: Positive
    """Around everything that it finds."""
    least_certainty: Share
    """Below it the body's box is taken instead."""


@dataclass(frozen=True)
class Manifest:
    """A network and how to use it."""

    name: str
    files: dict[str, WeightsFile]
    """By format: "onnx", and perhaps the two of `INT8` and `LOCALISER`."""
    orientation: str | None
    spacing_mm: tuple[Positive, Positive, Positive]
    crop: str
    """Region of interest. "nonzero": the box of the voxels that are not 0, as in nnU-Net; "body":
    the box of the body; "organs": the box of the organs; "none": the whole CT."""
    intensity: Intensity
    window: WindowSpec
    labels: dict[str, int]
    """Names and values 1..K-1; the network has K outputs, the first is background."""
    postprocess: tuple[ComponentRule, ...]
    provenance: dict[str, Any]
    localiser: LocaliserSpec | None = None
    folder: Path = Path()
    sha256: str = ""
    """Digest of the manifest file itself; empty where it was not read from a file."""

    def weights(self, kind: str) -> Path:
        """Return the path of the weights in format `kind`.

        Raises:
            ManifestError: The manifest names no such file.
        """
        if kind not in self.files:
            known = ", ".join(sorted(self.files))
            raise ManifestError(f"manifest {self.name!r} has no {kind!r} weights; it has: {known}")
        return self.folder / self.files[kind].path

    def chosen(self, organs: tuple[str, ...]) -> dict[str, int]:
        """Return the labels that a run keeps, by name: those of `organs`, or all if it is empty.

        Capital letters do not count, and "right_kidney" is "right kidney".

        Raises:
            ManifestError: The network has no such label.
        """
        known = {_plain(name): name for name in self.labels}
        if odd := [name for name in organs if _plain(name) not in known]:
            raise ManifestError(
                f"the network {self.name!r} has no label {', '.join(odd)}; "
                f"it has: {', '.join(self.labels)}"
            )
        names = {known[_plain(name)] for name in organs} or {*self.labels}
        return {name: value for name, value in self.labels.items() if name in names}

    def of_localiser(self) -> "tuple[Manifest, LocaliserSpec]":
        """Return a manifest of the localiser itself, with its file as "onnx", and its settings.

        Raises:
            ManifestError: There is none.
        """
        spec = self.localiser
        if spec is None:
            raise ManifestError(
                f"manifest {self.name!r} has no localiser; use --crop body, or add one with "
                "`python -m train localiser`"
            )
        network = replace(
            self,
            files={"onnx": self.files[LOCALISER]},
            spacing_mm=spec.spacing_mm,
            crop="body",
            intensity=spec.intensity,
            window=WindowSpec(spec.patch, spec.step, "gaussian", "none", ()),
            postprocess=(),
            localiser=None,
        )
        return network, spec

    def with_onnx(self, path: Path) -> "Manifest":
        """Return this manifest with its ONNX file at `path`; size and digest stay as they are.

        The 8-bit network is left out: it was made from the manifest's own ONNX file.
        """
        files = {kind: file for kind, file in self.files.items() if kind not in INT8}
        place = replace(files["onnx"], path=str(path.absolute()))
        return replace(self, files={**files, "onnx": place})

    def write(self, path: Path) -> None:
        """Write the manifest file at `path`, whole or not at all."""
        table = {"schema": SCHEMA, **asdict(self)}
        del table["folder"], table["sha256"]
        if self.localiser is None:
            del table["localiser"]
        table["postprocess"] = [
            {key: value for key, value in rule.items() if value is not None}
            for rule in table["postprocess"]
        ]
        write_json(table, path, indent=2)


def _plain(name: str) -> str:
    return name.strip().replace("_", " ").casefold()


def load_manifest(path: Path) -> Manifest:
    """Read and check a manifest; the weights themselves are not read (see `verify_files`).

    Raises:
        ManifestError: It is missing, is not JSON, or does not match the schema.
    """
    where = f"manifest {path}"
    try:
        table, digest = read_table(path, "manifest")
        known = {"folder": path.parent, "sha256": digest}
        manifest = to_record(table, Manifest, where, head={"schema": SCHEMA}, known=known)
    except KitError as error:
        raise ManifestError(str(error)) from error
    for complaint in _complaints(manifest):
        raise ManifestError(f"{where}: {complaint}")
    return manifest


def _complaints(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong and types cannot express, with its key's path.

    `manifest.schema.json` beside this module says the same where a JSON Schema can.
    """
    values = [*manifest.labels.values()]
    turn, window = manifest.orientation, manifest.window
    yield from _complaints_of_files(manifest.files)
    yield from _complaints_of_intensity(manifest.intensity, "intensity")
    yield from _complaints_of_localiser(manifest)
    if not values or values != [*range(1, len(values) + 1)]:
        yield f"labels: values must be 1, 2, 3, … in order, found {values}"
    if turn is not None and not is_orientation(turn):
        yield f"orientation: {turn!r} is no orientation; three letters, such as LPS"
    if manifest.crop not in CROPS:
        yield f"crop: must be one of {', '.join(CROPS)}, found {manifest.crop!r}"
    if window.step > 1:
        yield f"window.step: must be in (0, 1], found {window.step:g}"
    if len({*window.mirror_axes} & {0, 1, 2}) < len(window.mirror_axes):
        yield f"window.mirror_axes: must be of 0, 1, 2, each once, found {[*window.mirror_axes]}"
    for number, rule in enumerate(manifest.postprocess):
        if rule.label not in manifest.labels:
            yield f"postprocess[{number}].label: {rule.label!r} is not in labels"
        if (rule.keep is None) == (rule.min_ml is None):
            yield f"postprocess[{number}]: a rule has either 'keep' or 'min_ml'"


def _complaints_of_intensity(intensity: Intensity, key: str) -> Iterator[str]:
    low_hu, high_hu = intensity.clip_hu
    if low_hu >= high_hu:
        yield f"{key}.clip_hu: the lower bound comes first, found {low_hu:g}, {high_hu:g}"


def _complaints_of_localiser(manifest: Manifest) -> Iterator[str]:
    spec = manifest.localiser
    if spec is not None:
        yield from _complaints_of_intensity(spec.intensity, "localiser.intensity")
        if spec.step > 1:
            yield f"localiser.step: must be in (0, 1], found {spec.step:g}"
    elif manifest.crop == "organs":
        yield "crop: 'organs' needs a localiser, found none"
    if (spec is None) != (LOCALISER not in manifest.files):
        yield f"localiser and files.{LOCALISER} are a pair, found one alone"


def _complaints_of_files(files: Mapping[str, WeightsFile]) -> Iterator[str]:
    if "onnx" not in files:
        yield "files: an 'onnx' file is needed"
    if len(found := {*INT8} & {*files}) == 1:
        yield f"files: {' and '.join(INT8)} are a pair, found {found.pop()!r} alone"
    for kind, file in files.items():
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts:
            yield f"files.{kind}.path: {file.path!r} leaves the manifest's folder"


def checked_weights(manifest: Manifest, kind: str) -> Path:
    """Return the manifest's file in format `kind`, which is there, unchanged and self-contained.

    Raises:
        ManifestError: It is missing, its size or digest differs, or it is an ONNX file that reads
            weights from another file, of which the manifest has no digest.
    """
    path = manifest.weights(kind)
    _verify_file(path, manifest.files[kind])
    if kind not in ("onnx", LOCALISER):
        return path
    try:
        others = other_files(path)
    except (OSError, ValueError) as error:
        raise ManifestError(f"weights {path}: not a readable ONNX file ({error})") from error
    if others:
        raise ManifestError(
            f"weights {path} read others from {', '.join(others)}, of which the manifest has no "
            "digest; save the network as one file"
        )
    return path


def _verify_file(path: Path, expected: WeightsFile) -> None:
    if not path.is_file():
        raise ManifestError(f"weights {path} are missing; put the file there or give --weights")
    found = path.stat().st_size
    if found != expected.bytes:
        raise ManifestError(f"weights {path}: {found} bytes, the manifest says {expected.bytes}")
    if (digest := file_sha256(path)) != expected.sha256:
        raise ManifestError(f"weights {path}: sha256 {digest}, the manifest says {expected.sha256}")


def verify_files(manifest: Manifest) -> None:
    """Check every file of `manifest` as `checked_weights` does."""
    for kind in manifest.files:
        checked_weights(manifest, kind)

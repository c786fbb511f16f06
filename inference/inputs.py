"""Find the CTs in what a user names: a file, a folder of any mix, a DICOM tree, a .zip.

The challenge's convention, `<case>_0000.nii.gz` in a folder, is in `inference.pipeline`.
"""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imaging.dicom.files import dicom_files, looks_like_dicom
from imaging.dicom.series import Series, needing_pydicom
from imaging.errors import KitError
from imaging.files import passed_over_message
from imaging.formats import case_of, suffix_of
from imaging.words import number_of
from inference.ct import Source

READ = ".nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd, DICOM, or a .zip of DICOM files"
_WITH_DETACHED = (".mhd", ".nhdr")
_DETACHED = (".raw", ".zraw", ".raw.gz", ".img", ".gz", ".bz2")
"""Endings of the voxels that such a header names."""
_MOST_LISTED = 20


@dataclass
class Inputs:
    """What was found."""

    cases: dict[str, Source] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    """Files and folders that are no case, by path below the inputs, and why."""
    series: list[Series] = field(default_factory=list)
    """All DICOM series, those left out among them."""

    def add(self, case: str, source: Source) -> None:
        """Add a case.

        Raises:
            KitError: There is another of that name.
        """
        if other := self.cases.get(case):
            raise KitError(
                f"{_described(other)} and {_described(source)} would both be case {case}; "
                "rename one or move it elsewhere"
            )
        self.cases[case] = source


@contextmanager
def found_inputs(
    inputs: Path, outputs: Path | None = None, wanted: tuple[str, ...] = ()
) -> Iterator[Inputs]:
    """Yield the CTs of a file or folder; a .zip is unpacked until the end of the block.

    Args:
        inputs: What the user named.
        outputs: Where results go; nothing is looked for there.
        wanted: SeriesInstanceUIDs or series numbers; if given, only these are cases.

    Raises:
        KitError: There is no CT, two of one name, or not what is wanted.
    """
    if not inputs.exists():
        raise KitError(f"{inputs} does not exist; give a CT or a folder of CTs")
    with tempfile.TemporaryDirectory(prefix="flare23-") as unpacked:
        found = Inputs()
        if inputs.is_dir():
            _look_in_folder(inputs, outputs, found, Path(unpacked))
        else:
            _look_at_file(inputs, found, Path(unpacked))
        if wanted:
            found.cases = _requested(found.series, wanted, inputs)
        if not found.cases:
            raise KitError(_nothing(inputs, found))
        yield found


@contextmanager
def one_ct(path: Path) -> Iterator[Source]:
    """Yield the one CT of a file, a DICOM folder or a .zip.

    Raises:
        KitError: There is none, or there are several.
    """
    with found_inputs(path) as found:
        if len(found.cases) > 1:
            named = ", ".join(list(found.cases)[:_MOST_LISTED])
            raise KitError(f"{path} holds {len(found.cases)} CTs ({named}); give one of them")
        (source,) = found.cases.values()
        yield source


def _look_at_file(path: Path, found: Inputs, unpacked: Path) -> None:
    if suffix_of(path.name):
        found.add(case_of(path.name), path)
    elif path.suffix.lower() == ".zip":
        _look_in_folder(_unzipped(path, unpacked), None, found, unpacked)
    elif looks_like_dicom(path):
        _add_series([path], path, found)
    else:
        raise KitError(f"{path} is no CT; {READ} is read")


def _look_in_folder(folder: Path, outputs: Path | None, found: Inputs, unpacked: Path) -> None:
    dicom, other = dicom_files(folder, outputs)
    beside = [path for path in other if path.parent == folder]
    names = [path.name for path in beside]
    archives = []
    for path in beside:
        if suffix_of(path.name):
            _add_file(path, names, found)
        elif path.suffix.lower() == ".zip":
            archives.append(path)
        elif not _is_detached(path.name, names):
            found.passed_over[path.name] = "no CT"
    for below in sorted(path for path in folder.iterdir() if path.is_dir()):
        if below.name[0] != "." and (outputs is None or below.resolve() != outputs.resolve()):
            _look_below(below, dicom, other, found)
    if dicom:
        _add_series(dicom, folder, found)
    for path in archives:
        _look_in_folder(_unzipped(path, unpacked), None, found, unpacked)


def _add_file(path: Path, names: list[str], found: Inputs) -> None:
    """Add a file as a case, unless it is nnU-Net's second channel of another."""
    case = case_of(path.name)
    stem, _, channel = case.rpartition("_")
    first = f"{stem}_0000{path.name.removeprefix(case)}"
    if not case:
        found.passed_over[path.name] = "no case's name"
    elif len(channel) == 4 and channel.isdigit() and first in names:
        found.passed_over[path.name] = "a further channel"
    else:
        found.add(case, path)


def _is_detached(name: str, names: list[str]) -> bool:
    """Tell whether a file may hold the voxels of a header beside it."""
    stems = (case.rpartition(".")[0] for case in names if case.lower().endswith(_WITH_DETACHED))
    return any(name == stem + ending for stem in stems for ending in _DETACHED)


def _look_below(folder: Path, dicom: list[Path], other: list[Path], found: Inputs) -> None:
    """Name what is in a folder of the inputs and is no DICOM file."""
    mine = [path for path in other if path.is_relative_to(folder)]
    if any(path.is_relative_to(folder) for path in dicom):
        for path in mine:
            found.passed_over[str(path.relative_to(folder.parent))] = "no DICOM file"
        return
    count = sum(1 for path in mine if suffix_of(path.name))
    more = f"; give it as INPUTS for its {number_of(count, 'CT')}" if count else ""
    found.passed_over[folder.name] = f"a folder without DICOM files{more}"


def _add_series(files: list[Path], root: Path, found: Inputs) -> None:
    """Add every CT series as a case, a faulty one too: it fails with its reason."""
    with needing_pydicom():
        from imaging.dicom.scan import find_series
    series, passed = find_series(files, root)
    above = root if root.is_dir() else root.parent
    found.passed_over |= {
        str(Path(name).relative_to(above)): reason for name, reason in passed.items()
    }
    found.series += series
    for one in series:
        if one.left_out is None:
            found.add(one.name, one)


def _unzipped(path: Path, unpacked: Path) -> Path:
    """Unpack a .zip; return the folder, which has its name.

    Raises:
        KitError: It is damaged or encrypted, or there is no space.
    """
    folder = unpacked / path.name.removesuffix(path.suffix)
    try:
        with zipfile.ZipFile(path) as archive:
            needed = sum(member.file_size for member in archive.infolist())
            free = shutil.disk_usage(unpacked).free
            if needed > free:
                raise KitError(
                    f"{path.name} unpacks to {needed >> 20} MiB, {unpacked.parent} has "
                    f"{free >> 20} MiB; set TMPDIR to a folder with more space"
                )
            archive.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
        raise KitError(f"{path.name}: damaged .zip ({error}); copy it again") from error
    except RuntimeError as error:  # zipfile's, for a password
        raise KitError(f"{path.name}: an encrypted .zip; unpack it first") from error
    folder.mkdir(exist_ok=True)  # an empty archive makes none
    return folder


def _requested(series: list[Series], wanted: tuple[str, ...], inputs: Path) -> dict[str, Source]:
    """Return the series that `--series` names."""
    cases: dict[str, Source] = {}
    for name in wanted:
        found = [one for one in series if name in (one.uid, str(one.number))]
        if not found:
            known = [f"{one.number} ({one.description})" for one in series[:_MOST_LISTED]]
            listed = f": {', '.join(known)}" if known else " no DICOM files"
            raise KitError(f"no series {name} in {inputs}; there are{listed}")
        cases |= {one.name: one for one in found}
    return cases


def _nothing(inputs: Path, found: Inputs) -> str:
    """Say that there is no CT, and what there is."""
    left_out = [f"{one.name} ({one.left_out})" for one in found.series[:_MOST_LISTED]]
    parts = [f"{inputs} holds no CT; {READ} is read"]
    if left_out:
        parts.append(f"DICOM series left out: {', '.join(left_out)}")
    if found.passed_over:
        parts.append(passed_over_message(found.passed_over, inputs))
    return "; ".join(parts)


def _described(source: Source) -> str:
    """Name a source in a message."""
    if isinstance(source, Path):
        return source.name
    return f"the DICOM series in {source.folder.name}"

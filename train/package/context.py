"""What Docker builds the image from: the kit's files, and the weights of one bundle only."""

import os
import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath

from imaging.errors import KitError
from inference.engines import plan_folder
from inference.manifest import Manifest
from train.package.request import TARGETS

KIT = (
    *("Dockerfile", ".dockerignore", "LICENSE", "predict.sh"),
    *("imaging", "inference", "train/inventory"),
)
"""Of the checkout; beside these the image gets `WEIGHTS`, and what its lock file names."""
WEIGHTS, MANIFEST, PARITY = "weights", "weights_manifest.json", "parity.json"
_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)
_GIT_S = 60.0
_EPOCH = "SOURCE_DATE_EPOCH"
"""https://reproducible-builds.org/specs/source-date-epoch/."""


def refuse_no_checkout(checkout: Path) -> None:
    """Refuse a folder that no image can be built from.

    Raises:
        KitError: Files of the kit are missing in it.
    """
    missing = [name for name in (*KIT, *TARGETS.values()) if not (checkout / name).exists()]
    if missing:
        raise KitError(
            f"{checkout} is no checkout of the kit (no {', '.join(missing)}): an installed kit "
            "has no Dockerfile; clone the kit and give its folder with --checkout"
        )


def refuse_weights_elsewhere(manifest: Manifest) -> None:
    """Refuse a manifest with files outside of weights/, which is all that the image takes.

    Raises:
        KitError: There is one.
    """
    for kind, file in manifest.files.items():
        if PurePosixPath(file.path).parts[:1] != (WEIGHTS,):
            raise KitError(
                f"files.{kind}.path of manifest {manifest.name!r} is {file.path}, the image takes "
                f"{WEIGHTS}/ only; move the file there and write so in the manifest"
            )


def copy_bundle(bundle: Manifest, folder: Path) -> None:
    """Copy a manifest, the files that it names, and the plans for GPUs that lie beside them.

    Raises:
        KitError: A file cannot be read or written.
    """
    if folder.exists() and folder.samefile(bundle.folder):
        return
    plans = plan_folder(bundle)
    paths = [bundle.folder / MANIFEST, *map(bundle.weights, bundle.files)]
    paths += [path for path in (bundle.folder / PARITY, plans) if path.exists()]
    try:
        for path in paths:
            _copy(path, folder / path.relative_to(bundle.folder))
    except (OSError, shutil.Error) as error:
        raise KitError(f"cannot copy {bundle.folder} to {folder}: {error}") from error


def write_context(checkout: Path, bundle: Manifest, target: str, folder: Path) -> None:
    """Write the build context into an empty folder: the kit, and the weights of `bundle` only.

    Args:
        checkout: Whose kit is taken.
        bundle: Whose weights are taken.
        target: One of `TARGETS`; plans for GPUs go into "gpu" only.
        folder: The folder.

    Raises:
        KitError: A file cannot be read or written.
    """
    copy_bundle(bundle, folder)
    try:
        (folder / PARITY).unlink(missing_ok=True)
        if target != "gpu":
            shutil.rmtree(folder / plan_folder(bundle).relative_to(bundle.folder), True)
        for name in (*KIT, TARGETS[target]):
            _copy(checkout / name, folder / name)
        for path in folder.rglob("*"):  # any user of the container must be able to read it
            path.chmod(0o755 if path.is_dir() else 0o644)
    except (OSError, shutil.Error) as error:
        raise KitError(f"cannot write the build context {folder}: {error}") from error


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def version_of(checkout: Path) -> str:
    """Return the kit's version; "" where its file does not say it."""
    found = _VERSION.search((checkout / "imaging" / "__init__.py").read_text(encoding="utf-8"))
    return found.group(1) if found else ""


def revision_of(checkout: Path) -> str:
    """Return the commit of a checkout, with "+changes" where the kit's files differ from it.

    "" where git does not know it.
    """
    commit = _git(checkout, "rev-parse", "HEAD")
    if not commit:
        return ""
    changed = _git(checkout, "status", "--porcelain", "--", *KIT, "locks")
    return f"{commit}+changes" if changed else commit


def date_of(checkout: Path) -> int:
    """Return the date of an image's files, in seconds since 1970.

    It is SOURCE_DATE_EPOCH where the environment has it, else the date of the commit; 0 where git
    does not know it.

    Raises:
        KitError: SOURCE_DATE_EPOCH is no such number.
    """
    requested = os.environ.get(_EPOCH)
    if requested is None:
        return int(_git(checkout, "log", "-1", "--format=%ct") or 0)
    if not (requested.isascii() and requested.isdigit()):
        raise KitError(f"{_EPOCH} is {requested!r}; give seconds since 1970, or unset it")
    return int(requested)


def _git(checkout: Path, *arguments: str) -> str:
    """Return what git says; "" where it fails."""
    command = ["git", "-C", str(checkout), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=_GIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

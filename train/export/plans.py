"""Read a network's description from an nnU-Net result folder; refuse what inference cannot do."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from imaging.errors import KitError
from imaging.geometry import is_orientation
from imaging.records import read_table
from inference.engines import one_line
from inference.manifest import Intensity

# nnU-Net's readers by name -> where the axes are brought before the network sees them.
_ORIENTATIONS: dict[str, str | None] = {
    "SimpleITKIO": None,
    "NibabelIO": None,
    "NibabelIOWithReorient": "RAS",
}
_NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")
_SKIMAGE_RESAMPLING = "resample_data_or_seg_to_shape"
_TORCH_RESAMPLING = ("resample_torch_fornnunet", "resample_torch_simple")
_MIN_STD = 1e-8  # CTNormalization divides by no less
_T = TypeVar("_T")
Table = Mapping[str, Any]
"""Content of a JSON file, or a part of it."""


@dataclass(frozen=True)
class Architecture:
    """The network's class and its arguments, as in the plans."""

    class_path: str
    arguments: dict[str, Any]
    imported_arguments: tuple[str, ...]


@dataclass(frozen=True)
class PlannedModel:
    """All that prediction needs from `plans.json` and `dataset.json`.

    `patch` and `spacing_mm` are in the image's own (Z, Y, X) order. The network takes its axes in
    the order `axes_in_network`: axis i of its input is axis `axes_in_network[i]` of the image.
    """

    dataset: str
    plans: str
    configuration: str
    architecture: Architecture
    axes_in_network: tuple[int, int, int]
    patch: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: str | None
    intensity: Intensity
    labels: dict[str, int]
    warnings: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """Number of the network's output channels, background included."""
        return len(self.labels) + 1


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        KitError: The file is missing, unreadable or not an object.
    """
    try:
        return read_table(path, "file")[0]
    except KitError as error:
        raise KitError(f"{error}; is it an nnU-Net result folder?") from error


def planned_model(
    plans: Table, dataset: Table, configuration: str, resolved: Table
) -> PlannedModel:
    """Gather what prediction needs.

    Args:
        plans: The content of `plans.json`.
        dataset: The content of `dataset.json`.
        configuration: Name of the configuration that was trained.
        resolved: That configuration with its inheritance resolved.

    Raises:
        KitError: The model uses a setting that inference cannot keep, or a key is missing or bad.
    """
    with _named("dataset.json lacks", "was it written for nnU-Net v2?"):
        _refuse_several_channels(dataset)
        labels = _labels(dataset["labels"])
    where = f"configuration {configuration!r}: the plans lack"
    with _named(where, "was the folder written by nnU-Net v2?"):
        _refuse_unsupported(plans, configuration, resolved)
        forward = _permutation(plans["transpose_forward"])
        intensity = _intensity(plans, resolved)
        architecture = _architecture(resolved["architecture"])
        _refuse_odd_patch(resolved["patch_size"], architecture.arguments["strides"])
        reader, reader_warnings = _reader(plans, dataset)
        return PlannedModel(
            dataset=str(plans["dataset_name"]),
            plans=str(plans["plans_name"]),
            configuration=configuration,
            architecture=architecture,
            axes_in_network=forward,
            patch=_untransposed([int(n) for n in resolved["patch_size"]], forward),
            spacing_mm=_untransposed([float(s) for s in resolved["spacing"]], forward),
            orientation=_orientation(plans, reader),
            intensity=intensity,
            labels=labels,
            warnings=(*reader_warnings, *_resampling_warnings(resolved)),
        )


@contextmanager
def _named(where: str, question: str) -> Iterator[None]:
    """Say what was wrong in one line: files of others are wrong in ways that nobody can list."""
    try:
        yield
    except KitError:
        raise
    except Exception as error:
        raise KitError(f"{where} or garble {one_line(error)}; {question}") from error


def _refuse_unsupported(plans: Table, configuration: str, resolved: Table) -> None:
    axes = len(resolved["patch_size"])
    if axes != 3:
        raise KitError(
            f"configuration {configuration!r} is {axes}-D; inference slides 3-D windows only: "
            "export a 3d configuration"
        )
    previous = resolved.get("previous_stage")
    if previous is not None:
        raise KitError(
            f"configuration {configuration!r} is a cascade and needs the labels of {previous!r} as "
            "input, which inference does not make: export 3d_fullres or 3d_lowres"
        )
    for key, holder, expected in (
        ("preprocessor_name", resolved, "DefaultPreprocessor"),
        ("label_manager", plans, "LabelManager"),
    ):
        found = holder.get(key, expected)
        if found != expected:
            raise KitError(
                f"{key} {found!r} is not nnU-Net's own {expected}; inference cannot repeat it"
            )


def _architecture(entry: Table) -> Architecture:
    class_path = str(entry["network_class_name"])
    if class_path.rpartition(".")[2] not in _NETWORKS:
        raise KitError(f"network {class_path!r} is not one of {', '.join(_NETWORKS)}")
    return Architecture(class_path, dict(entry["arch_kwargs"]), tuple(entry["_kw_requires_import"]))


def _permutation(axes: list[int]) -> tuple[int, int, int]:
    if sorted(axes) != [0, 1, 2]:
        raise KitError(f"transpose_forward {axes} is not a permutation of three axes")
    return axes[0], axes[1], axes[2]


def _untransposed(values: list[_T], forward: tuple[int, int, int]) -> tuple[_T, _T, _T]:
    """Bring values in the network's order of axes to the image's (Z, Y, X)."""
    z, y, x = (values[forward.index(axis)] for axis in range(3))
    return z, y, x


def _refuse_odd_patch(patch: list[int], strides: list[int | list[int]]) -> None:
    """Refuse a patch that the network halves to no whole number of voxels: it cannot join them."""
    steps = [[stage] * len(patch) if isinstance(stage, int) else stage for stage in strides]
    total = [math.prod(axis) for axis in zip(*steps, strict=True)]
    if any(voxels % step for voxels, step in zip(patch, total, strict=True)):
        raise KitError(
            f"patch_size {patch} is not a multiple of {total}, the product of the network's "
            "strides; give the patch that it was trained with"
        )


def _refuse_several_channels(dataset: Table) -> None:
    is_old = "modality" in dataset and "channel_names" not in dataset  # nnU-Net takes v1's too
    channels = dataset["modality" if is_old else "channel_names"]
    if len(channels) != 1:
        raise KitError(
            f"the network takes {len(channels)} channels ({', '.join(map(str, channels.values()))})"
            "; inference reads one CT a case"
        )


def _intensity(plans: Table, resolved: Table) -> Intensity:
    (scheme,) = resolved["normalization_schemes"]
    if scheme != "CTNormalization":
        raise KitError(
            f"normalization {scheme!r}: inference clips and scales Hounsfield units by fixed "
            "numbers only; train with the channel named 'CT' (CTNormalization)"
        )
    properties = plans["foreground_intensity_properties_per_channel"]["0"]
    names = ("percentile_00_5", "percentile_99_5", "mean", "std")
    low, high, mean, std = (float(properties[name]) for name in names)
    if not (math.isfinite(low + high + mean + std) and low < high):
        found = ", ".join(f"{name} {properties[name]}" for name in names)
        raise KitError(
            f"the plans' intensities of the foreground are not those of a CT: {found}; "
            "plan the dataset again"
        )
    return Intensity((low, high), mean, max(std, _MIN_STD))


def _reader(plans: Table, dataset: Table) -> tuple[str, tuple[str, ...]]:
    """Name the reader nnU-Net predicts with: the plans' own; the dataset's where they name none."""
    requested = dataset.get("overwrite_image_reader_writer", "None")
    reader = plans.get("image_reader_writer") or requested
    if reader not in _ORIENTATIONS:
        raise KitError(
            f"image reader {reader!r} is unknown here, so the axes' order would be a guess; "
            f"supported: {', '.join(_ORIENTATIONS)}"
        )
    if requested not in ("None", reader):
        return reader, (f"dataset.json asks for {requested}, the plans were made with {reader}",)
    return reader, ()


def _orientation(plans: Table, reader: str) -> str | None:
    """Return how the network takes axes: as the kit's own training noted, or as the reader does."""
    noted = plans.get("orientation")
    if noted is None:
        return _ORIENTATIONS[reader]
    if not (isinstance(noted, str) and is_orientation(noted)):
        raise KitError(f"orientation {noted!r} in the plans is none; three letters such as LPS")
    return noted


def _labels(entries: Table) -> dict[str, int]:
    """Give every foreground label's value; the network has one output for each, in this order."""
    if entries and all(isinstance(name, str) for name in entries.values()):
        raise KitError(
            f"dataset.json gives its labels as nnU-Net v1 did ({dict(entries)}); give them as v2 "
            "does, names first"
        )
    labels: dict[str, int] = {}
    for name, entry in entries.items():
        values = entry if isinstance(entry, list) else [entry]
        if len(values) != 1:
            raise KitError(
                f"label {name!r} is a region of the values {values}; inference takes the highest "
                "logit and knows no overlapping regions: train with plain labels"
            )
        if name not in ("background", "ignore"):
            labels[name] = int(values[0])
    labels = dict(sorted(labels.items(), key=lambda item: item[1]))
    if list(labels.values()) != list(range(1, len(labels) + 1)):
        raise KitError(f"labels {labels} are not the values 1 to {len(labels)} without a gap")
    return labels


def _resampling_warnings(resolved: Table) -> tuple[str, ...]:
    """Say where the training's resampling differs from inference's linear one."""
    found = []
    for what in ("data", "probabilities"):
        function = resolved[f"resampling_fn_{what}"]
        settings = resolved[f"resampling_fn_{what}_kwargs"]
        if function not in (_SKIMAGE_RESAMPLING, *_TORCH_RESAMPLING):
            raise KitError(f"resampling {function!r} of {what} is not one inference can stand for")
        order = settings.get("order", 3) if function == _SKIMAGE_RESAMPLING else 1
        separate = settings.get("force_separate_z", False)
        if order != 1:
            found.append(f"{what}: trained with order {order}; inference resamples linearly")
        if separate or separate is None:
            when = "always" if separate else "where spacing is anisotropic"
            found.append(f"{what}: z apart {when} in training; inference resamples linearly in 3-D")
    return tuple(found)

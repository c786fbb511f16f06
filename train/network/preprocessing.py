"""Fingerprint, plan and preprocess with nnU-Net, but with the kit's resampler for images.

nnU-Net looks for resampling functions in its own package only. It runs any preprocessor that it is
handed, though, so training and prediction can share `imaging.resampling`.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
    DatasetFingerprintExtractor,
)
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
    ExperimentPlanner,
)
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from numpy.typing import NDArray

from imaging.errors import KitError
from imaging.geometry import Shape
from imaging.resampling import resample_linear
from train.network.naming import CONFIGURATION, DATASET, PLANS
from train.network.nnunet import read_spec
from train.network.parent_process import end_with_parent
from train.network.planning import write_plans
from train.progress import PREPARED, StageProgress, say

_LEAST_S = 1.0
"""Between two lines of progress of one process."""
_told_s = 0.0
Floats = NDArray[np.float32]
Preprocessed = tuple[Floats, NDArray[Any], dict[str, Any]]


def prepare_entry() -> None:
    """Prepare a raw dataset; arguments: the work folder, the number of processes."""
    work, processes = Path(sys.argv[1]), int(sys.argv[2])
    spec = read_spec(work)
    DatasetFingerprintExtractor(DATASET, processes).run(overwrite_existing=True)
    ExperimentPlanner(
        DATASET,
        plans_name=PLANS,
        overwrite_target_spacing=list(spec.spacing_mm),
        suppress_transpose=True,
    ).plan_experiment()
    try:
        write_plans(spec, work / "preprocessed" / spec.dataset / f"{PLANS}.json")
    except KitError as error:
        sys.exit(str(error))
    LinearPreprocessor(verbose=False).run(DATASET, CONFIGURATION, PLANS, processes)


class LinearPreprocessor(DefaultPreprocessor):  # type: ignore[misc]
    """Reads, crops, normalizes and resamples as nnU-Net does; images linearly, by the kit."""

    def run_case_save(self, *arguments: Any) -> None:
        """Write one case; the pool's process that does it shall not outlive the pool's owner."""
        end_with_parent()
        super().run_case_save(*arguments)
        output, dataset = Path(arguments[0]), arguments[-1]
        global _told_s  # every process of nnU-Net's pool gets a preprocessor a case
        if time.monotonic() - _told_s >= _LEAST_S:  # counted at every case, it were cases squared
            _told_s = time.monotonic()
            done = len(list(output.parent.glob("*.pkl")))  # each case's notes: written last
            say(StageProgress(PREPARED, done, dataset["numTraining"]))

    def run_case_npy(
        self,
        data: Floats,
        seg: NDArray[Any] | None,
        properties: dict[str, Any],
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        dataset_json: dict[str, Any],
    ) -> Preprocessed:
        """Return image [1, Z, Y, X], labels [1, Z, Y, X] and what nnU-Net notes of the case."""
        linear = _LinearConfiguration(configuration_manager.configuration)
        done: Preprocessed = super().run_case_npy(
            data, seg, properties, plans_manager, linear, dataset_json
        )
        return done


class _LinearConfiguration(ConfigurationManager):  # type: ignore[misc]
    @property
    def resampling_fn_data(self) -> Any:
        return _resample


def _resample(data: Floats, shape: Shape, *_spacings: object) -> Floats:
    size = int(shape[0]), int(shape[1]), int(shape[2])
    return np.stack([resample_linear(channel, size) for channel in data])

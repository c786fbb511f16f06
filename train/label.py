"""Label a recipe's real CTs with an external source: the paper's step for unlabelled cases."""

from pathlib import Path

from inference.errors import KitError
from inference.manifest_reader import load_manifest
from inference.pipeline import SUFFIX
from inference.predictor import Settings
from inference.screen import predict_on_screen
from train.recipe import Recipe


def label_cases(recipe: Recipe, data: Path, work: Path, teacher: Path, weights: Path) -> None:
    """Write the teacher's labels of every case of `recipe` into `work`/pseudo.

    Args:
        recipe: Names the cases.
        data: Folder with ct/.
        work: Folder of the run.
        teacher: The external network's manifest.
        weights: Its ONNX file.

    Raises:
        KitError: A case could not be labelled.
    """
    cases = {case: data / "ct" / f"{case}{SUFFIX}" for case in recipe.cases}
    manifest = load_manifest(teacher).with_onnx(weights)
    report = predict_on_screen(cases, work / "pseudo", manifest, Settings(precision="f32"))
    report.write(work / "pseudo" / "run.json")
    if report.failed:
        failed = ", ".join(case.case for case in report.failed)
        raise KitError(f"the teacher could not label {failed}; see {work / 'pseudo' / 'run.json'}")

"""nnU-Net's own prediction, as a baseline: `python -m benchmarks.baseline MODEL INPUTS OUTPUTS`."""

import os
import sys
from pathlib import Path

import click

from train.network.nnunet import ROOT

_TORCH_RESAMPLING = {
    "is_seg": False,
    "force_separate_z": False,
    "memefficient_seg_resampling": False,
}


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("inputs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("outputs", type=click.Path(path_type=Path))
@click.option("--tuned", is_flag=True, help="As fast as nnU-Net goes by its own means.")
@click.option("--step", default=0.5, show_default=True)
@click.option("--compiled/--eager", help="torch.compile, with --tuned.")
def main(
    model: Path, inputs: Path, outputs: Path, tuned: bool, step: float, compiled: bool
) -> None:
    """Label INPUTS with an nnU-Net model folder, on the CPU, without mirroring."""
    os.environ.setdefault("nnUNet_extTrainer", str(ROOT / "train" / "network" / "trainers"))
    if tuned:
        _tuned(model, inputs, outputs, step, compiled)
        return
    from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder

    folders = ["-i", str(inputs), "-o", str(outputs), "-m", str(model), "-f", "all"]
    sys.argv[1:] = [*folders, "-device", "cpu", "--disable_tta", "-step_size", str(step)]
    predict_entry_point_modelfolder()


def _tuned(model: Path, inputs: Path, outputs: Path, step: float, compiled: bool) -> None:
    """Torch's resampling, bfloat16 autocast, one process; each an option that nnU-Net offers."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    predictor = nnUNetPredictor(
        tile_step_size=step, use_mirroring=False, perform_everything_on_device=False,
        device=torch.device("cpu"), allow_tqdm=False,
    )  # fmt: skip
    predictor.initialize_from_trained_model_folder(str(model), ("all",))
    plans = predictor.configuration_manager.configuration
    for what in ("data", "probabilities"):
        plans[f"resampling_fn_{what}"] = "resample_torch_fornnunet"
        plans[f"resampling_fn_{what}_kwargs"] = _TORCH_RESAMPLING
    network = predictor.network
    if compiled:
        predictor.network = torch.compile(network)
    with torch.autocast("cpu", torch.bfloat16):
        predictor.predict_from_files_sequential(
            str(inputs), str(outputs), save_probabilities=False, overwrite=True
        )


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.baseline")

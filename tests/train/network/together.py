"""Train one network in two processes that stand for two cards: `together.py RANK WORK`.

Everything but the card is real: nnU-Net's trainer in its distributed form, torch's averaging of
gradients (gloo in the place of NCCL), the kit's batches and checkpoints. On stdout: patches and sum
of each batch that this process drew, and a digest of its weights in the end.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.train.training import trainer_of
from train.network.nnunet import read_spec

rank, work = int(sys.argv[1]), Path(sys.argv[2])
distributed.init_process_group(
    "gloo", init_method=f"file://{work / 'meet'}", rank=rank, world_size=2
)
drawn = []
with trainer_of(read_spec(work), work) as trainer:
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    module.DDP = lambda network, device_ids: DistributedDataParallel(network)
    trainer.device, trainer.grad_scaler = torch.device("cpu"), None
    inner = trainer.train_step

    def train_step(batch):
        """Take a step, and note its batch."""
        drawn.append([batch["data"].shape[0], float(batch["data"].sum())])
        return inner(batch)

    trainer.train_step = train_step
    trainer.run_training()
    weights = b"".join(value.numpy().tobytes() for value in trainer.network.state_dict().values())
sys.stdout.write(json.dumps({"drawn": drawn, "weights": hashlib.sha256(weights).hexdigest()}))
distributed.destroy_process_group()

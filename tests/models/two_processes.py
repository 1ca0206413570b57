"""Run by torchrun: train on every process, then print the number of different weights and of data orders."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bbmr_models.training import loop
from bbmr_models.training.distributed import distributed_context
from bbmr_models.training.lossless.pool import load_pool
from tests.models.training_parts import CONFIG, TRAINING

folder, run = (Path(argument) for argument in sys.argv[1:])
torch.set_num_threads(1)
states: list[Any] = []
start = loop.load_or_create


def kept_start(*arguments: Any) -> Any:
    states.append(start(*arguments))
    return states[-1]


loop.load_or_create = kept_start
with distributed_context("cpu") as context:
    pool = load_pool(folder, 64, 1, 0)
    loop.train(pool, CONFIG, replace(TRAINING, steps=3, decay_share=0.0), run, context)
    model, order = states[0].model, states[0].data.generator.get_state()
    weights = torch.cat([value.flatten() for value in model.parameters()])
    digests = [
        hashlib.sha256(part.numpy().tobytes()).hexdigest() for part in context.all_gather(weights.detach())
    ]
    orders = [hashlib.sha256(part.numpy().tobytes()).hexdigest() for part in context.all_gather(order)]
    if context.is_main:
        print(f"weights {len(set(digests))} orders {len(set(orders))}")

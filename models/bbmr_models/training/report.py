"""Progress of a run: a bar on a terminal, plain lines elsewhere, `log.jsonl` and TensorBoard.

Every process has a report; only that of the main process is enabled.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from torch import Tensor

from bbmr_shared.errors import UsageError

from .validation import Gains

PLAIN_EVERY_S = 30.0
SPEED_OVER_S = 0.5


class Report:
    """A context manager: call `add` every step, `show` when the loss has been read, `log` after a validation."""

    def __init__(self, run: Path, enabled: bool = True, tensorboard: bool = False) -> None:
        self._enabled = enabled
        self._log = run / "log.jsonl"
        self._console = Console(highlight=False, soft_wrap=True)
        self._board = _board(run) if enabled and tensorboard else None
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._progress = Progress(*columns, console=self._console, disable=not self._on_terminal)
        self._task = self._progress.add_task("training", total=1.0, text="")
        self._sum: Tensor | float = 0.0
        self._count = 0
        self._mark = self._plain = time.monotonic()
        self._crops: int | None = None
        self._speed = 0.0

    def __enter__(self) -> Report:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def add(self, loss: Tensor) -> None:
        """Add the loss of a step. It stays on the device."""
        self._sum, self._count = self._sum + loss.detach(), self._count + 1

    def show(self, step: int, crops: int, share: float, left_s: float, stage: str) -> None:
        """Move the bar, or print a line every 30 seconds where there is no terminal. `crops` counts all processes."""
        now = time.monotonic()
        if self._crops is None or crops < self._crops:
            self._mark, self._crops = now, crops
        elif now - self._mark > SPEED_OVER_S:
            speed = (crops - self._crops) / (now - self._mark)
            self._speed = 0.7 * self._speed + 0.3 * speed if self._speed else speed
            self._mark, self._crops = now, crops
        text = f"step {step} · {self._speed:.1f} samples/s · loss {self._loss():.4f} · {_clock(left_s)} left"
        if self._on_terminal:
            self._progress.update(self._task, completed=min(1.0, share), text=text, description=stage)
        elif self._enabled and now - self._plain > PLAIN_EVERY_S:
            self._plain = now
            self.print_line(f"{stage} {100 * share:.0f} % · {text}")

    def log(self, step: int, crops: int, seconds: float, learning_rate: float, gain_db: Gains) -> None:
        """Write a line of the log: the mean loss since the last line, gains and speed."""
        if not self._enabled:
            return
        numbers = {
            "step": step,
            "crops": crops,
            "minutes": round(seconds / 60, 2),
            "loss": round(self._loss(), 6),
            "learning_rate": float(f"{learning_rate:.3g}"),
            "samples_per_s": round(self._speed, 1),
        }
        with self._log.open("a") as handle:
            handle.write(json.dumps({**numbers, "gain_db": gain_db}) + "\n")
        parts = [f"{key}={value:g}" for key, value in numbers.items()]
        parts += [f"{name}={'/'.join(f'{gain:.2f}' for gain in three)}" for name, three in gain_db.items()]
        self.print_line(" ".join(parts))
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)
            for name, three in gain_db.items():
                for kind, value in zip(("psnr_y", "psnr_weighted", "psnr_rgb"), three, strict=True):
                    self._board.add_scalar(f"{kind}/{name}", value, step)
        self._sum, self._count = 0.0, 0

    def print_line(self, text: str) -> None:
        """Print one line, above the bar if there is one."""
        if self._enabled:
            self._console.print(text, markup=False)

    @property
    def _on_terminal(self) -> bool:
        return self._enabled and self._console.is_terminal

    def _loss(self) -> float:
        return float(self._sum) / max(1, self._count)


def _board(run: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError(
            "--tensorboard needs tensorboard: pip install '.[tensorboard]' in a checkout"
        ) from None
    return SummaryWriter(run / "tensorboard")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

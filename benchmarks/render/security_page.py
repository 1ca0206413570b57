"""The tables of docs/security.md: every limit of `bbmr_shared.limits`, and the largest pictures."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from bbmr_shared import limits
from benchmarks.common import table

UNITS = (("GiB", limits.GIB), ("MiB", limits.MIB), ("KiB", limits.KIB))
IN_BYTES = ("bytes", "references", "step")
"""Parts of the names of limits in bytes."""


def sections(results: Path) -> dict[str, str]:
    """Return marker → Markdown. Results that do not exist are left out."""
    worst = results / "worst.md"
    return {"limits": limits_table(), "worst": worst.read_text() if worst.is_file() else ""}


def limits_table() -> str:
    """Return every limit with its value and docstring: fields of `Limits` first, then the fixed ones."""
    rows = [[f"`{name}`", _shown(name, value), what] for name, value, what in all_limits()]
    return table([["limit", "value", "of what"], *rows])


def all_limits() -> list[tuple[str, float, str]]:
    """Return name, value and docstring of every limit."""
    tree = ast.parse(Path(limits.__file__).read_text())
    fields = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    defaults = limits.DEFAULT_LIMITS
    return [
        *((name, getattr(defaults, name), what) for name, what in _described(fields.body)),
        *((name, getattr(limits, name), what) for name, what in _described(tree.body) if name not in SHORT),
    ]


SHORT = ("KIB", "MIB", "GIB", "DEFAULT_LIMITS")


def _described(nodes: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield every assigned name and the docstring after it. Consecutive names share the last docstring."""
    for at, node in enumerate(nodes):
        if isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            behind = (other for other in nodes[at:] if isinstance(other, ast.Expr))
            text = next(
                (str(expr.value.value) for expr in behind if isinstance(expr.value, ast.Constant)), ""
            )
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            for name in names:
                yield ast.unparse(name), " ".join(text.split())


def _shown(name: str, value: float) -> str:
    if any(part in name.lower() for part in IN_BYTES) and "per_pixel" not in name.lower():
        for unit, size in UNITS:
            if value % size == 0:
                return f"{value // size} {unit}"
    return f"{int(value):,}"

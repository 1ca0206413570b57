"""The rows, gains and costs of every backbone for the paper's table, assembled from results as plain values."""

from __future__ import annotations

import statistics
from typing import Any

from bbmr_models.jointsr import JointSRConfig
from bbmr_models.weights import read
from benchmarks.render.rescaling_pages import EQUAL_BYTES, METRICS, SAME_CONTAINER, gain
from benchmarks.speed.flops import configuration, parameters, picture_flops, rise

BASE = "light"
"""The model whose results also hold bicubic's rows."""
NETWORK = ("network uniform", "network block-based", EQUAL_BYTES[1])
BICUBIC = ("bicubic uniform", "bicubic block-based", EQUAL_BYTES[0])
BASELINE = "uniform, trained for uniform ×{rate} alone"
CLAIM = {"mean_db": 1.5, "best_db": 1.97}
"""The gain of block-based rates in the paper, on average and at best (Li & Zhou, AAAI 2025)."""


def assemble(
    results: dict[str, dict[str, Any]], baseline: list[dict[str, Any]], pixels: dict[str, tuple[int, int]]
) -> dict[str, Any]:
    """Return everything that the page shows, as plain values."""
    groups = [(mean["set"], mean["rate"]) for mean in results[BASE]["means"]]
    configs = {
        name: JointSRConfig.from_dict(result["config"])
        if "config" in result
        else configuration(result["model"])
        for name, result in results.items()
    }
    costs: dict[tuple[str, tuple[int, int]], dict[str, int]] = {}

    def flops(model: str, group: str) -> dict[str, float]:
        names = sorted({p["picture"] for p in results[model]["pictures"] if p["set"] == group})
        counted = []
        for size in (pixels[name] for name in names):
            if (model, size) not in costs:
                costs[model, size] = picture_flops(configs[model], *size)
            counted.append(costs[model, size])
        return {part: statistics.fmean(count[part] for count in counted) for part in counted[0]}

    by_set = {
        model: {group: flops(model, group) for group in sorted({group for group, _ in groups})}
        for model in results
    }
    rows = [row for group in groups for row in _rows(results, baseline, *group)]
    return {
        "claim": CLAIM,
        "models": {
            model: {
                "config": configs[model].to_dict(),
                "parameters": parameters(configs[model]),
                "notes": result["notes"] if "notes" in result else read(result["model"])[1].notes,
                "flops": by_set[model],
                "rise": round(rise(picture_flops(configs[model], 2048, 1365)), 4),
            }
            for model, result in results.items()
        },
        "rows": rows,
        "gains": [
            _gain(result, model, results[BASE], *group)
            for model, result in results.items()
            for group in groups
        ],
        "against": [
            _against(results, other, *group, by_set) for other in results if other != BASE for group in groups
        ],
        "against_baseline": _against_baseline(rows),
        "uniform_only": baseline,
    }


def _rows(
    results: dict[str, dict[str, Any]], baseline: list[dict[str, Any]], group: str, rate: int
) -> list[dict[str, Any]]:
    """Return the rows of one set and rate: bicubic, then every model, then the baseline."""
    rows = []
    for model, result in results.items():
        conditions = _mean(result, group, rate)["conditions"]
        for name in (*BICUBIC, *NETWORK) if model == BASE else NETWORK:
            of = "bicubic" if name in BICUBIC else model
            rows.append(
                {"set": group, "rate": rate, "model": of, "condition": _bare(name), **conditions[name]}
            )
    chosen = [row for row in baseline if (row["set"], row["rate"]) == (group, rate)]
    if chosen:
        means = {key: statistics.fmean(row[key] for row in chosen) for key in (*METRICS, "bytes", "pixels")}
        title = BASELINE.format(rate=rate)
        rows.append({"set": group, "rate": rate, "model": BASE, "condition": title, **means})
    return rows


def _gain(result: dict[str, Any], model: str, base: dict[str, Any], group: str, rate: int) -> dict[str, Any]:
    """Return the gains of block-based rates and of the network for one model, set and rate: (Y, RGB) in dB."""
    conditions = _mean(result, group, rate)["conditions"]
    pictures = {
        p["picture"]: gain(p["conditions"], NETWORK[1], NETWORK[0])
        for p in result["pictures"]
        if (p["set"], p["rate"]) == (group, rate)
    }
    luma = {name: both[0] for name, both in pictures.items()}
    best, worst = max(luma, key=lambda name: luma[name]), min(luma, key=lambda name: luma[name])
    return {
        "model": model,
        "set": group,
        "rate": rate,
        "blocks": gain(conditions, NETWORK[1], NETWORK[0]),
        "bicubic_blocks": gain(_mean(base, group, rate)["conditions"], BICUBIC[1], BICUBIC[0]),
        "equal_bytes": gain(conditions, NETWORK[2], NETWORK[0]),
        "over_composite": gain(conditions, NETWORK[1], SAME_CONTAINER),
        "best": {"picture": best, "db": luma[best]},
        "worst": {"picture": worst, "db": luma[worst]},
    }


def _against(
    results: dict[str, dict[str, Any]],
    other: str,
    group: str,
    rate: int,
    flops: dict[str, dict[str, dict[str, float]]],
) -> dict[str, Any]:
    """Compare `light` with another backbone on the same containers: ratio of operations, difference in dB."""
    mine, theirs = (_mean(results[model], group, rate)["conditions"] for model in (BASE, other))
    times = flops[other][group]["total"] / flops[BASE][group]["total"]
    db = {name: mine[name]["psnr_y"] - theirs[name]["psnr_y"] for name in NETWORK[:2]}
    return {"other": other, "set": group, "rate": rate, "times_fewer_flops": times, "db": db}


def _against_baseline(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the dB (Y, RGB) of one network for all rates over one trained for the uniform rate alone."""
    by_condition = {(row["set"], row["rate"], row["condition"]): row for row in rows if row["model"] == BASE}
    gained = []
    for group, rate, condition in by_condition:
        if condition == BASELINE.format(rate=rate):
            baseline = by_condition[group, rate, condition]
            gains = {
                name: [by_condition[group, rate, name][key] - baseline[key] for key in METRICS[:2]]
                for name in ("uniform", "block-based", "block-based, equal bytes")
            }
            gained.append({"set": group, "rate": rate, "gains": gains})
    return gained


def _mean(result: dict[str, Any], group: str, rate: int) -> dict[str, Any]:
    return next(mean for mean in result["means"] if (mean["set"], mean["rate"]) == (group, rate))


def _bare(condition: str) -> str:
    """Return a condition without the name of the upscaler."""
    return condition.removeprefix("network ").removeprefix("bicubic ")

"""The results of `benchmarks.quality.paper` as Markdown and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import table

_COLOURS = {"light": "#d9772b", "omnisr": "#4a7ba6", "craft": "#5e9c6b"}
_GREY = "#b8b8b8"


def markdown(results: dict[str, Any]) -> str:
    """Return all tables."""
    claim = results["claim"]
    parts = [
        "Means over the pictures of each set. All rows of a set and rate have the same number of samples, except those "
        "at equal bytes, which fit the bytes of uniform rescaling. GFLOP: the network, for one picture (1 "
        "multiply-accumulate = 2 FLOP; tiles with halo, none skipped). All networks read the same containers, whose "
        "rates and network strengths were chosen for `light`.",
        table([_ROW_HEAD, *(_row(row, results) for row in results["rows"])]),
        f"Gain of block-based rates over uniform rescaling with the same network, in dB (Y / RGB). The paper claims "
        f"+{claim['mean_db']} dB on average and +{claim['best_db']} dB at best, on other pictures and with other "
        "networks. *Over the composite*: gain of the network on the same container.",
        table([_GAIN_HEAD, *map(_gain, results["gains"])]),
    ]
    if results["against_baseline"]:
        parts += [
            "The paper's baseline is a network trained for the uniform rate alone. Gain of `light`, one network "
            "for all "
            "rates, over it, in dB (Y / RGB).",
            table([_BASELINE_HEAD, *map(_baseline, results["against_baseline"])]),
        ]
    if results["against"]:
        parts += [
            "`light` against the other backbones on the same containers, in PSNR-Y.",
            table([_AGAINST_HEAD, *map(_against, results["against"])]),
        ]
    parts += [
        "Operations by part, in GFLOP for a picture of the first set. *Rise*: extra cost of JointSR over the "
        "plain network "
        "around the same backbone.",
        table([_COST_HEAD, *(_cost(name, model) for name, model in results["models"].items())]),
        "Training: " + "; ".join(_stories(results)) + ".",
    ]
    return "\n\n".join(parts)


_ROW_HEAD = [
    "set, overall rate",
    "network",
    "rates",
    "PSNR-Y",
    "PSNR-RGB",
    "SSIM",
    "parameters",
    "GFLOP",
    "LR pixels",
    "bytes",
]
_GAIN_HEAD = [
    "network",
    "set, rate",
    "block-based − uniform",
    "share of bicubic's gain",
    "best picture",
    "worst picture",
    "at equal bytes",
    "over the composite",
]
_BASELINE_HEAD = ["set, rate", "uniform", "block-based", "block-based, equal bytes"]
_AGAINST_HEAD = ["against", "set, rate", "FLOPs", "uniform, dB", "block-based, dB"]
_COST_HEAD = ["network", "stem", "backbone", "deblock branch", "head", "total", "plain network", "rise"]


def _row(row: dict[str, Any], results: dict[str, Any]) -> list[str]:
    model = results["models"].get(row["model"])
    cost = ["", ""]
    if model is not None:
        total = model["flops"][row["set"]]["total"]
        cost = [f"{model['parameters']['total']:,}", f"{total / 1e9:,.0f}"]
    quality = [f"{row['psnr_y']:.2f}", f"{row['psnr_rgb']:.2f}", f"{row['ssim']:.4f}"]
    name = row["model"] if model is None else f"`{row['model']}`"
    place = f"{row['set']} ×{row['rate']}"
    return [place, name, row["condition"], *quality, *cost, f"{row['pixels']:,.0f}", f"{row['bytes']:,.0f}"]


def _gain(row: dict[str, Any]) -> list[str]:
    share = " / ".join(f"{a / b:.2f}" for a, b in zip(row["blocks"], row["bicubic_blocks"], strict=True))
    ends = [f"{row[end]['db']:+.2f} {row[end]['picture']}" for end in ("best", "worst")]
    pairs = [_pair(row[key]) for key in ("equal_bytes", "over_composite")]
    return [f"`{row['model']}`", f"{row['set']} ×{row['rate']}", _pair(row["blocks"]), share, *ends, *pairs]


def _baseline(row: dict[str, Any]) -> list[str]:
    return [f"{row['set']} ×{row['rate']}", *map(_pair, row["gains"].values())]


def _against(row: dict[str, Any]) -> list[str]:
    times = f"×{row['times_fewer_flops']:.1f} fewer"
    return [
        f"`{row['other']}`",
        f"{row['set']} ×{row['rate']}",
        times,
        *(f"{db:+.2f}" for db in row["db"].values()),
    ]


def _cost(name: str, model: dict[str, Any]) -> list[str]:
    first = next(iter(model["flops"].values()))
    keys = ("stem", "backbone", "deblock", "head", "total", "plain")
    return [f"`{name}`", *(f"{first[key] / 1e9:,.1f}" for key in keys), f"{model['rise']:+.1%}"]


def _stories(results: dict[str, Any]) -> list[str]:
    """Return one clause per set of weights, from its training notes."""
    stories = [f"`{name}` {story(model['notes'])}" for name, model in results["models"].items()]
    seen = set()
    for row in results["uniform_only"]:
        if row["rate"] not in seen:
            seen.add(row["rate"])
            stories.append(f"for uniform ×{row['rate']} alone {story(row['notes'])}")
    return stories


def story(notes: dict[str, Any]) -> str:
    """Return steps, minutes and start of a training in words."""
    words = [f"{notes['steps']:,} steps"] if "steps" in notes else []
    words += (
        [f"of {notes['crops'] // notes['steps']} crops"] if notes.get("crops") and notes.get("steps") else []
    )
    words += [f"in {notes['minutes']} minutes"] if "minutes" in notes else []
    words += [f"on {notes['device']}"] if "device" in notes else []
    words += [f"from the weights `{Path(str(notes['start'])).name}`"] if notes.get("start") else []
    return " ".join(words) or "(no notes)"


def _pair(gains: list[float]) -> str:
    return f"{gains[0]:+.2f} / {gains[1]:+.2f}"


def plot(results: dict[str, Any], path: Path) -> None:
    """Plot the gain of block-based rates for every network, beside bicubic's gain and the paper's claim."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    models = list(results["models"])
    groups = sorted({(row["set"], -row["rate"]) for row in results["gains"]})
    figure, axis = pyplot.subplots(figsize=(10, 4.4))
    wide = 0.8 / (len(models) + 1)
    for index, model in enumerate([None, *models]):
        heights = []
        for group, rate in groups:
            rows = [r for r in results["gains"] if (r["set"], -r["rate"]) == (group, rate)]
            row = rows[0] if model is None else next(r for r in rows if r["model"] == model)
            heights.append((row["bicubic_blocks"] if model is None else row["blocks"])[0])
        places = [place + (index - len(models) / 2) * wide for place in range(len(groups))]
        label = "without a network (bicubic)" if model is None else f"with {model}"
        axis.bar(places, heights, wide, label=label, color=_GREY if model is None else _COLOURS.get(model))
    for kind, style in (("mean_db", "--"), ("best_db", ":")):
        label = f"the paper's claim, {kind.removesuffix('_db')}: +{results['claim'][kind]} dB"
        axis.axhline(results["claim"][kind], linestyle=style, color="#444444", linewidth=1, label=label)
    axis.set_xticks(range(len(groups)), [f"{group} ×{-rate}" for group, rate in groups])
    axis.set_ylabel("block-based − uniform, PSNR-Y in dB")
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)

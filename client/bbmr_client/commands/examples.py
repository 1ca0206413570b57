"""The examples of `--help`, docs/cli.md and the man page. A test runs every one of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One line for a shell, with a note if one is needed."""

    line: str
    note: str = ""


_SERVER = "http://127.0.0.1:8000"

EXAMPLES: dict[str, tuple[Example, ...]] = {
    "bbmr-client": (
        Example("bbmr-client encode photo.jpg", "writes photo.bbmr"),
        Example("bbmr-client preview photo.bbmr -o preview.png"),
        Example(f"bbmr-client reconstruct photo.bbmr -o back.png --server {_SERVER}"),
        Example("bbmr-client compare photo.jpg back.png"),
    ),
    "encode": (
        Example("bbmr-client encode photo.jpg -q 50", "writes photo.bbmr, smaller than without -q"),
        Example(
            "bbmr-client encode photo.jpg -o mail.bbmr --max-bytes 200k", "the best within 200,000 bytes"
        ),
        Example("bbmr-client encode photo.jpg -o good.bbmr --target-psnr 40", "small, with at least 40 dB"),
        Example("bbmr-client encode photo.jpg -o exact.bbmr --lossless", "every pixel, exactly"),
        Example(
            "bbmr-client encode photos -o packed --report packed.csv",
            "a folder; repeat the command to resume it",
        ),
    ),
    "reconstruct": (
        Example(f"bbmr-client reconstruct photo.bbmr -o back.png --server {_SERVER}", "on a server"),
        Example(
            "bbmr-client reconstruct packed -o back --format webp --jobs 8 \\\n"
            "    --server http://one:8000 --server http://two:8000",
            "a folder, with eight requests in flight and a second server",
        ),
        Example(
            "cat photo.jpg | bbmr-client encode - -o - \\\n"
            "    | bbmr-client reconstruct - -o - --local > back.png",
            "through pipes, on this machine, with the extra `local`",
        ),
    ),
    "preview": (Example("bbmr-client preview photo.bbmr -o small.webp --max-side 256"),),
    "info": (Example("bbmr-client info photo.bbmr"),),
    "verify": (Example("bbmr-client verify packed"),),
    "ratemap": (Example("bbmr-client ratemap photo.bbmr -o rates.png"),),
    "compare": (
        Example("bbmr-client compare photo.jpg back.png"),
        Example("bbmr-client compare photo.jpg photo.bbmr -o difference.png", "draws where they differ"),
    ),
    "demo": (Example("bbmr-client demo --photo photo.jpg -o out"),),
}
"""Command → its examples; "bbmr-client" → those of the whole."""


def as_text(examples: tuple[Example, ...]) -> str:
    """Returns the examples as lines for a shell, with notes as comments."""
    return "\n".join(f"# {one.note}\n{one.line}" if one.note else one.line for one in examples)

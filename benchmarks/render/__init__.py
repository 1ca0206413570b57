"""Turns the JSON of benchmarks into Markdown pages and plots."""

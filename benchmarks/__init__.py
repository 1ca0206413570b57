"""Benchmarks: one script a table. Each takes folders or photos as arguments and writes JSON, Markdown and a plot."""

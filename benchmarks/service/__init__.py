"""Benchmarks of the running server: throughput, overload, long runs."""

"""Benchmarks of time and memory: encoding, reconstruction, backbones, runtimes, the client."""

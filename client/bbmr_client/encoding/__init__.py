"""Encoding: a photo and a budget become a container (the Downscaling Module)."""

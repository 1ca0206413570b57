"""Runs a network over the tiles of a picture, in torch or in ncnn."""

"""Picture formats: one tolerant walker each with strict checks for planes, the plane codecs, and output files."""

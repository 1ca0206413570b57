"""Picture files that containers hold: one tolerant reader per format, the table of plane codecs, and output files."""

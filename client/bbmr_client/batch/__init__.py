"""Many files in one run: a folder of photos becomes a folder of containers, or the other way round.

In: names, folders and patterns, and one output folder. Out: the same tree in it, a summary, and a report. The parts:
`inputs` finds the files, `plan` holds them in order and gives each its output, `journal` remembers what is done,
`crew` and `processes` do the work side by side, `run` leads, `display` and `summary` tell.

Guarantees: one bad file never stops the rest; an output is there whole or not at all, whenever the run is killed;
nothing is overwritten unless that is asked for; memory does not grow with the number of files.
"""

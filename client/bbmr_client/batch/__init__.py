"""Many files in one run: a folder of photos becomes a folder of containers, or the other way round.

In: names, folders and patterns, and one output folder. Out: the same tree in it, a summary, and a report.

    inputs         finds the files                     worker_pool    runs tasks in threads, or inline
    plan           orders them, names the outputs      processes      worker processes for encoding
    journal        remembers what is done              run            the loop over all of it
    file_task      does one file                       display        progress on standard error
    atomic_output  renames a result into place         summary        the figures at the end

One bad file does not stop the others. An output is there whole or not at all, whenever the run is killed. Nothing is
overwritten unless `--overwrite` is given. Memory does not grow with the number of files.
"""

"""What every room that works on the host needs: child processes, deadlines, files, and what a person sees meanwhile.

The life of a thing that takes long to make: ``store.building`` locks its name and gives a directory to build in; ``process`` runs the
programs that fill it, none of which outlives this process; ``progress`` shows the step to a person who waits; the directory is renamed into
its place when it is complete. A crash leaves a directory that the next build sweeps.

Read ``paths`` (where things live), ``store`` and ``process`` first. Every wait takes its limit from ``deadlines``, which allows more time
on a busy host. ``scratch`` makes temporary directories, ``again`` repeats what failed through no fault of the kernel's, ``terminal`` prints
to a terminal, ``github`` to a job's log, ``keyboard`` takes a terminal's keys, ``unpacked`` unpacks what a guest has packed, and
``uninterrupted`` keeps Ctrl-C out of a moment that must not be cut short. Nothing here knows of kernels or guests.
"""

"""Jobs, time, disk and files of a run, before it starts."""

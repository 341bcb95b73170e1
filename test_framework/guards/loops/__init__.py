"""One loop for everything: what `event_loops.py` reads off the files, watched here while tests run."""

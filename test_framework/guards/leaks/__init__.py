"""What a test leaves behind: looked at after every test, named with the line where it began, charged to whoever did it.

A `ResourceKind` lists what exists now (tasks, threads, files, …); `watch.py` compares that with what there was before the test.
Whose a new thing is, is written down where it begins: `origins.py` hears of it, `owners.py` says who is at work.
"""

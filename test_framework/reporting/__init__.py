"""Reports: every run writes one record, and every view comes from one computation.

`recorder` writes a run's record as it goes; `reading` makes a `Part` of it; `history` keeps parts in one SQLite file;
`summary` computes a `Report` out of them; `views/` shows that, and never counts anything itself.
"""

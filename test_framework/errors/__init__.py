"""Why tests failed: what is kept of a failure when it happens, and what can be said about many of them later.

`capture` runs where a test fails and keeps its structure (exceptions, frames, states of services) beside the report. Everything
else works on that alone, so a run can be explained as it ends, or from its record a year later.
"""

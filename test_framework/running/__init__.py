"""One run of the tests, from the command line to its exit code: what is asked for, what is chosen, what is told, how it ends."""

"""Real Postgres and real Redis, found, started, healed and left as they were found.

A `Stack` is one set of services: the `dev` stack of a checkout, or the stack of one test run. A provider knows one way to
run a service and reports its state; the lifecycle brings any state to healthy. Tests reach it all through
`test_framework.service_pool`, people through `invoke services.up`.
"""

"""Everything the tests are given comes from the kit."""

pytest_plugins = ["test_framework.plugin"]

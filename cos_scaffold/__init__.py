"""Stamp a project out of the live files of this repository; nothing of this package is part of a project."""

"""Proofs that take long, on tests that are green already: the same again in other orders, and every workflow's steps at home."""

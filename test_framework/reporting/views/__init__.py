"""Views: each draws a `Report` in one format, and computes nothing."""

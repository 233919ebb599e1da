"""Kinds of sources, one in each file; `runtime.source` chooses."""

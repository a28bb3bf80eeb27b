"""Infer: from a scene to its maximum and its posterior."""

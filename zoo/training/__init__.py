"""Recipes that made zoo/checkpoints/, and that anyone can run on their own data: `python -m zoo train`."""

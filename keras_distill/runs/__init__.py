"""Recipes, runs and what keeps a run resumable."""

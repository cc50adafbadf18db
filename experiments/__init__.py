"""Experiments: modules that each answer a question; `python -m experiments` lists them."""

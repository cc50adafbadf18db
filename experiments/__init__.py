"""Experiments: modules that each answer a question; `python -m experiments` lists them.

Whatever stands here can be run. `framework` runs an experiment and writes down what came out; `apparatus` is what
experiments are made with.
"""

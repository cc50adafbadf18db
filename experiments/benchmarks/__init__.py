"""Benchmarks: experiments that measure speed and memory."""

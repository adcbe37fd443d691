"""Tests of the pictures of runs, in a real browser."""

"""Tests of the pictures of runs, without a browser and in a real one."""

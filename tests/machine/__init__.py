"""Tests of the part that decides (the table, its words, its traces and its diagrams) and of the command line."""

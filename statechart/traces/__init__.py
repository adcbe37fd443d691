"""A decision as a line of JSON: written by a running muinit, read and replayed elsewhere."""

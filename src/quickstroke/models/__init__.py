"""The classifier: one forward pass to read, and the faster ones that are held to it."""

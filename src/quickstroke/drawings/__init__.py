"""A drawing: its categories, simplification, making, downloading and showing."""

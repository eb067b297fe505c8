"""Results documents: reading, collecting, drawing and writing them."""

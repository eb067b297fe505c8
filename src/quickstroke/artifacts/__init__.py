"""What a training leaves and people exchange: run folders, cards, weight files."""

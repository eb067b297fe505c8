"""What a model is and how it is trained: names, frozen dataclasses, recipes, and how they are written."""

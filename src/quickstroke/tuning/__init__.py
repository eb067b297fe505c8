"""The search for better options."""

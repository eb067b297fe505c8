"""Files of drawings become a prepared dataset."""

"""How right a classifier is, and where it is wrong."""

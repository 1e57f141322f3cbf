"""The task "name the picture": one class for a whole picture."""

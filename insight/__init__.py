"""See what attention does: Grad-CAM, learned scales, rotation, pruning. Each file with a `main` is a command."""

"""The ground of every room: what a command says and returns, files that are whole. Imports nothing of ours."""

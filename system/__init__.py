"""The ground of every room: what a command says and returns, files that are whole, pieces of a report. Imports nothing
of ours."""

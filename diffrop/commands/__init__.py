"""What stands after `diffrop`: a module is a command, with `parser` and `main`.

`study_tau` is typed as `diffrop study tau`. The first line of a module's docstring is what
`diffrop --help` says of it.
"""

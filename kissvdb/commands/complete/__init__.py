"""`kissvdb completion SHELL`: a script for bash, zsh or fish, made of the parser of the commands.

`described` says what there is to complete, `bash`, `zsh` and `fish` write it down for their shell,
and `values` are the keys and collections of a running server.
"""

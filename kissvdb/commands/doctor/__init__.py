"""`kissvdb doctor`: what an issue report needs to know about the machine and the installation.

`findings` are lines with a judgement; `disk`, `machine` and `software` make them; `sbom` lists the
installed packages as CycloneDX. Nothing here writes outside the data directory, and what it writes
there has no name.
"""

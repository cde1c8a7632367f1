"""The database in a Trio program of one's own: Python values in and out.

What stands here without an underscore is what `kissvdb.open_database` promises; the engine behind
it speaks JSON texts, as the handlers do.
"""

"""`kissvdb import` and `export`: rows of files become keys, documents or vectors, and back.

`formats` says which kind of file it is; `reading` and `writing` are the kinds that need no other
package, `parquet` and `arrays` those that do; `cells` how a value stands in a table; `transfer`
what a row means.
"""

"""The client of plain programs. All but `net` is made of `kissvdb.client.aio` by
``python -m tests.client.blocking``: change it there."""

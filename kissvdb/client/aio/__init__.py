"""The client on Trio and asyncio. `kissvdb.client.blocking` is made of these files."""

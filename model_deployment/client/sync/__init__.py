"""The client for asyncio. ``make docs`` writes ``client/sync`` from these files."""

"""rolo's own server, straight on asyncio protocols."""

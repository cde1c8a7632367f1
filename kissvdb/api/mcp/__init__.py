"""The Model Context Protocol: tools and resources for agents, made of the routes of the table."""

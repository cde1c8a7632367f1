"""The live stream: the hub, its ring, subscriptions, and those who push them."""

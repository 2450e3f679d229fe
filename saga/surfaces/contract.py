"""What the order API and whoever sends it orders agree on, without the framework behind the API."""

BODY_MAX = 4 * 2**20
"""Bytes of one input, over HTTP and on the command line."""
URN = "urn:ordersaga:problem:"
"""How the type of each of the API's problem documents begins; its code follows."""

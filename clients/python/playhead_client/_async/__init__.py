"""The async client: its connection, and the calls about each kind of resource."""

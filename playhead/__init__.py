"""The product: settings, the Temporal client, the services and how they are put together, the command line."""

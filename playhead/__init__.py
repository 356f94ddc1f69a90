"""The product: settings, the Temporal client, the services, and the command line."""

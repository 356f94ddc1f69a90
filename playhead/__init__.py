"""The product: settings, the Temporal client, the services, the command line and the demo."""

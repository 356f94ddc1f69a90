"""`playhead api` that takes calls without a key, as the API of `playhead dev` does."""

from playhead.config.settings import load_settings
from playhead.services.api_server import run_api
from playhead.services.lifecycle import run_service


def main() -> None:
    """Run it until a signal stops it."""
    settings = load_settings(keyless=True)
    run_service(settings, lambda stop: run_api(settings, stop))

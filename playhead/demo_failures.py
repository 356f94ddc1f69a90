"""How the demo ends when it cannot keep its promise."""


class DemoFailed(Exception):
    """The demo cannot go on, or something in it was not as promised. `details` go before the last line."""

    def __init__(self, message: str, *, details: str = "") -> None:
        super().__init__(message)
        self.details = details

"""Which credentials the tools of an agent may use: those of the installation, and those of the agent's organization."""

from collections import ChainMap
from collections.abc import Collection, Mapping


class Credentials:
    """Secrets by name. Those of an organization are no other's, and go before the installation's of the same name."""

    def __init__(self, everyones: Mapping[str, str], of_organizations: Mapping[str, Mapping[str, str]]) -> None:
        self._everyones = everyones
        self._of_organizations = of_organizations

    def of(self, organization_id: str) -> Mapping[str, str]:
        """What tools of this organization's agents may use."""
        own = self._of_organizations.get(organization_id, {})
        return ChainMap(dict(own), dict(self._everyones))

    def secrets(self) -> Collection[str]:
        """Every secret of whomever: what must never be shown."""
        return [*self._everyones.values(), *(each for own in self._of_organizations.values() for each in own.values())]

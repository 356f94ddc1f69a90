"""The reference model of a live session, in which replies are immediate unless the test holds them."""

from dataclasses import dataclass, field

from domain.sessions.commands import EditMessage, Regenerate, SendMessage
from tests.support.reference_timeline import ReferenceTimeline


@dataclass
class LiveTimeline(ReferenceTimeline):
    """A reference timeline with a model: between two commands it shows exactly what is visible."""

    held: set[str] = field(default_factory=set)
    """Texts whose replies are held back."""
    failing: set[str] = field(default_factory=set)
    """Texts for which the model fails."""

    def greet(self, turn_id: str) -> None:
        super().greet(turn_id)
        self._answer()

    def send(self, command: SendMessage, turn_id: str) -> None:
        super().send(command, turn_id)
        self._answer()

    def edit(self, command: EditMessage, turn_id: str) -> None:
        super().edit(command, turn_id)
        self._answer()

    def regenerate(self, command: Regenerate, turn_id: str) -> None:
        super().regenerate(command, turn_id)
        self._answer()

    def cancel(self) -> None:
        super().cancel()
        self._answer()

    def release(self, text: str) -> None:
        """Release the held replies to a text."""
        self.held.discard(text)
        for turn_id in list(self.turns):
            if turn_id in self.pending and self.turns[turn_id].text == text:
                self._close(turn_id)
        self._answer()

    def parent_of(self, turn_id: str) -> str | None:
        """The turn before this one on its branch."""
        return ([None, *self.path_to(turn_id)])[-2]

    def _answer(self) -> None:
        """Interrupt the stopped turns, then answer whatever is not held back, one turn after the other."""
        for turn_id in list(self.stopping):
            self.close(turn_id, "interrupted")
        while (
            self.head is not None and self.is_busy and not self.future and self.turns[self.head].text not in self.held
        ):
            self._close(self.head)

    def _close(self, turn_id: str) -> None:
        self.close(turn_id, "failed" if self.turns[turn_id].text in self.failing else "completed")

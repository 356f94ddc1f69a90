"""The state that all parts of a session's workflow share: its input and its timeline."""

from datetime import datetime

from temporalio import workflow

from contracts.sessions import StartSession
from domain.sessions.timeline import Timeline
from domain.sessions.turn_completion import events_so_far
from domain.sessions.views import SessionHead, head_of
from domain.turns.call_digest import hex_digest_of
from domain.turns.engine import TurnProgress
from domain.turns.turn import Turn
from workflows.search_attributes import updates_for
from workflows.session.current_details import session_details


class SessionState:
    """The one place where a session's timeline is kept and replaced."""

    def __init__(self, start: StartSession, timeline: Timeline) -> None:
        self.start = start
        self.agent = start.definition
        self.timeline = timeline
        self._began_at = workflow.info().workflow_start_time
        """The time of the run's first event. `workflow.now()` in its first task differs in a replay if a local activity
        outlived that task."""
        self._local_activity_at: datetime | None = None
        self.is_watched = False
        """True when somebody watched the session at its newest model call."""
        self.under_way: dict[str, Turn] = {}
        """Unrecorded progress of turns that are being answered, for watchers."""

    def now(self) -> datetime:
        """The current time, the same in a replay.

        After a local activity that outlives a workflow task, `workflow.now()` differs in a replay. Everything in that
        moment gets the time at which the run began.
        """
        now = workflow.now()
        return self._began_at if now == self._local_activity_at else now

    def note_local_activity(self) -> None:
        """Note that a local activity has just ended: the current time may differ in a replay."""
        self._local_activity_at = workflow.now()

    def note_progress(self, turn: Turn, progress: TurnProgress) -> None:
        """Keep the progress of a turn, to be recorded before the turn is over."""
        events = events_so_far(self.timeline.turns[turn.id], progress)
        self.under_way[turn.id] = turn.model_copy(update={"events": events, "node_id": progress.node_id})

    @property
    def head(self) -> SessionHead:
        """The small, changing state of the session."""
        return head_of(self.timeline, self.agent, workflow.info().run_id)

    def change(self, timeline: Timeline) -> None:
        """Replace the timeline, and show the new one in the Temporal UI."""
        self.timeline = timeline
        self.update_details()

    def update_details(self) -> None:
        """Show the newest turns in the Temporal UI."""
        agent = f"{self.agent.name}, version {self.start.agent.version}"
        workflow.set_current_details(session_details(self.start.name, agent, self.timeline))

    def publish_search_attributes(self) -> None:
        """Bring the search attributes up to date, where they differ: each change costs an event."""
        changed = updates_for(self.head, workflow.info().typed_search_attributes)
        if changed:
            workflow.upsert_search_attributes(changed)


def new_turn_id(*content: str) -> str:
    """An id for a turn, the same in a replay.

    It depends on the content of the turn: where a part of the history was lost, the same random number is drawn again,
    and two different turns must not get the same id.
    """
    return f"turn_{hex_digest_of(workflow.uuid4().hex, *content)[:12]}"

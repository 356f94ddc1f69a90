"""The state that the parts of a session's workflow share: its input and its timeline."""

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
        """The time of the run's first event. `workflow.now()` of its first task is another one in a replay if a local
        activity outlived that task."""
        self._local_activity_at: datetime | None = None
        self.is_watched = False
        """True when somebody watched the session at its newest model call."""
        self.under_way: dict[str, Turn] = {}
        """Turns that are being answered, as they stand, for those who watch; none that was recorded so."""

    def now(self) -> datetime:
        """The time, the same when the history is replayed.

        After a local activity that outlives a workflow task, `workflow.now()` is another one in a replay. What happens
        in that moment has the time at which the run began.
        """
        now = workflow.now()
        return self._began_at if now == self._local_activity_at else now

    def note_local_activity(self) -> None:
        """Take note that a local activity has just ended, whose time is not to be relied on."""
        self._local_activity_at = workflow.now()

    def note_progress(self, turn: Turn, progress: TurnProgress) -> None:
        """Have what happened so far in a turn recorded before it is over."""
        events = events_so_far(self.timeline.turns[turn.id], progress)
        self.under_way[turn.id] = turn.model_copy(update={"events": events, "node_id": progress.node_id})

    @property
    def head(self) -> SessionHead:
        """Everything that is small and changes."""
        return head_of(self.timeline, self.agent, workflow.info().run_id)

    def change(self, timeline: Timeline) -> None:
        """Put a timeline in the place of the present one, and show it in the Temporal UI."""
        self.timeline = timeline
        self.update_details()

    def update_details(self) -> None:
        """Let people see the newest turns in the Temporal UI."""
        agent = f"{self.agent.name}, version {self.start.agent.version}"
        workflow.set_current_details(session_details(self.start.name, agent, self.timeline))

    def publish_search_attributes(self) -> None:
        """Bring the search attributes up to date, where they differ: each change costs an event."""
        changed = updates_for(self.head, workflow.info().typed_search_attributes)
        if changed:
            workflow.upsert_search_attributes(changed)


def new_turn_id(*content: str) -> str:
    """An id for a turn, the same when the history is replayed.

    It depends on what the turn is for: where a part of the history was lost, the same random number is drawn again,
    and must not name two different turns.
    """
    return f"turn_{hex_digest_of(workflow.uuid4().hex, *content)[:12]}"

"""Options of a reply: they stay with its message, also in the queue, and new values of variables persist."""

from domain.sessions.command_handlers import edit, regenerate, send
from domain.sessions.commands import EditMessage, OnBusy, Regenerate, SendMessage
from domain.turns.call_digest import step_digest
from domain.turns.engine import begin_turn
from domain.turns.turn import Checkpoint, ReplyFormat, ReplyOptions
from tests.domain.turns.answering import AGENT, AT
from tests.support.conversation import Conversation

OPTIONS = ReplyOptions(context={"system_message": "Be brief."}, reply_format=ReplyFormat())


def say(talk: Conversation, turn_id: str, on_busy: OnBusy | None = None) -> None:
    """Send a message with options."""
    command = SendMessage(text="Hello", options=OPTIONS, on_busy=on_busy)
    talk.timeline = send(talk.timeline, command, turn_id=turn_id, at=talk.tick())


def test_options_go_with_the_message_also_through_the_queue_and_a_rollback() -> None:
    talk = Conversation().greeted()
    say(talk, "a")
    assert talk.head.options == OPTIONS
    say(talk, "b", on_busy="interrupt")
    talk.interrupt("Hel")
    assert (talk.head.id, talk.head.options) == ("b", OPTIONS)
    say(talk, "c", on_busy="rollback")
    assert (talk.head.id, talk.head.options) == ("c", OPTIONS)
    command = SendMessage(text="Hello", options=OPTIONS, after_turn_id="t0", on_busy="interrupt")
    talk.timeline = send(talk.timeline, command, turn_id="d", at=talk.tick())
    assert (talk.head.id, talk.head.options) == ("d", OPTIONS)


def test_a_regenerated_turn_keeps_its_options_unless_there_are_others_and_an_edited_one_has_new_ones() -> None:
    talk = Conversation().greeted()
    say(talk, "a")
    again = regenerate(talk.timeline, Regenerate(turn_id="a"), turn_id="b", at=talk.tick())
    assert again.turns["b"].options == OPTIONS
    others = ReplyOptions(reply_format=ReplyFormat(name="other"))
    again = regenerate(talk.timeline, Regenerate(turn_id="a", options=others), turn_id="b", at=talk.tick())
    assert again.turns["b"].options == others
    edited = edit(talk.timeline, EditMessage(turn_id="a", text="Hi"), turn_id="b", at=talk.tick())
    assert edited.turns["b"].options is None


def test_values_of_a_message_stay_for_later_turns() -> None:
    checkpoint = Checkpoint(node_id=AGENT.start, gathered_context={"guests": 4, "system_message": "Old."})
    progress = begin_turn(
        AGENT, checkpoint, turn_id="t1", user_text="Hello", at=AT, initial_context={}, context=OPTIONS.context
    )
    assert progress.checkpoint().gathered_context == {"guests": 4, "system_message": "Be brief."}


def test_another_reply_format_makes_another_call() -> None:
    def digest(reply_format: ReplyFormat | None) -> str:
        return step_digest(
            after="",
            turn_id="t1",
            step=0,
            agent_id="agt_1",
            agent_version=1,
            model="demo",
            node_id="desk",
            messages=(),
            reply_format=reply_format,
        )

    forms = (None, ReplyFormat(), ReplyFormat(json_schema={"type": "object"}), ReplyFormat(strict=True))
    assert len({digest(form) for form in forms}) == len(forms)

"""JSON of dograh's public embed routes: only the parts of a chat that a page and its visitor may see."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from pydantic.alias_generators import to_camel

from api.dograh import embed_examples as examples
from api.dograh.schemas import Said
from api.schemas.requests import storable

MAX_MESSAGE_CHARACTERS: Final = 4_000
WIDGET_FIELDS: Final = ("theme", "position", "button_text", "button_color", "size")
"""Fields of the configuration that repeat a setting, whose name is in camel case."""


class _Body(BaseModel):
    """Unknown fields are ignored, as dograh does."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class InitBody(_Body):
    """A chat to open with an embed token. Variables that cannot be used are left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.INIT]})

    token: str
    context_variables: dict[str, Any] | None = None  # Any: values from a page, checked one by one


class PublicMessageBody(_Body):
    """A visitor's message."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MESSAGE]})

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_MESSAGE_CHARACTERS), AfterValidator(storable)]
    expected_revision: int | None = None


class PublicEndBody(_Body):
    """The end of a chat."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.END]})

    expected_revision: int | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class PublicTurn(_Answer):
    """A turn, without its events, usage and errors."""

    id: str
    status: Literal["pending", "completed", "failed"]
    user_message: Said | None
    assistant_message: Said | None


class PublicChat(_Answer):
    """A chat as its visitor sees it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.CHAT]})

    revision: int
    state: Literal["running", "completed"]
    is_completed: bool
    turns: tuple[PublicTurn, ...]


class OpenedChat(_Answer):
    """A chat that was opened. `session_token` is the visitor's; it is shown once and lasts an hour."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.OPENED]})

    session_token: str
    workflow_run_id: int
    config: dict[str, JsonValue]
    widget_type: Literal["chat"] = "chat"
    chat_session: PublicChat


class WidgetTexts(_Answer):
    """Texts of the widget. A token's settings may have others."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    end_chat_text: str = "End chat"
    conversation_ended_text: str = "This chat has ended."
    start_new_chat_text: str = "New chat"
    chat_retry_text: str = "Try again"
    chat_input_placeholder: str = "Write a message"
    send_message_label: str = "Send"
    close_chat_label: str = "Close"
    voice_connecting_text: str = "Connecting"
    voice_end_call_text: str = "Hang up"
    voice_retry_text: str = "Try again"
    voice_ready_title: str = "Ready"
    voice_connecting_subtext: str = "The call is being connected"
    voice_connected_title: str = "Connected"
    voice_connected_subtext: str = "You can speak now"
    voice_call_ended_title: str = "The call has ended"
    voice_call_ended_subtext: str = "Start another one below"
    voice_connection_failed_title: str = "No connection"
    voice_connection_failed_subtext: str = "Check the microphone, then try again"
    voice_connection_lost_title: str = "Connection lost"
    voice_connection_lost_subtext: str = "The call was cut off"


class WidgetConfig(_Answer):
    """The configuration of dograh's widget for a token: its settings, completed with defaults, for text chats only."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.CONFIG]})

    workflow_id: int
    settings: dict[str, JsonValue]
    texts: WidgetTexts
    theme: str = "light"
    position: str = "bottom-right"
    button_text: str = "Chat with us"
    button_color: str = "#3B82F6"
    size: str = "medium"
    auto_start: bool = False
    turn_enabled: Annotated[Literal[False], Field(description="No TURN server: chats have no audio.")] = False
    force_turn_relay: Literal[False] = False

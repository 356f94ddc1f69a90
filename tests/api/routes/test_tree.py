"""The light tree of a session over HTTP: active, hidden and discarded turns, pages, and copies in forks."""

from tests.support.api_agents import library
from tests.support.running_api import Caller, done, problem


async def test_the_tree_has_every_turn_with_its_branch(caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    path = f"/v1/sessions/{session_id}/tree"
    await caller.say(session_id, "One.")
    before = await caller.say(session_id, "x" * 100)
    greeting, one, long = (turn["id"] for turn in before["turns"])
    await caller.rewind(session_id, one)
    hidden = await caller.items(path, limit=1)
    assert [(turn["id"], turn["branch"]) for turn in hidden] == [
        (greeting, "active"),
        (one, "active"),
        (long, "hidden"),
    ]
    assert hidden[2]["text"] == "x" * 80
    after = await caller.say(session_id, "Three.")
    [branch] = after["discarded_branches"]
    await caller.recorded(session_id, turns=4)
    tree = await caller.items(path)
    assert [turn["branch"] for turn in tree] == ["active", "active", branch["id"], "active"]
    assert [turn["parent_id"] for turn in tree] == [None, greeting, one, one]
    assert not any(turn["copied"] for turn in tree)
    shown = {turn["id"]: turn for turn in (*after["turns"], *branch["turns"])}
    for turn in tree:
        assert turn["cost"] == shown[turn["id"]]["cost"]
        assert (turn["index"], turn["status"]) == (shown[turn["id"]]["index"], "completed")
    problem(await caller.get(path, cursor="turn_unknown"), 400, "invalid_request")


async def test_turns_that_a_fork_took_over_are_copies(caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    await caller.say(session_id, "One.")
    fork = done(await caller.post(f"/v1/sessions/{session_id}/fork", {}), 201)
    await caller.say(fork["id"], "Two.")
    tree = await caller.items(f"/v1/sessions/{fork['id']}/tree")
    assert [turn["copied"] for turn in tree] == [True, True, False]


async def test_words_are_found_in_every_branch(caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    path = f"/v1/sessions/{session_id}/tree"
    await caller.say(session_id, 'Do you have the book about Größe, "the 7% bird"?\nIt is blue.')
    before = await caller.say(session_id, f"{'Then ' * 20}I would like a BLUE one.")
    greeting, one, two = (turn["id"] for turn in before["turns"])
    await caller.rewind(session_id, one)

    async def found(words: str) -> list[str]:
        return [turn["id"] for turn in await caller.items(path, q=words, limit=1)]

    for recorded in (0, 3):
        await caller.recorded(session_id, turns=recorded)
        assert await found("blue") == [one, two]
        assert await found("Größe") == [one]
        assert await found('"the 7% bird"?\nit') == [one]
        assert await found("7_") == [], "a character of patterns stands for itself"
        assert await found("user_message") == [], "names of members are no words"
    await caller.say(session_id, "Red.")
    [hit] = [turn for turn in await caller.items(path, q="blue") if turn["id"] == two]
    [branch] = (await caller.session(session_id))["discarded_branches"]
    assert (hit["branch"], hit["index"]) == (branch["id"], 2)
    assert hit["text"].startswith("…")
    assert "BLUE one" in hit["text"]
    assert len(hit["text"]) <= 80
    assert greeting not in await found("blue")
    problem(await caller.get(path, q=""), 422, "validation_error")
    problem(await caller.get(path, q="a\x00b"), 422, "validation_error")

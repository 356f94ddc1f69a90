"""A worker that goes on while Temporal's database is set back: it holds newer state than its server."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from playhead.temporal.dev_server import free_port, server_program
from tests.e2e.processes import until_seen
from tests.e2e.services import forked_playhead, forked_service
from tests.operators.operator_stack import Json, copied, restored, texts


def test_a_worker_that_was_not_restarted_is_named_as_the_reason_and_goes_on_once_it_is(tmp_path: Path) -> None:
    temporal_port, api_port = free_port(), free_port()
    address = {"TEMPORAL_ADDRESS": f"127.0.0.1:{temporal_port}", "PLAYHEAD_API_PORT": str(api_port)}
    address["PLAYHEAD_DATABASE_URL"] = f"sqlite:///{tmp_path}/playhead.db"
    ports = (f"--temporal-port={temporal_port}", f"--temporal-ui-port={free_port()}")
    server = ("temporal", f"--data-dir={tmp_path}/data", *ports)
    assert forked_playhead(tmp_path, "db", "upgrade", **address).returncode == 0
    key = forked_playhead(tmp_path, "keys", "create", "tests", **address).stdout.strip()
    with (
        forked_service(tmp_path, "worker", **address) as worker,
        forked_service(tmp_path, "api", **address) as api,
        httpx2.Client(base_url=f"http://127.0.0.1:{api_port}", trust_env=False, timeout=90) as http,
    ):
        http.headers["Authorization"] = f"Bearer {key}"

        def is_ready() -> bool:
            try:
                return http.get("/readyz").status_code == 200
            except httpx2.TransportError:
                return False

        with forked_service(tmp_path, *server):
            until_seen(is_ready, lambda: api.log)
            worker.until_logged("worker polling for tasks")
            agent = {"name": "echo", "start": "only", "nodes": {"only": {"greeting": "Hello.", "prompt": "Talk."}}}
            assert http.post("/v1/agents", json=agent).status_code == 201
            session_id = http.post("/v1/sessions", json={"agent": "echo"}).json()["id"]
            path = f"/v1/sessions/{session_id}"
            assert http.post(f"{path}/messages", json={"text": "One"}).status_code == 200
            until_seen(lambda: is_recorded(http, path, 2), lambda: "it was not recorded")
            until_seen(lambda: is_at_rest(temporal_port, session_id), lambda: "its workflow did not come to rest")
        until_seen(lambda: not is_ready(), lambda: "the API did not notice that Temporal is gone")
        copied(tmp_path, "temporal.db", tmp_path / "backup")
        with forked_service(tmp_path, *server):
            until_seen(is_ready, lambda: api.log)
            for text in ("Two", "Three"):
                assert http.post(f"{path}/messages", json={"text": text}).status_code == 200
            until_seen(lambda: is_recorded(http, path, 4), lambda: "it was not recorded")
            until_seen(lambda: is_at_rest(temporal_port, session_id), lambda: "its workflow did not come to rest")
            recorded = {read: http.get(f"{path}{read}").json() for read in READS}
        until_seen(lambda: not is_ready(), lambda: "the API did not notice that Temporal is gone")
        restored(tmp_path / "backup", "temporal.db", tmp_path)
        with forked_service(tmp_path, *server):
            until_seen(is_ready, lambda: api.log)
            four = {"text": "Four", "message_id": "m-4"}
            answers = every_command(http, path, recorded["/turns"]["items"][-1]["id"], four)
            found = {answer.request.url.path: (answer.status_code, answer.json().get("reason")) for answer in answers}
            assert found == dict.fromkeys(found, (503, "worker_is_ahead")), [answer.text for answer in answers]
            assert {answer.json()["code"] for answer in answers} == {"session_stuck"}
            assert {read: http.get(f"{path}{read}").json() for read in READS} == recorded
            assert texts(http.get(path).json()) == [None, "One", "Two", "Three"]
            assert "Three" in http.get(f"{path}/transcript").text
            assert worker.told_to_end() == 0, worker.log
            with forked_service(tmp_path, "worker", **address):
                answer = http.post(f"{path}/messages", json=four)
                assert answer.status_code == 200, answer.text
                assert texts(answer.json()) == [None, "One", "Four"]
                until_seen(lambda: is_recorded(http, path, 5), lambda: http.get(path).text)
                [branch] = http.get(path).json()["discarded_branches"]
                assert [turn["user_message"]["text"] for turn in branch["turns"]] == ["Two", "Three"]


COMMANDS: tuple[tuple[str, str, Json], ...] = (
    ("POST", "turns/{turn}/edit", {"text": "Five"}),
    ("POST", "turns/{turn}/regenerate", {}),
    ("POST", "cancel", {}),
    ("POST", "rewind", {"turn_id": None}),
    ("POST", "branches/br_0/restore", {}),
    ("POST", "approvals/call_0/approve", {}),
    ("POST", "approvals/call_0/deny", {}),
    ("POST", "client-calls/call_0/result", {"result": "done"}),
    ("PUT", "simulator", {"enabled": False}),
    ("POST", "end", {}),
)
"""Every command of a session besides messages."""
READS = ("/turns", "/tree", "/branches")


def every_command(http: httpx2.Client, path: str, turn_id: str, message: Json) -> list[httpx2.Response]:
    """The answers to a message and to every other command of a session, sent at once."""
    sent = [("POST", "messages", message), *COMMANDS]
    requests = [
        http.build_request(method, f"{path}/{command.format(turn=turn_id)}", json=body)
        for method, command, body in sent
    ]
    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(http.send, requests))


def is_recorded(http: httpx2.Client, path: str, ledger_rows: int) -> bool:
    """True when the store knows the session as it is shown, and bills so many turns."""
    session = http.get(path).json()
    [item] = [each for each in http.get("/v1/sessions").json()["items"] if each["id"] == session["id"]]
    rows = http.get("/v1/usage/ledger", params={"session": session["id"]}).json()["items"]
    return bool(item["revision"] == session["revision"] and len(rows) == ledger_rows)


def is_at_rest(temporal_port: int, session_id: str) -> bool:
    """True when the session's worker knows all of its history: no command of its last task is an event it has not seen.

    Only then can the worker write nothing into a history that is set back (see test_polluted_history.py).
    """
    command = ("workflow", "show", "-w", f"session-{session_id}", "-o", "json")
    shown = subprocess.run(
        [str(server_program()), *command, "--address", f"127.0.0.1:{temporal_port}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return bool(json.loads(shown.stdout)["events"][-1]["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_COMPLETED")

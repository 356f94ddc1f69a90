"""The words that a judge quotes are marked where they were said; a suite shows what its budget reserves for runs."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from tests.page.agents import cents, shop
from tests.page.browser import Person
from tests.page.stack import PageStack, gate
from tests.support.provider import ProviderRequest, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import done

JUDGE = "quoting-judge"
CRITERION = "The agent never promises a discount."
PROMISE = "you get a discount of ten percent"
REPLY = f"We open at nine, and {PROMISE} on Mondays."
HELD = "$0.3000"
"""Reserved for a run: its limit of ten cents, an exchange and a judge, priced as the limit as no price is known."""


class QuotingJudge(ScriptedModel):
    """A judge that quotes the promise from the turn in which the agent gave it."""

    def reply_to(self, asked: ProviderRequest) -> ToolCallReply:
        """Write the request down, and judge."""
        self.journal.append(asked)
        verdict = {
            "criterion": 1,
            "outcome": "failed",
            "reason": "It promised one.",
            "turn_ids": [],
            "quotes": [{"turn_id": turn, "text": PROMISE} for turn in _promising_turns(asked.conversation[-1][1])],
        }
        return ToolCallReply("record_verdict", json.dumps({"verdicts": [verdict]}))


def _promising_turns(transcript: str) -> Iterator[str]:
    for turn, said in re.findall(r'^\[(turn_\w+)\] agent: "(.*)"$', transcript, re.MULTILINE):
        if PROMISE in said:
            yield turn
            return


@pytest.mark.timeout(400)
async def test_quoted_words_are_marked_in_the_suite_and_on_the_session_page(stack: PageStack, ada: Person) -> None:
    stack.provider.add(QuotingJudge(JUDGE))
    held_back = gate()
    model = stack.model("promises")
    model.script(TextReply(REPLY, gate=held_back), *[cents("We close at six.")] * 20)
    await stack.caller.push(shop("promising", "promises"))
    suite = {
        "name": "no-discounts",
        "agent": "promising",
        "caller_model": "demo",
        "judge_model": f"openai-chat:{JUDGE}",
        "budget_usd": "2.00",
        "scenarios": [
            {"id": "hours", "goal": "Ask when it opens.", "success": [CRITERION], "limits": {"max_cost_usd": "0.10"}}
        ],
    }
    started = done(await stack.caller.post("/v1/suites", suite), 201)
    page = ada.page
    await ada.open(f"/suites/{started['id']}")
    await ada.sees(f"{HELD} held")
    await ada.sees("$1.70 left of $2.00")
    await ada.has_no_violations()
    held_back.open()
    await page.get_by_role("gridcell", name="hours, run 1: Failed").click()
    await expect(page.get_by_text("held", exact=True)).to_have_count(0)

    run = page.get_by_role("complementary", name="Run 1 of hours")
    marked = run.get_by_role("article").locator("mark")
    await expect(marked).to_have_text(PROMISE)
    quote = run.get_by_role("region", name="Verdict").get_by_role("button", name=f"“{PROMISE}”")
    await quote.click()
    await expect(marked).to_be_in_viewport()
    await expect(run.locator("article[data-selected]")).to_contain_text(REPLY)
    await ada.has_no_violations()

    await run.get_by_role("link", name="Full page").click()
    await page.wait_for_url("**/sessions/ses_*")
    in_session = page.locator("article mark")
    await expect(in_session).to_have_text(PROMISE)
    await expect(page.locator("article", has=page.locator("mark"))).to_contain_text("quoted by the judge")
    await ada.has_no_violations()

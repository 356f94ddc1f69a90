"use strict";
const buttons = [...document.querySelectorAll("[data-show]")];
const runs = [...document.querySelectorAll("details.run")];

function show(outcome) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.show === outcome));
  for (const run of runs) run.hidden = outcome !== "all" && run.dataset.outcome !== outcome;
}

function unfold() {
  const wanted = location.hash && document.getElementById(location.hash.slice(1));
  const run = wanted && wanted.closest("details.run");
  if (!run) return;
  if (run.hidden) show("all");
  run.open = true;
  wanted.scrollIntoView();
}

for (const button of buttons) button.addEventListener("click", () => show(button.dataset.show));
addEventListener("hashchange", unfold);
unfold();

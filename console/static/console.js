// Makes pages live and quick; without it they work all the same.
"use strict";

// Parts that are marked live are asked for anew when the server says that
// something has changed.
const live = document.querySelector("[data-live]");
if (live && window.EventSource) {
  const source = new EventSource("/live");
  let asking = false;
  source.addEventListener("changed", async () => {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Loadfleet-Part": "1" } });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const part = page.querySelector("[data-live]");
      const now = document.querySelector("[data-live]");
      if (part && now && !now.contains(document.activeElement)) now.replaceWith(part);
    } catch {
      // The next change asks again.
    } finally {
      asking = false;
    }
  });
}

// One box chooses all that are shown.
document.querySelector("[data-all]")?.addEventListener("change", (event) => {
  for (const box of document.querySelectorAll("input[name=seq]")) box.checked = event.target.checked;
});

// A form is judged while it is written.
const form = document.querySelector("form[data-judge]");
if (form) {
  let timer, asked = 0;
  const judge = async () => {
    const mine = ++asked;
    const answer = await fetch(form.dataset.judge, {
      method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "X-Loadfleet-Part": "1" },
    });
    if (!answer.ok || mine !== asked) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const place of form.querySelectorAll("[data-problem]")) {
      const wrong = page.querySelector(`[data-wrong="${CSS.escape(place.dataset.problem)}"]`);
      const field = form.elements[place.dataset.problem];
      place.textContent = wrong ? wrong.textContent : "";
      place.hidden = !wrong;
      field?.toggleAttribute("aria-invalid", !!wrong);
    }
    for (const said of page.querySelectorAll("[data-wrong]")) said.remove();
    document.getElementById("judgement").replaceChildren(...page.body.childNodes);
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(judge, 250);
  });
}

// What is to be pasted elsewhere has a button that copies it.
for (const text of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  });
  text.before(button);
}

// Keys: g and a letter goes to a page, / to its filter.
let went = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const to = { f: "/", e: "/extractions", o: "/loads", d: "/destinations", l: "/deadletters" }[event.key];
  if (event.key === "g") went = Date.now();
  else if (to && Date.now() - went < 1500) location.assign(to);
  else if (event.key === "/") {
    event.preventDefault();
    document.querySelector("[data-filter]")?.focus();
  }
});

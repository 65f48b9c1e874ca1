// The experimenter's page, which requests the participants' progress every few seconds. The token is in the
// address after "#".
"use strict";

(() => {
  const { make } = TraitlensView;
  const EVERY = 4000; // milliseconds between requests
  const token = decodeURIComponent(location.hash.slice(1));
  const root = document.getElementById("page");
  const part = (tag, attributes = {}) => make(tag, attributes);

  const message = part("p", { role: "status", class: "paused" });
  const title = make("h1", {}, "Experimenter's page");
  const state = part("p");
  const pause = make("button", { type: "button", class: "main", onclick: () => change("pause", { paused: !shown.paused }) }, "Pause all sessions");
  const number = part("input", { type: "number", min: 1, max: 500, value: 10 });
  const group = part("select");
  const balance = part("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Balance of groups" });
  const people = part("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Participants" });
  const cards = part("div", { class: "cards" });
  const print = make("button", { type: "button", onclick: () => window.print() }, "Print");
  print.hidden = true;
  let shown = null;

  const table = (heads, rows) => make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map(([head, kind]) => make("th", { scope: "col", class: kind }, head)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, i) => make("td", { class: heads[i][1] }, cell))))));

  async function ask(address, body) {
    const options = { headers: { Authorization: "Bearer " + token } };
    if (body !== undefined) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
    try {
      const response = await fetch("api/experimenter" + address, options);
      const content = await response.json();
      if (!response.ok) throw new Error(content.refused);
      message.textContent = "";
      return content;
    } catch (error) {
      message.textContent = error instanceof TypeError
        ? "There is no connection to the server. It may have been stopped."
        : `The server refused: ${error.message}. Open the link that “traitlens rate serve” printed.`;
      return null;
    }
  }

  async function change(what, body) { draw(await ask("/" + what, body)); }

  function draw(data) {
    if (data === null) return;
    const first = shown === null;
    shown = data;
    title.textContent = `${data.study}: sessions`;
    document.title = title.textContent;
    const done = data.participants.filter((one) => one.state === "done").length;
    state.textContent = data.paused
      ? "All sessions are paused. Participants see that after their next answer, which is stored."
      : `${done} of ${data.participants.length} participants are done.`;
    state.className = data.paused ? "paused" : "";
    pause.textContent = data.paused ? "Continue all sessions" : "Pause all sessions";
    if (first) {
      const names = data.groups.length > 1 ? [["", "asked in the session"], ...data.groups.map((name) => [name, name])] : [["", data.groups[0]]];
      group.replaceChildren(...names.map(([value, name]) => make("option", { value }, name)));
    }
    balance.replaceChildren(table(
      [["Group", ""], ...data.states.map((name) => [name, "number"])],
      data.balance.map((row) => [row.group, ...data.states.map((name) => String(row[name]))])));
    people.replaceChildren(table(
      [["Participant", ""], ["Group", ""], ["State", ""], ["Trials", "number"], ["Progress", ""], ["Last answer", ""]],
      data.participants.map((one) => [
        one.participant, one.group, one.state, `${one.trials_done} of ${one.trials}`,
        make("progress", { max: Math.max(one.trials, 1), value: one.trials_done, "aria-label": `Trials of ${one.participant}` }),
        one.last_answer ? new Date(one.last_answer).toLocaleString() : "",
      ])));
  }

  async function showCards() {
    const data = await ask("/cards");
    if (data === null) return;
    print.hidden = data.length === 0;
    cards.replaceChildren(...data.map((one) => make("article", { class: "card" },
      make("h3", {}, one.participant), one.group ? make("p", {}, one.group) : null,
      make("img", { src: one.qr, alt: `QR code of the link of ${one.participant}` }),
      make("p", { class: "code" }, one.code), make("p", {}, one.link))));
  }

  root.replaceChildren(make("main", {},
    make("div", { class: "screen" }, title, message, state,
      make("div", { class: "row" }, pause),
      make("h2", {}, "Balance of groups"), balance,
      make("h2", {}, "Who is where"), people,
      make("h2", {}, "More participants"),
      make("form", { class: "row", onsubmit: async (event) => {
        event.preventDefault();
        await change("participants", { number: Number(number.value), group: group.value || null });
        if (cards.childElementCount) await showCards();
      } }, make("label", {}, "How many", number), make("label", {}, "Group", group),
      make("button", {}, "Create")),
      make("h2", {}, "Links and QR codes"),
      make("p", { class: "faint" }, "Each card belongs to one participant. Whoever has the link or the code can take part as this participant."),
      make("div", { class: "row" }, make("button", { type: "button", onclick: showCards }, "Show all cards"), print)),
    cards));

  const again = async () => { draw(await ask("")); setTimeout(again, EVERY); };
  window.addEventListener("hashchange", () => location.reload());
  again();
})();

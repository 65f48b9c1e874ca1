// A session with traitlens's own server: each answer is sent at once, and again until the server confirms it.
"use strict";

(async () => {
  const { View, make, paragraphs } = TraitlensView;
  const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const root = document.getElementById("page");
  let token = decodeURIComponent(location.hash.slice(1));
  let view = null;

  // Send a request, and repeat it until the server responds; a message is shown while there is no connection.
  async function ask(address, options = {}) {
    for (;;) {
      try {
        const response = await fetch(address, { ...options, headers: { Authorization: "Bearer " + token } });
        if (response.status < 500) {
          if (view) view.showMessage("");
          return response;
        }
      } catch { /* no connection */ }
      if (view) view.showMessage(view.text.status.lost);
      await wait(1500);
    }
  }

  const faces = new Map(); // number -> Promise of an address; only the latest few
  function loadFace(number) {
    if (!faces.has(number)) {
      const loading = ask("api/faces/" + number).then((response) => {
        if (!response.ok) throw new Error("no face");
        return response.blob();
      }).then((blob) => URL.createObjectURL(blob));
      loading.catch(() => faces.delete(number));
      faces.set(number, loading);
      while (faces.size > 6) {
        const [oldest, address] = faces.entries().next().value;
        faces.delete(oldest);
        address.then(URL.revokeObjectURL, () => {});
      }
    }
    return faces.get(number);
  }

  function askForCode(wrong) {
    const words = view.text.code;
    return new Promise((resolve) => {
      const field = make("input", { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
      const form = make("form", { onsubmit: (event) => { event.preventDefault(); resolve(field.value.trim().toLowerCase()); } },
        make("p", {}, make("label", {}, words.label, field)), make("button", { class: "main" }, words.next));
      view.again = null;
      view.frame("text", words.title, [...paragraphs(wrong ? [words.wrong] : words.text, {}), form]);
      field.focus();
    });
  }

  async function findSession() {
    let wrong = token !== "";
    for (;;) {
      if (token !== "") {
        const response = await ask("api/session");
        if (response.ok) return response.json();
      }
      token = await askForCode(wrong);
      wrong = true;
      history.replaceState(null, "", "#" + encodeURIComponent(token));
    }
  }

  async function send(state, answer) {
    view.showMessage(view.text.status.saving);
    const body = JSON.stringify({ participant: state.participant, step: state.position, ...answer });
    const response = await ask("api/answer", { method: "POST", body });
    const content = await response.json();
    if (response.ok) return content;
    if (content.state) return content.state; // the answer was stored before: continue at the server's step
    view.showMessage(view.text.status.error);
    await wait(3000);
    return findSession();
  }

  // Nothing is stored about a person from a panel before they agree.
  async function join(ids) {
    const request = async (agreed) => {
      const response = await ask("api/join", { method: "POST", body: JSON.stringify({ ids, agreed }) });
      return response.ok ? response.json() : response.status === 403 ? "full" : "unknown";
    };
    view.consentLine = "consent";
    let answer = await request(false);
    if (answer.state) {
      await view.show(answer.state);
      answer = await request(true);
    }
    if (answer.token) {
      token = answer.token;
      history.replaceState(null, "", location.pathname + "#" + encodeURIComponent(token));
      return true;
    }
    if (answer === "full") view.full();
    return answer !== "full";
  }

  window.addEventListener("hashchange", () => location.reload());
  const { texts, scale, questionnaires, panel } = await (await ask("api/texts")).json();
  view = new View(root, texts, scale, loadFace, { questionnaires, panel: panel && panel.title });
  const asked = new URLSearchParams(location.search);
  if (token === "" && panel && asked.has(panel.parameters[0])) {
    const ids = Object.fromEntries(panel.parameters.map((name) => [name, asked.get(name) || ""]));
    if (!(await join(ids))) return;
  }
  let state = await findSession();
  for (;;) {
    for (let drawn = false; state.paused && state.next !== ""; state = await findSession()) {
      if (!drawn) view.hold(state);
      drawn = true;
      await wait(3000);
    }
    state.ahead.forEach((number) => loadFace(number).catch(() => {}));
    state = await send(state, await view.show(state));
  }
})();

"use strict";
(function () {
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
  const data = JSON.parse(document.getElementById("data").textContent);
  const picker = data.picker;
  if (!picker) return;
  const byId = (id) => document.getElementById(id);
  const minus = (text) => String(text).replace("-", "\u2212");
  const write = (value) => (value === null || value === undefined ? "\u2013" : minus(value.toFixed(2)));

  function fill(select, names) {
    select.replaceChildren(...names.map(([value, name]) => {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = name;
      return option;
    }));
  }

  const trait = byId("pick-trait"), group = byId("pick-group"), image = byId("pick-image");
  let order = [];

  function cellOf(i) { return picker.images[i].cells[+group.value][+trait.value]; }

  /* Sort the faces that have a map by the chosen group's prediction of the chosen trait. */
  function sortFaces() {
    const kept = image.value;
    const predicted = (i) => (cellOf(i) && cellOf(i)[1] !== null ? cellOf(i)[1] : Infinity);
    order = picker.images.map((_, i) => i).filter((i) => picker.images[i].map || !picker.n_maps);
    order.sort((a, b) => predicted(a) - predicted(b) || a - b);
    fill(image, order.map((i) => [i, `${picker.images[i].name} (${write(cellOf(i) && cellOf(i)[1])})`]));
    if (kept !== "" && order.includes(+kept)) image.value = kept;
    byId("strip").replaceChildren(...order.map((i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("role", "option");
      button.dataset.image = i;
      const face = document.createElement("img");
      face.src = picker.images[i].face;
      face.alt = picker.images[i].name;
      face.decoding = "async";
      button.append(face);
      button.addEventListener("click", () => { image.value = i; show(); });
      return button;
    }));
  }

  function show() {
    const i = +image.value, chosen = picker.images[i], cell = cellOf(i), map = cell && cell[2];
    byId("pane-face").src = chosen.face;
    byId("pane-face").alt = `Face ${chosen.name}`;
    byId("pane-over").src = chosen.face;
    for (const id of ["pane-map", "pane-under"]) {
      byId(id).parentElement.closest("figure").hidden = !map;
      if (map) byId(id).src = map;
      byId(id).alt = map ? `Relevance map of ${chosen.name}` : "";
    }
    const limit = picker.limits[+trait.value];
    document.querySelector(".scale").hidden = !map;
    byId("scale-low").textContent = limit ? "\u2212" + limit.toPrecision(2) : "";
    byId("scale-high").textContent = limit ? "+" + limit.toPrecision(2) : "";
    byId("pick-name").textContent = `Ratings of ${chosen.name} on ${picker.traits[+trait.value]}`;
    byId("pick-ratings").replaceChildren(...picker.groups.map((name, g) => {
      const row = document.createElement("tr"), values = chosen.cells[g][+trait.value] || [];
      [name, write(values[1]), write(values[0])].forEach((text, place) => {
        const td = document.createElement("td");
        td.textContent = text;
        if (!place) td.className = "name";
        row.append(td);
      });
      return row;
    }));
    const place = order.indexOf(i);
    byId("pick-back").disabled = place <= 0;
    byId("pick-on").disabled = place >= order.length - 1;
    for (const button of byId("strip").children) {
      const here = +button.dataset.image === i;
      button.setAttribute("aria-selected", here);
      if (here) {
        const strip = byId("strip");
        strip.scrollLeft = button.offsetLeft - strip.offsetLeft - strip.clientWidth / 2 + button.clientWidth / 2;
      }
    }
  }

  function step(by) {
    const place = order.indexOf(+image.value) + by;
    if (place >= 0 && place < order.length) { image.value = order[place]; show(); }
  }

  /* Scatter plots: the nearest dot's face. */
  function follow(figure) {
    const hover = byId("hover"), drawn = figure.querySelector("img");
    const narrow = window.matchMedia("(max-width: 600px)");
    function find(event) {
      const frame = drawn.getBoundingClientRect();
      const x = (event.clientX - frame.left) / frame.width, y = (event.clientY - frame.top) / frame.height;
      for (const panel of data.scatter[narrow.matches ? "narrow" : "wide"]) {
        const [left, top, width, height] = panel.box, [low, high] = panel.limits;
        const across = (x - left) / width, down = (y - top) / height;
        if (across < 0 || across > 1 || down < 0 || down > 1) continue;
        const g = picker.groups.indexOf(panel.group), t = picker.traits.indexOf(panel.trait);
        let best = null, least = 0.06;
        picker.images.forEach((entry) => {
          const cell = entry.cells[g][t];
          if (!cell || cell[0] === null || cell[1] === null) return;
          const share = (value) => (value - low) / (high - low);
          const distance = Math.hypot(share(cell[1]) - across, 1 - share(cell[0]) - down);
          if (distance < least) { least = distance; best = [entry, cell]; }
        });
        return best;
      }
      return null;
    }
    function move(event) {
      const found = find(event);
      hover.hidden = !found;
      if (!found) return;
      hover.querySelector("img").src = found[0].face;
      hover.querySelector("p").textContent =
        `${found[0].name}\npredicted ${write(found[1][1])}\nobserved ${write(found[1][0])}`;
      const right = window.scrollX + document.documentElement.clientWidth - hover.offsetWidth - 4;
      hover.style.left = Math.max(4, Math.min(event.pageX + 14, right)) + "px";
      hover.style.top = event.pageY + 14 + "px";
    }
    drawn.addEventListener("pointermove", move);
    drawn.addEventListener("pointerdown", move);
    drawn.addEventListener("pointerleave", () => { hover.hidden = true; });
  }

  document.querySelectorAll("[data-scatter]").forEach(follow);
  if (!byId("picker")) return;
  fill(trait, picker.traits.map((name, i) => [i, name]));
  fill(group, picker.groups.map((name, i) => [i, name]));
  for (const select of [trait, group]) select.addEventListener("change", () => { sortFaces(); show(); });
  image.addEventListener("change", show);
  byId("pick-back").addEventListener("click", () => step(-1));
  byId("pick-on").addEventListener("click", () => step(1));
  const opacity = byId("pick-opacity");
  const fade = () => { byId("pane-over").style.opacity = opacity.value / 100; };
  opacity.addEventListener("input", fade);
  byId("picker").hidden = false;
  sortFaces();
  image.value = order[order.length - 1];
  show();
  fade();
})();

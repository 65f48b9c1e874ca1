"use strict";
(function () {
  const byId = (id) => document.getElementById(id);
  const all = (selector) => document.querySelectorAll(selector);
  const make = (tag, text, properties) => Object.assign(document.createElement(tag), { textContent: text || "" }, properties);
  addEventListener("beforeprint", () => all("details:not(.unprinted)").forEach((part) => { part.open = true; }));

  /* Contents: folded on small screens; the part that is read is marked. */
  if (window.matchMedia("(max-width: 1179px)").matches) byId("contents").open = false;
  const links = new Map([...all("nav a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  all("main > section").forEach((section) => { if (links.has(section.id)) watcher.observe(section); });

  /* Downloads: what the page holds, so that a moved page has no dead link. */
  function save(blob, name) {
    const link = make("a", "", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  function tools(after, caption) {
    const line = make("p", caption, { className: "tools" });
    after.append(line);
    return (text, act) => {
      const button = make("button", text, { type: "button" });
      button.addEventListener("click", () => act(button));
      line.append(button);
    };
  }
  const svgOf = (address) => new Blob([decodeURIComponent(address.slice(address.indexOf(",") + 1))], { type: "image/svg+xml" });
  function savePng(address, width, name) {
    const picture = new Image();
    picture.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = Math.round((width / 25.4) * 600);
      canvas.height = Math.round((canvas.width * picture.naturalHeight) / picture.naturalWidth);
      const context = canvas.getContext("2d");
      context.fillStyle = "#fff";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(blob, name));
    };
    picture.src = address;
  }
  all("figure[data-name]").forEach((figure) => {
    const add = tools(figure, "Save: ");
    const widths = [[183, figure.querySelector("img").getAttribute("src")], [89, figure.querySelector("source").getAttribute("srcset")]];
    for (const [width, address] of widths) {
      const name = `${figure.dataset.name}_${width}mm`;
      add(`SVG, ${width} mm`, () => save(svgOf(address), `${name}.svg`));
      add(`PNG, ${width} mm`, () => savePng(address, width, `${name}.png`));
    }
  });
  const cellText = (cell) => {
    let text = cell.textContent.trim().replaceAll("\u2212", "-");
    if (text === "\u2013") text = "";
    if (/^[=+@\t]|^-(?![.\d])/.test(text)) text = `'${text}`;
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  /* Copy with italics and cells, as a selection; scripts of a page from a disk may not use the clipboard. */
  function copy(button, part) {
    const before = button.textContent, range = document.createRange(), selection = getSelection();
    range.selectNodeContents(part);
    selection.removeAllRanges();
    selection.addRange(range);
    const done = document.execCommand("copy");
    if (done) selection.removeAllRanges();
    button.textContent = done ? "Copied" : "Copy the selected text by hand";
    setTimeout(() => { button.textContent = before; }, 1500);
  }
  all(".fold .table").forEach((frame) => {
    const add = tools(frame.parentElement, "");
    const csv = () => [...frame.querySelectorAll("tr")].map((row) => [...row.cells].map(cellText).join(",")).join("\r\n");
    const name = frame.getAttribute("aria-label").toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 40);
    add("Download CSV", () => save(new Blob(["\ufeff" + csv()], { type: "text/csv" }), `${name}.csv`));
    add("Copy table", (button) => copy(button, frame.querySelector("table")));
  });
  all(".paste").forEach((part) => {
    const text = make("div");
    text.append(...part.childNodes);
    part.append(text);
    tools(part, "")("Copy", (button) => copy(button, text));
  });

  const data = JSON.parse(byId("data").textContent);
  const picker = data.picker;
  if (!picker) return;
  const minus = (text) => String(text).replace("-", "\u2212");
  const write = (value) => (value === null || value === undefined ? "\u2013" : minus(value.toFixed(2)));

  function fill(select, names) {
    select.replaceChildren(...names.map(([value, name]) => make("option", name, { value })));
  }

  const trait = byId("pick-trait"), group = byId("pick-group"), image = byId("pick-image"), strip = byId("strip");
  let order = [];

  function cellOf(i, g) { return picker.images[i].cells[g === undefined ? +group.value : g][+trait.value]; }

  /* Sort the faces that have a map by the chosen group's prediction of the chosen trait. */
  function sortFaces() {
    const kept = image.value;
    const predicted = (i) => (cellOf(i) && cellOf(i)[1] !== null ? cellOf(i)[1] : Infinity);
    order = picker.images.map((_, i) => i).filter((i) => picker.images[i].map || !picker.n_maps);
    order.sort((a, b) => predicted(a) - predicted(b) || a - b);
    fill(image, order.map((i) => [i, `${picker.images[i].name} (${write(cellOf(i) && cellOf(i)[1])})`]));
    if (kept !== "" && order.includes(+kept)) image.value = kept;
    strip.replaceChildren(...order.map((i) => {
      const button = make("button", "", { type: "button", tabIndex: -1 });
      button.setAttribute("role", "option");
      button.dataset.image = i;
      button.append(make("img", "", { src: picker.images[i].face, alt: picker.images[i].name, decoding: "async" }));
      button.addEventListener("click", () => { image.value = i; show(); });
      return button;
    }));
  }

  function pane(chosen, map, about) {
    const figure = make("figure"), frame = make("div", "", { className: "overlay" });
    if (map) {
      frame.append(make("img", "", { src: map, alt: `Map of ${chosen.name}: ${about}` }));
      frame.append(make("img", "", { src: chosen.face, alt: "", className: "over" }));
    } else frame.append(make("img", "", { src: chosen.face, alt: `Face ${chosen.name}` }));
    figure.append(frame, make("figcaption", about));
    return figure;
  }

  /* The shown face and maps beside each other, as one picture. */
  function savePanes() {
    const side = 448, panes = [...all("#panes figure")], canvas = document.createElement("canvas");
    canvas.width = side * panes.length;
    canvas.height = side + 40;
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = "#000";
    context.font = "24px sans-serif";
    panes.forEach((figure, place) => {
      figure.querySelectorAll("img").forEach((layer) => {
        context.filter = layer.className === "over" ? "grayscale(1)" : "none";
        context.globalAlpha = layer.className === "over" ? +getComputedStyle(layer).opacity : 1;
        context.globalCompositeOperation = getComputedStyle(layer).mixBlendMode === "multiply" ? "multiply" : "source-over";
        context.drawImage(layer, place * side, 0, side, side);
      });
      context.filter = "none";
      context.globalAlpha = 1;
      context.globalCompositeOperation = "source-over";
      context.fillText(figure.querySelector("figcaption").textContent, place * side + 8, side + 28, side - 16);
    });
    canvas.toBlob((blob) => save(blob, `${picker.images[+image.value].name.replace(/[^\w.-]+/g, "_")}_${picker.traits[+trait.value]}.png`));
  }

  function show() {
    const i = +image.value, t = +trait.value, chosen = picker.images[i];
    const shown = [pane(chosen, null, "Face")];
    picker.groups.forEach((name, g) => {
      const cell = cellOf(i, g);
      if (cell && cell[2]) shown.push(pane(chosen, cell[2], name));
    });
    const difference = chosen.differences && chosen.differences[t];
    if (difference) shown.push(pane(chosen, difference, `${picker.groups[0]} \u2212 ${picker.groups[1]}`));
    byId("panes").replaceChildren(...shown);
    const limit = picker.limits[t];
    document.querySelector(".scale").hidden = shown.length === 1;
    byId("scale-low").textContent = limit ? "\u2212" + limit.toPrecision(2) : "";
    byId("scale-high").textContent = limit ? "+" + limit.toPrecision(2) : "";
    byId("pick-name").textContent = `Ratings of ${chosen.name} on ${picker.traits[t]}`;
    byId("pick-command").textContent = `traitlens figure faces results --trait "${picker.traits[t]}" --image "${chosen.name}"`;
    byId("pick-profile").textContent = `traitlens figure profile results --image "${chosen.name}"`;
    byId("pick-ratings").replaceChildren(...picker.groups.map((name, g) => {
      const row = make("tr"), values = chosen.cells[g][t] || [];
      [name, write(values[1]), write(values[0])].forEach((text, place) => row.append(make("td", text, { className: place ? "" : "name" })));
      return row;
    }));
    const place = order.indexOf(i);
    byId("pick-back").disabled = place <= 0;
    byId("pick-on").disabled = place >= order.length - 1;
    for (const button of strip.children) {
      const here = +button.dataset.image === i;
      button.setAttribute("aria-selected", here);
      button.tabIndex = here ? 0 : -1;
      if (here) strip.scrollLeft = button.offsetLeft - strip.offsetLeft - strip.clientWidth / 2 + button.clientWidth / 2;
    }
    fade();
  }

  function go(place) {
    if (place < 0 || place >= order.length) return;
    image.value = order[place];
    show();
  }
  const step = (by) => go(order.indexOf(+image.value) + by);

  strip.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: () => step(1), ArrowLeft: () => step(-1), Home: () => go(0), End: () => go(order.length - 1) };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
    strip.querySelector('[aria-selected="true"]').focus();
  });

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

  all("[data-scatter]").forEach(follow);
  if (!byId("picker")) return;
  tools(byId("panes").parentElement, "")("Save these pictures", savePanes);
  fill(trait, picker.traits.map((name, i) => [i, name]));
  fill(group, picker.groups.map((name, i) => [i, name]));
  for (const select of [trait, group]) select.addEventListener("change", () => { sortFaces(); show(); });
  image.addEventListener("change", show);
  byId("pick-back").addEventListener("click", () => step(-1));
  byId("pick-on").addEventListener("click", () => step(1));
  const opacity = byId("pick-opacity");
  function fade() { all(".over").forEach((face) => { face.style.opacity = opacity.value / 100; }); }
  opacity.addEventListener("input", fade);
  byId("picker").hidden = false;
  sortFaces();
  image.value = order[order.length - 1];
  show();
})();

"use strict";
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);

  // 1. Language: both are in the page; the switch shows one.
  const speak = (language) => {
    root.dataset.language = language;
    root.lang = language === "zh" ? "zh-Hans" : "en";
    for (const one of document.querySelectorAll("[data-zh][data-en]")) one.setAttribute("aria-label", one.dataset[language]);
  };
  const switcher = byId("language");
  switcher.hidden = false;
  switcher.addEventListener("click", () => speak(root.dataset.language === "zh" ? "en" : "zh"));
  if (new URLSearchParams(location.search).get("lang") === "en") speak("en");

  // 2. Paper shows everything.
  addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });

  // 3. The map.
  const drawing = byId("drawing");
  const full = drawing.viewBox.baseVal;
  const whole = { x: 0, y: 0, width: full.width, height: full.height };
  const view = { ...whole };
  const perKm = Number(drawing.dataset.unitsPerKm);
  const scale = byId("scale");
  const panel = byId("panel");
  const tip = byId("tip");
  let held = null;
  let chosen = null;
  const pointers = new Map();

  const show = () => {
    full.x = view.x; full.y = view.y; full.width = view.width; full.height = view.height;
    const units = view.width / Math.max(1, drawing.clientWidth);
    drawing.style.setProperty("--k", String(units));
    drawing.classList.toggle("near", view.width < whole.width * 0.99);
    const room = 130 * units / perKm;
    const step = 10 ** Math.floor(Math.log10(room));
    const km = [5, 2, 1].map((times) => times * step).find((one) => one <= room) || step;
    scale.firstElementChild.textContent = km >= 1 ? `${km} km` : `${Math.round(km * 1000)} m`;
    scale.lastElementChild.style.width = `${km * perKm / units}px`;
  };
  const zoom = (factor, x, y) => {
    const width = Math.min(whole.width, Math.max(whole.width / 60, view.width * factor));
    const real = width / view.width;
    view.x = x - (x - view.x) * real; view.y = y - (y - view.y) * real;
    view.width = width; view.height = whole.height * width / whole.width;
    keep(); show();
  };
  const keep = () => {
    view.x = Math.min(Math.max(view.x, 0), whole.width - view.width);
    view.y = Math.min(Math.max(view.y, 0), whole.height - view.height);
  };
  const spot = (event) => {
    const box = drawing.getBoundingClientRect();
    return { x: view.x + (event.clientX - box.left) / box.width * view.width, y: view.y + (event.clientY - box.top) / box.height * view.height };
  };
  const middle = () => ({ x: view.x + view.width / 2, y: view.y + view.height / 2 });

  const rowOf = (stop) => byId(stop.dataset.stop);
  const choose = (stop, far) => {
    if (chosen) { chosen.classList.remove("chosen"); chosen.tabIndex = -1; rowOf(chosen).classList.remove("chosen"); }
    chosen = stop;
    stop.classList.add("chosen");
    stop.tabIndex = 0;
    const row = rowOf(stop);
    row.classList.add("chosen");
    const heads = row.closest("table").tHead.rows[0].cells;
    const who = row.closest("details").querySelector("summary .who");
    const title = document.createElement("h3");
    title.append(...[...who.childNodes].map((one) => one.cloneNode(true)));
    const list = document.createElement("dl");
    [...row.cells].forEach((cell, place) => {
      if (!cell.textContent.trim() || cell.textContent.trim() === "—") return;
      const line = document.createElement("div");
      const term = document.createElement("dt");
      const value = document.createElement("dd");
      term.append(...[...heads[place].childNodes].map((one) => one.cloneNode(true)));
      value.append(...[...cell.childNodes].map((one) => one.cloneNode(true)));
      line.append(term, value);
      list.append(line);
    });
    panel.replaceChildren(title, list);
    for (const one of drawing.querySelectorAll(".route.lit")) one.classList.remove("lit");
    stop.closest(".route").classList.add("lit");
    if (far) {
      const at = stop.parentNode.transform.baseVal.consolidate().matrix;
      if (at.e < view.x || at.e > view.x + view.width || at.f < view.y || at.f > view.y + view.height) {
        view.x = at.e - view.width / 2; view.y = at.f - view.height / 2; keep(); show();
      }
    }
  };
  const hint = (stop) => {
    if (!stop) { tip.hidden = true; return; }
    const row = rowOf(stop);
    tip.replaceChildren(...[row.cells[2], row.cells[1]].flatMap((cell) => [...[...cell.childNodes].map((one) => one.cloneNode(true)), " "]));
    const box = stop.getBoundingClientRect();
    const ground = byId("chart").getBoundingClientRect();
    const left = box.left + box.width / 2 - ground.left;
    tip.hidden = false;
    tip.style.left = `${Math.min(Math.max(left, 90), ground.width - 90)}px`;
    tip.style.top = `${Math.max(box.top + box.height / 2 - ground.top, 50)}px`;
  };

  drawing.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    held = { view: { ...view }, moved: 0 };
  });
  drawing.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) { if (event.pointerType === "mouse") hint(event.target.closest(".stop")); return; }
    const before = pointers.get(event.pointerId);
    const units = view.width / Math.max(1, drawing.clientWidth);
    if (pointers.size === 2) {
      const other = [...pointers.values()].find((one) => one.pointerId !== event.pointerId);
      const far = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      const at = spot({ clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
      zoom(far(before) / far(event), at.x, at.y);
      held.moved += 10;
    } else {
      view.x -= (event.clientX - before.clientX) * units; view.y -= (event.clientY - before.clientY) * units;
      held.moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
      if (held.moved > 6) { drawing.classList.add("held"); hint(null); }
      keep(); show();
    }
    pointers.set(event.pointerId, event);
  });
  const release = (event) => { pointers.delete(event.pointerId); drawing.classList.remove("held"); };
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) drawing.addEventListener(name, release);
  drawing.addEventListener("pointerleave", () => hint(null));
  drawing.addEventListener("click", (event) => {
    const stop = event.target.closest(".stop");
    if (stop && !(held && held.moved > 6)) choose(stop, false);
  });
  drawing.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const at = spot(event);
    zoom(event.deltaY > 0 ? 1.18 : 1 / 1.18, at.x, at.y);
  }, { passive: false });

  // Arrow keys walk: left and right along a route, up and down between the routes that are shown.
  const routes = () => [...drawing.querySelectorAll(".route:not(.off)")].reverse();
  const walk = (event) => {
    const stop = event.target.closest(".stop");
    if (!stop) return;
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const across = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(stop, true); return; }
    if (along === undefined && across === undefined) return;
    event.preventDefault();
    const shown = routes();
    const stops = (route) => [...route.querySelectorAll(".stop")];
    let next;
    if (along !== undefined) {
      const mine = stops(stop.closest(".route"));
      next = mine[(mine.indexOf(stop) + along + mine.length) % mine.length];
    } else {
      next = stops(shown[(shown.indexOf(stop.closest(".route")) + across + shown.length) % shown.length])[0];
    }
    if (next) { choose(next, true); next.focus({ preventScroll: true }); }
  };
  drawing.addEventListener("keydown", walk);

  byId("tools").hidden = false;
  byId("tools").addEventListener("click", (event) => {
    const act = event.target.dataset.zoom;
    const at = middle();
    if (act === "in") zoom(1 / 1.6, at.x, at.y);
    if (act === "out") zoom(1.6, at.x, at.y);
    if (act === "reset") { Object.assign(view, whole); show(); }
  });

  const layer = (key) => drawing.querySelector(`[data-key="${key}"]`);
  const boxes = [...byId("legend").querySelectorAll("input")];
  const toggle = (box) => {
    layer(box.dataset.route).classList.toggle("off", !box.checked);
    const first = drawing.querySelector('.stop[tabindex="0"]');
    if (!first || first.closest(".off")) {
      if (first) first.tabIndex = -1;
      const next = routes().map((one) => one.querySelector(".stop")).find(Boolean);
      if (next) next.tabIndex = 0;
    }
  };
  for (const box of boxes) {
    box.addEventListener("change", () => toggle(box));
    const line = box.closest("li");
    line.addEventListener("mouseenter", () => layer(box.dataset.route).classList.add("lit"));
    line.addEventListener("mouseleave", () => { if (!chosen || chosen.closest(".route") !== layer(box.dataset.route)) layer(box.dataset.route).classList.remove("lit"); });
  }
  byId("choices").hidden = false;
  byId("choices").addEventListener("click", (event) => {
    const wish = event.target.closest("button")?.dataset.show;
    if (!wish) return;
    for (const box of boxes) { box.checked = wish === "all" || (wish === "driven" && !box.closest("li").classList.contains("quiet")); toggle(box); }
  });

  scale.hidden = false;
  const first = routes().map((one) => one.querySelector(".stop")).find(Boolean);
  if (first) first.tabIndex = 0;
  new ResizeObserver(show).observe(drawing);
  show();
})();

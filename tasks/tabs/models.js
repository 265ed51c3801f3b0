// The Models tab in the browser: filters, folds, the family graph's panel, the leaderboard's choice, copying.
// Runs when the tab is opened first; what needs the server is in models.py.
if (!window.mzModels) {
  const BETWEEN = "|";
  const list = () => document.querySelector("#models-table");
  const bar = () => document.querySelector("#models-filter");
  const unfolded = new Map(); // family -> whether its fold is open, as the visitor left it
  let picked = ""; // the checkpoint that was pressed last: it gets the focus that drawing the list anew takes away

  const chosen = () => [...bar().querySelectorAll("[data-filter]")]
    .map((one) => [one.dataset.filter, one.type === "checkbox" ? (one.checked ? one.value : "") : one.value])
    .filter(([, value]) => value);

  window.mzModels = () => {
    if (!list() || !bar()) return;
    const words = bar().querySelector("input[type=search]").value.toLowerCase().match(/\S+/g) ?? [];
    const wanted = chosen();
    const active = words.length + wanted.length > 0;
    let found = 0, all = 0;
    for (const group of list().querySelectorAll(".mz-family")) {
      group.dataset.unfolded ??= String(group.open);
      let here = 0;
      for (const row of group.querySelectorAll("tr[data-name]")) {
        const fits = words.every((word) => row.dataset.words.includes(word))
          && wanted.every(([key, value]) => row.dataset[key].split(BETWEEN).includes(value));
        row.hidden = !fits;
        if (row.nextElementSibling?.matches(".mz-open")) row.nextElementSibling.hidden = !fits;
        here += fits;
        all += 1;
      }
      group.hidden = !here;
      group.open = active || (unfolded.get(group.dataset.family) ?? group.dataset.unfolded === "true");
      found += here;
    }
    const none = list().querySelector(".mz-nothing");
    if (none) none.hidden = found > 0;
    bar().querySelector("[data-clear]").hidden = !active;
    const status = bar().querySelector(".mz-found");
    const told = (active ? status.dataset.some.replace("##", all) : status.dataset.all).replace("#", active ? found : all);
    if (all && status.textContent !== told) status.textContent = told; // not drawn yet: nothing to announce
    if (picked && document.activeElement === document.body) {
      const button = list().querySelector(`tr[data-name="${CSS.escape(picked)}"] button`);
      button?.focus({ preventScroll: true });
      button?.scrollIntoView({ block: "nearest" }); // a card that closed above it moved it
    }
  };

  const clear = () => {
    for (const one of bar()?.querySelectorAll("input, select") ?? []) {
      if (one.type === "checkbox") one.checked = false;
      else one.value = "";
    }
    window.mzModels();
  };

  const choose = (key) => {
    const view = document.querySelector("#models-graph");
    const panel = view.querySelector(".mz-panel");
    const copy = view.querySelector(`[data-entry="${CSS.escape(key)}"]`).cloneNode(true);
    copy.removeAttribute("id");
    delete copy.dataset.entry;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "mz-close";
    close.dataset.closes = key;
    close.textContent = "×";
    close.setAttribute("aria-label", panel.dataset.close);
    panel.hint ??= panel.innerHTML;
    panel.replaceChildren(close, copy);
    panel.scrollTop = 0;
    mark(view, key);
    copy.querySelector("h3").focus({ preventScroll: true });
    const node = view.querySelector(`.mz-graph [data-system="${CSS.escape(key)}"]`);
    const place = node.getBoundingClientRect();
    const sheet = panel.getBoundingClientRect(); // on a phone it lies over the graph
    const below = sheet.left < place.right && place.bottom > sheet.top;
    if (below || place.top < 0) node.scrollIntoView({ block: "start" });
  };

  const close = (key) => {
    const view = document.querySelector("#models-graph");
    const panel = view.querySelector(".mz-panel");
    panel.innerHTML = panel.hint;
    mark(view, "");
    view.querySelector(`.mz-graph [data-system="${CSS.escape(key)}"]`).focus();
  };

  const mark = (view, key) => {
    const first = view.querySelector("[data-mark]");
    for (const path of view.querySelectorAll("path[data-from]")) {
      const hot = [path.dataset.from, path.dataset.to].includes(key);
      path.classList.toggle("mz-hot", hot);
      if (hot) first.before(path); // over all other rails
    }
    for (const node of view.querySelectorAll(".mz-graph [data-system]")) {
      if (node.dataset.system === key) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
    }
  };

  const copy = async (button) => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = button.dataset.done;
    } catch { // only pages on https and localhost may write to the clipboard: mark the text for Ctrl + C
      getSelection().selectAllChildren(code);
      button.textContent = button.dataset.marked;
    }
  };

  const when = (ready, then, until = Date.now() + 5000) => { // once the server has answered
    const found = ready();
    if (found) then(found);
    else if (Date.now() < until) setTimeout(when, 50, ready, then, until);
  };

  const follow = (task, name) => when(
    () => document.querySelector(`#${task}-tab-button[aria-selected="true"]`),
    (tab) => {
      tab.focus();
      const source = document.querySelector(`#${task}-output .mz-source`);
      if (source && !source.textContent.includes(name)) window.mzStale(task);
    },
  );

  const reveal = (name) => when(
    () => {
      const button = list()?.querySelector(`tr[data-name="${CSS.escape(name)}"] button[aria-expanded="true"]`);
      return button?.checkVisibility() && button;
    },
    (button) => {
      button.focus({ preventScroll: true });
      button.scrollIntoView({ block: "start" });
    },
  );

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const group = target?.closest(".mz-family > summary")?.parentElement;
    if (group) unfolded.set(group.dataset.family, !group.open);
    const pressed = target?.closest("#models-table :is([data-name], [data-load], [data-unload])")?.dataset;
    picked = pressed?.name ?? pressed?.load ?? pressed?.unload ?? "";
    const opens = target?.closest("[data-open]");
    if (opens || target?.closest("[data-clear]")) clear();
    if (opens) reveal(opens.dataset.open);
    const busy = target?.closest("[data-load]");
    if (busy) setTimeout(() => { busy.textContent = busy.dataset.busy; busy.disabled = true; });
    const tried = target?.closest("[data-try]");
    if (tried) follow(tried.dataset.try, tried.dataset.model);
    if (target?.closest("[data-copy]")) copy(target.closest("[data-copy]"));
    const node = target?.closest("[data-system]");
    if (node) {
      event.preventDefault();
      choose(node.dataset.system);
    }
    const closes = target?.closest("[data-closes]");
    if (closes) close(closes.dataset.closes);
  }, true);

  document.addEventListener("keydown", (event) => {
    const closes = event.key === "Escape" && event.target.closest?.(".mz-panel")?.querySelector("[data-closes]");
    if (closes) close(closes.dataset.closes);
  });

  document.addEventListener("input", (event) => {
    const target = event.target;
    if (target.closest?.("#models-filter")) window.mzModels();
    if (target.matches?.("[data-board]")) {
      for (const section of document.querySelectorAll("#models-board [data-cell]")) {
        section.hidden = target.value !== "" && section.dataset.cell !== target.value;
      }
    }
  }, true);
}
window.mzModels();

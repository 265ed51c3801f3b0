() => {
  const panel = (node) => (node instanceof Element ? node.closest('[role="tabpanel"]') : null);
  window.mzStale = (task) => {
    document.querySelector(`#${task}-output .mz-result`)?.classList.add("mz-stale");
  };
  if (window.mzReady) return;
  window.mzReady = true;
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    const run = panel(event.target)?.querySelector(".mz-run");
    if (!run) return;
    event.preventDefault();
    event.stopPropagation();
    run.click();
  }, true);
  document.addEventListener("click", (event) => {
    const pressed = event.target instanceof Element && event.target.closest(".mz-run, .mz-chip");
    const output = pressed && panel(pressed)?.querySelector(".mz-output");
    if (output && window.innerWidth < 640) {
      setTimeout(() => output.scrollIntoView({ behavior: "smooth", block: "center" }), 250);
    }
  });
  const unfolded = new Map(); // family -> whether its fold is open, as the visitor left it
  let picked = "";
  window.mzModels = () => {
    const list = document.querySelector("#models-table");
    const words = (document.querySelector("#models-find :is(input, textarea)")?.value ?? "").toLowerCase().match(/\S+/g) ?? [];
    let any = false;
    for (const group of list?.querySelectorAll(".mz-family") ?? []) {
      group.dataset.unfolded ??= String(group.open);
      let found = false;
      for (const row of group.querySelectorAll("tr[data-name]")) {
        const here = words.every((word) => row.dataset.words.includes(word));
        row.hidden = !here;
        if (row.nextElementSibling?.matches(".mz-open")) row.nextElementSibling.hidden = !here;
        found ||= here;
      }
      group.hidden = !found;
      group.open = words.length > 0 || (unfolded.get(group.dataset.family) ?? group.dataset.unfolded === "true");
      any ||= found;
    }
    const none = list?.querySelector(".mz-nothing");
    if (none) none.hidden = any;
    if (picked && document.activeElement === document.body) {
      const button = list.querySelector(`tr[data-name="${CSS.escape(picked)}"] button`);
      button?.focus({ preventScroll: true });
      button?.scrollIntoView({ block: "nearest" }); // a card that closed above it moved it
      picked = "";
    }
  };
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const group = target?.closest(".mz-family > summary")?.parentElement;
    if (group) unfolded.set(group.dataset.family, !group.open);
    picked = target?.closest("#models-table [data-name]")?.dataset.name
      ?? target?.closest("#models-table [data-unload]")?.dataset.unload ?? "";
  }, true);
  document.addEventListener("pointerdown", (event) => { // a menu that can be searched must not call up a phone's keyboard
    const field = event.target instanceof Element && event.target.closest(".mz-menu")?.querySelector("input");
    if (field && window.matchMedia("(pointer: coarse)").matches) field.inputMode = "none";
  }, true);
  document.addEventListener("input", (event) => {
    if (event.target.closest?.("#models-find")) window.mzModels();
    if (event.target.closest?.(".mz-why-fold")) return; // how an answer is explained is no input of it
    const output = panel(event.target)?.querySelector(".mz-output");
    if (output) output.querySelector(".mz-result")?.classList.add("mz-stale");
  }, true);
}

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
  document.addEventListener("keydown", (event) => { // arrows walk along a row of tabs, as WAI-ARIA has it
    const tab = event.target instanceof Element && event.target.closest('[role="tab"]');
    if (!tab) return;
    const row = [...tab.closest('[role="tablist"]').querySelectorAll('[role="tab"]')].filter((one) => !one.disabled);
    const here = row.indexOf(tab);
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    row.at(to % row.length).focus();
  });
  document.addEventListener("click", (event) => {
    const pressed = event.target instanceof Element && event.target.closest(".mz-run, .mz-chip");
    const output = pressed && panel(pressed)?.querySelector(".mz-output");
    if (output && window.innerWidth < 640) {
      setTimeout(() => output.scrollIntoView({ behavior: "smooth", block: "center" }), 250);
    }
  });
  document.addEventListener("pointerdown", (event) => { // a menu that can be searched must not call up a phone's keyboard
    const field = event.target instanceof Element && event.target.closest(".mz-menu")?.querySelector("input");
    if (field && window.matchMedia("(pointer: coarse)").matches) field.inputMode = "none";
  }, true);
  document.addEventListener("input", (event) => {
    if (event.target.closest?.(".mz-why-fold")) return; // how an answer is explained is no input of it
    const output = panel(event.target)?.querySelector(".mz-output");
    if (output) output.querySelector(".mz-result")?.classList.add("mz-stale");
  }, true);
}

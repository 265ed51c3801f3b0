() => {
  // The page in Chinese. Each sentence that is drawn is looked up in a table, English -> Chinese, which is fetched when
  // it is needed first; `{}` in a sentence stands for anything, and `{1}`, `{2}` in its translation for what it was.
  // Texts of visitors and of models are left as they are. Python only ever speaks English.
  if (window.mzSay) return;
  const KEY = "model-zoo-language";
  const OURS = "script, style, textarea, pre, code, bdi, blockquote, [contenteditable=true], [translate=no], .mz-text, "
    + ".mz-words, .mz-pieces, .mz-said, .mz-tail, .mz-map, .mz-after, [role=listbox]"; // not ours to translate
  const ATTRIBUTES = ["aria-label", "placeholder", "title", "alt", "label"];
  const exact = new Map(), patterns = [];
  const texts = new WeakMap(); // node -> {english, chinese}, or element -> the same for each attribute
  let speaks = "en", fetched = null;

  const read = (table) => {
    for (const [english, chinese] of Object.entries(table)) {
      if (!english.includes("{}")) {
        exact.set(english, chinese);
        continue;
      }
      const literal = english.split("{}").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
      patterns.push({ begin: english.slice(0, english.indexOf("{}")), chinese, of: RegExp(`^${literal.join("(.+?)")}$`, "s") });
    }
    patterns.sort((a, b) => b.of.source.length - a.of.source.length); // what says more is tried first
  };
  const say = (english) => {
    const known = exact.get(english);
    if (known !== undefined) return known;
    const list = english.split(", ");
    if (list.length > 1 && list.every((one) => exact.has(one))) return list.map((one) => exact.get(one)).join("、");
    if (english.includes(" · ")) { // a line of facts
      const parts = english.split(" · "), said = parts.map((part) => say(part) ?? part);
      return said.some((part, index) => part !== parts[index]) ? said.join(" · ") : null;
    }
    for (const { begin, of, chinese } of patterns) {
      const found = english.startsWith(begin) && of.exec(english);
      if (found) return chinese.replace(/\{(\d)\}/g, (_, number) => exact.get(found[number]) ?? found[number]);
    }
    return null;
  };
  window.mzSay = (english) => (speaks === "zh" && say(english)) || english; // for other scripts of the page

  const translated = (whole) => {
    const english = whole.trim().replace(/\s+/g, " ");
    const chinese = /[A-Za-z]/.test(english) ? say(english) : null;
    return chinese === null ? null : whole.match(/^\s*/)[0] + chinese + whole.match(/\s*$/)[0];
  };
  const text = (node) => {
    const known = texts.get(node);
    if (known && node.data === known.chinese) return;
    if (!node.parentElement || node.parentElement.closest(OURS)) return;
    const chinese = translated(node.data);
    if (chinese === null) return;
    texts.set(node, { english: node.data, chinese });
    node.data = chinese;
  };
  const attribute = (element, name) => {
    const value = element.getAttribute(name), known = texts.get(element) ?? {};
    if (!value || value === known[name]?.chinese || element.closest("[translate=no]")) return;
    const chinese = translated(value);
    if (chinese === null) return;
    texts.set(element, { ...known, [name]: { english: value, chinese } });
    element.setAttribute(name, chinese);
  };
  const each = (root, ofText, ofAttribute) => {
    if (root.nodeType === Node.TEXT_NODE) return ofText(root);
    if (root.nodeType !== Node.ELEMENT_NODE) return;
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = root; node; node = walk.nextNode()) {
      if (node.nodeType === Node.TEXT_NODE) ofText(node);
      else for (const name of ATTRIBUTES) if (node.hasAttribute(name)) ofAttribute(node, name);
    }
  };
  const observer = new MutationObserver((changes) => {
    for (const { type, target, attributeName, addedNodes } of changes) {
      if (type === "attributes") attribute(target, attributeName);
      else if (type === "characterData") text(target);
      else for (const node of addedNodes) each(node, text, attribute);
    }
  });

  const table = () => {
    const root = (window.gradio_config?.root ?? location.origin + location.pathname).replace(/\/$/, "");
    const prefix = window.gradio_config?.api_prefix ?? "/gradio_api";
    const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"data": []}' };
    return fetch(`${root}${prefix}/run/chinese`, asked).then((said) => {
      if (!said.ok) throw new Error(`the table of sentences did not arrive: ${said.status}`);
      return said.json();
    }).then((said) => read(said.data[0]));
  };
  const speak = async (language) => {
    if (language === "zh") {
      try {
        await (fetched ??= table());
      } catch (error) {
        fetched = null; // the next press tries again
        console.warn(error);
        return;
      }
    }
    speaks = language;
    observer.disconnect();
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    if (language === "zh") {
      each(document.body, text, attribute);
      const seen = { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES };
      observer.observe(document.body, seen);
    } else {
      each(document.body, (node) => {
        const known = texts.get(node);
        if (known && node.data === known.chinese) node.data = known.english;
      }, (element, name) => {
        const known = texts.get(element)?.[name];
        if (known && element.getAttribute(name) === known.chinese) element.setAttribute(name, known.english);
      });
    }
    for (const button of document.querySelectorAll("[data-speak]")) {
      button.setAttribute("aria-pressed", String(button.dataset.speak === language));
    }
  };

  const keep = (language) => { // a browser may forbid to keep anything
    try { localStorage.setItem(KEY, language); } catch { /* then it is asked again */ }
  };
  const kept = () => {
    try { return localStorage.getItem(KEY); } catch { return null; }
  };
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("[data-speak]");
    if (!button) return;
    keep(button.dataset.speak);
    speak(button.dataset.speak);
  });
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = asked ?? kept() ?? navigator.language;
  if (wanted.toLowerCase().startsWith("zh")) speak("zh");
  else speak("en");
}

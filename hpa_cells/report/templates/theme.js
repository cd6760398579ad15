// Light, dark, or as the system has it; kept where the browser lets a file keep something.

const makeTheme = () => {
  const root = document.documentElement;
  const stored = () => {
    try { return localStorage.getItem("hpa-cells-theme"); } catch { return null; }
  };
  const store = (theme) => {
    try { localStorage.setItem("hpa-cells-theme", theme); } catch { /* a file without storage: this visit only */ }
  };
  const use = (theme) => { root.dataset.theme = theme; };
  for (const input of findAll("#theme input")) {
    if (input.value === stored()) { input.checked = true; use(input.value); }
    input.addEventListener("change", () => { use(input.value); store(input.value); });
  }
};

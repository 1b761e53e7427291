// Sets the colour scheme before the first paint. A file of its own, because the page's policy
// forbids inline scripts.
(() => {
  let wanted = "auto";
  try {
    wanted = localStorage.getItem("gateway.scheme") || "auto";
  } catch {
    // Private mode: follow the system.
  }
  const dark = wanted === "dark" || (wanted !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();

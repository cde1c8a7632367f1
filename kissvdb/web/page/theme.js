// Before anything is drawn: which colours. Kept for this browser; "system" follows the desktop.
(() => {
  const kept = (() => {
    try {
      return localStorage.getItem("kissvdb.theme");
    } catch {
      return null;
    }
  })();
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();

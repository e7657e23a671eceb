// The choice between light and dark: applied before the first paint, switched by any [data-theme-toggle] button.
// Without a stored choice the page follows the system.
(function () {
  "use strict";
  var root = document.documentElement;
  var system = window.matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      var theme = localStorage.getItem("theme");
      return theme === "light" || theme === "dark" ? theme : null;
    } catch (error) {
      return null; // storage may be forbidden; then the system decides
    }
  }

  function apply(theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
  }

  function announce() {
    window.dispatchEvent(new Event("themechange"));
  }

  apply(stored());

  system.addEventListener("change", announce);
  window.addEventListener("storage", function (event) {
    if (event.key !== "theme") return;
    apply(stored());
    announce();
  });
  document.addEventListener("click", function (event) {
    if (!event.target.closest || !event.target.closest("[data-theme-toggle]")) return;
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    var theme = dark ? "light" : "dark";
    // Back to what the system says anyway: follow it again from here on.
    if ((theme === "dark") === system.matches) theme = null;
    try {
      if (theme) localStorage.setItem("theme", theme);
      else localStorage.removeItem("theme");
    } catch (error) {
      // Not kept for the next visit, but applied now.
    }
    apply(theme);
    announce();
  });
})();

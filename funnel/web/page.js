/* Two conveniences. Their buttons are hidden until this runs, so nothing is missed without it. */
(function () {
  "use strict";
  document.querySelectorAll("[data-print]").forEach(function (button) {
    button.hidden = false;
    button.addEventListener("click", function () { window.print(); });
  });
  document.querySelectorAll("[data-copy]").forEach(function (button) {
    if (!navigator.clipboard) { return; }
    var field = document.getElementById(button.dataset.copy);
    var said = document.getElementById(button.dataset.said);
    button.hidden = false;
    button.addEventListener("click", function () {
      navigator.clipboard.writeText(field.value).then(
        function () { said.textContent = button.dataset.done; },
        function () { field.focus(); field.select(); }
      );
    });
  });
})();

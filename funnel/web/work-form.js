// The form page with signup.proof_of_work: work begins when the form is first touched; a button pressed before it
// is done waits, says so, and is pressed again for the visitor. Nothing typed is ever lost.
(function () {
  "use strict";
  const form = document.querySelector("form");
  const field = form.elements.work;
  const wait = document.getElementById("wait");
  let task = null;
  let pressed = null;

  function begin() {
    task = task || workFor(form.elements.key.value).then((number) => (field.value = number));
    return task;
  }

  form.addEventListener("focusin", begin);
  form.addEventListener("input", begin);
  form.addEventListener("submit", (event) => {
    if (field.value) return;
    event.preventDefault();
    if (pressed) return;
    pressed = event.submitter || form.querySelector("button");
    pressed.setAttribute("aria-disabled", "true");
    wait.textContent = wait.dataset.words;
    begin().then(() => pressed.click());
  });
  // Back from the browser's page cache: ready for another try.
  window.addEventListener("pageshow", () => {
    if (pressed) pressed.removeAttribute("aria-disabled");
    pressed = null;
    wait.textContent = "";
  });
})();

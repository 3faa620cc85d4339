// Stands inside the popup's script with signup.proof_of_work: work begins when its form is first touched, and
// what is sent waits for it. The button says "Sending…" meanwhile.
let touched = false;
let task = {};

function working() {
  if (task.key !== key) task = { key, number: workFor(key) };
  return task.number;
}

["focusin", "input"].forEach((type) => host.addEventListener(type, (event) => {
  touched = touched || Boolean(event.composedPath()[0].form);
  if (touched && key) working();
}));

const plainHold = hold;
hold = (fresh) => {
  plainHold(fresh);
  if (touched && key) working();
};

const plainCall = call;
call = async (path, sent) => {
  if (sent) sent.set("work", await working());
  return plainCall(path, sent);
};

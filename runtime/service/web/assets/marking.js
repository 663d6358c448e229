// What a person says of an event: right, or wrong and what it was.

import { part, tell } from "./dom.js";
import { time } from "./words.js";

/** Wire the form of an open event; kept(mark) when the service has kept one. */
export function showMarking(root, { event, mark }, labels, kept) {
  const form = part(root, "marking");
  const correction = part(root, "correction");
  const choice = part(root, "label");
  for (const label of labels) choice.append(new Option(label, label));
  choice.append(new Option("nothing of interest", ""));
  choice.value = labels.find((label) => label !== event.label) ?? "";

  const say = async (said) => {
    const answer = await fetch(`/api/events/${encodeURIComponent(event.track)}/mark`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(said),
    }).catch(() => null);
    if (!answer?.ok) {
      const told = answer
        ? (await answer.json().catch(() => ({}))).error ?? answer.statusText
        : "the service does not answer";
      tell(form, "marked", `Not saved: ${told}`);
      return;
    }
    const made = await answer.json();
    ask(false);
    show(form, made);
    kept(made);
  };

  const ask = (open) => {
    correction.hidden = !open;
    part(form, "wrong").setAttribute("aria-expanded", String(open));
    if (open) choice.focus();
  };

  part(form, "right").addEventListener("click", () => say({ right: true }));
  part(form, "wrong").addEventListener("click", () => ask(correction.hidden));
  form.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    say({ right: false, label: choice.value, note: part(form, "note").value });
  });
  if (mark) show(form, mark);
}

function show(form, mark) {
  const was = mark.right ? "right" : `wrong, it was ${mark.label || "nothing of interest"}`;
  const note = mark.note ? `: ${mark.note}` : "";
  tell(form, "marked", `Marked ${was}, at ${time(mark.marked_s)}${note}`);
  part(form, "right").setAttribute("aria-pressed", String(mark.right));
}

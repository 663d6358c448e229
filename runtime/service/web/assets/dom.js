// Templates, their parts, and lists that keep their elements: data only ever becomes text.

export const clone = (name) => document.getElementById(name).content.firstElementChild.cloneNode(true);

export const part = (root, name) => root.querySelector(`[data-part="${name}"]`);

/** Set a part's text, where it differs: what a screen reader or a selection holds stays. */
export function tell(root, name, text) {
  const element = name ? part(root, name) : root;
  if (element.textContent !== text) element.textContent = text;
}

/** Show a state by word and shape: the shape and colour follow from the attribute. */
export function tellState(element, state, word) {
  element.dataset.state = state;
  tell(element, null, word);
}

/** Make `container` hold one element for each item, in order; an element stays with its key. */
export function keep(container, items, keyOf, make, update) {
  const held = new Map([...container.children].map((child) => [child.dataset.key, child]));
  let place = container.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let element = held.get(key);
    if (element) {
      held.delete(key);
    } else {
      element = make(item);
      element.dataset.key = key;
    }
    if (element === place) place = place.nextElementSibling;
    else container.insertBefore(element, place);
    update(element, item);
  }
  for (const gone of held.values()) gone.remove();
}

/** A row of a list of facts. */
export function fact(term, value) {
  const row = document.createElement("div");
  const dt = document.createElement("dt");
  const dd = document.createElement("dd");
  dt.textContent = term;
  dd.textContent = value;
  row.append(dt, dd);
  return row;
}

// The recording of an event: a picture of each stream, sound to listen to, files to take away.

import { time } from "./words.js";

/** Fill `container` with the clip of a track; false where it cannot be read (yet). */
export async function showClip(container, track) {
  const at = `/api/clips/${encodeURIComponent(track)}/`;
  const answer = await fetch(`${at}clip.json`).catch(() => null);
  if (!answer?.ok) {
    container.textContent = "The recording is not there: it is still being written, or was removed to make room.";
    return false;
  }
  const clip = await answer.json();
  container.replaceChildren(...Object.entries(clip.streams).map(([name, stream]) => figure(name, stream, clip, at)));
  return true;
}

function figure(name, stream, clip, at) {
  const whole = document.createElement("figure");
  const picture = document.createElement("img");
  picture.src = at + stream.picture;
  picture.alt = `Spectrogram of ${name}, ${time(clip.start_s)} to ${time(clip.end_s)}`;
  picture.loading = "lazy";
  const caption = document.createElement("figcaption");
  const link = document.createElement("a");
  link.href = at + stream.file;
  link.download = "";
  link.textContent = stream.file;
  const gaps = stream.gaps.length ? `, ${stream.gaps.length} gaps` : "";
  caption.append(`${name}, ${time(clip.start_s)} to ${time(clip.end_s)}${gaps} `, link);
  whole.append(picture, caption);
  if (stream.file.endsWith(".flac")) whole.append(player(name, link.href));
  return whole;
}

function player(name, address) {
  const audio = document.createElement("audio");
  audio.controls = true;
  audio.preload = "metadata";
  audio.src = address;
  audio.setAttribute("aria-label", `Sound of ${name}`);
  return audio;
}

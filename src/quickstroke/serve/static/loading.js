/** What is seen while the model comes. */

const bar = document.getElementById("loading-bar");
const box = document.getElementById("loading");
const text = document.getElementById("loading-text");

/**
 * @param {number} nBytes that have come
 * @param {number | null} total of how many; null where nobody knows
 */
export function showProgress(nBytes, total) {
  box.hidden = false;
  const megabytes = (nBytes / 1e6).toFixed(1);
  if (total) bar.value = nBytes / total;
  else bar.removeAttribute("value");
  text.textContent = total ? `Loading the model: ${megabytes} of ${(total / 1e6).toFixed(1)} MB` : `Loading the model: ${megabytes} MB`;
}

/** The model has come, or will not. */
export function hideProgress() {
  box.hidden = true;
}

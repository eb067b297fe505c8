// No module: browsers load those from a server only, and without a word.
if (location.protocol === "file:") {
  document.getElementById("headline").textContent = "This page needs a web server";
  document.getElementById("subline").textContent = "";
  document.getElementById("hint").textContent =
    "Any will do: python -m http.server in its folder, for one. A page made with export --to html needs none.";
}

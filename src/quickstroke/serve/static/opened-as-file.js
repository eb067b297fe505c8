// No module: browsers load those from a server only, and without a word.
if (location.protocol === "file:") {
  document.getElementById("headline").textContent = "This page needs a web server";
  document.getElementById("subline").textContent =
    "Any one will do, such as `python -m http.server` in its folder. Made with `export --to html` it needs none.";
  document.getElementById("hint").textContent = "";
}

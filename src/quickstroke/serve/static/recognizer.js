/** Where guesses come from: the server that gave this page. In an exported page these are two lines about local-recognizer.js. */
export { HttpRecognizer as PageRecognizer } from "./http-recognizer.js";

// Starts the page: the three views, the key, light and dark.

import { hasKey, json, useKey } from "./api.js";
import { startChat, chatModels } from "./chat.js";
import { startClassify, classifyModels } from "./classify.js";
import { byId } from "./dom.js";
import { startStatus, watchStatus } from "./status.js";

const VIEWS = ["chat", "classify", "status"];
const CLASSIFY = "/v1/classify";

let atFirst = !location.hash; // nobody has chosen a view yet

function show(view) {
  for (const each of VIEWS) {
    byId(each).hidden = each !== view;
    byId(`tab-${each}`).setAttribute("aria-selected", each === view);
    byId(`tab-${each}`).tabIndex = each === view ? 0 : -1;
  }
  watchStatus(view === "status");
  if (location.hash !== `#${view}`) history.replaceState(null, "", `#${view}`);
}

async function loadModels() {
  let models;
  try {
    models = (await json("v1/models")).data;
  } catch (error) {
    if (error.status !== 401) notice(error.message);
    return;
  }
  notice("");
  const classifies = (model) => (model.paths ?? []).includes(CLASSIFY);
  const talkers = models.filter((model) => !classifies(model) || model.paths.length > 1);
  chatModels(talkers.map((model) => model.id));
  classifyModels(models.filter(classifies).map((model) => model.id));
  if (!talkers.length && models.length && atFirst) show("classify");
  atFirst = false;
}

export function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

function startTabs() {
  for (const view of VIEWS) byId(`tab-${view}`).addEventListener("click", () => (atFirst = false, show(view)));
  document.querySelector("nav").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = VIEWS.findIndex((view) => !byId(view).hidden);
    const next = VIEWS[(at + step + VIEWS.length) % VIEWS.length];
    show(next);
    byId(`tab-${next}`).focus();
  });
  const wanted = () => (VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "chat");
  window.addEventListener("hashchange", () => show(wanted()));
  show(wanted());
}

function startKey() {
  const dialog = byId("key-dialog");
  const told = () => (byId("key").textContent = hasKey() ? "Key ✓" : "Key");
  const open = () => dialog.open || (dialog.showModal(), byId("key-text").focus());
  byId("key").addEventListener("click", open);
  document.addEventListener("mlx-key-wanted", () => {
    if (hasKey()) notice("The server does not take this key.");
    open();
  });
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "use" && byId("key-text").value.trim()) useKey(byId("key-text").value);
    if (dialog.returnValue === "forget") useKey("");
    if (dialog.returnValue) loadModels();
    byId("key-text").value = dialog.returnValue = "";
    told();
  });
  // Enter is the first button of a form, and that forgets
  byId("key-text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    dialog.close("use");
  });
  told();
}

function startTheme() {
  const root = document.documentElement;
  const chosen = localStorage.getItem("mlx-theme");
  if (chosen) root.classList.add(chosen);
  byId("theme").addEventListener("click", () => {
    const dark = root.classList.contains("dark") || (!root.classList.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
    root.classList.remove("dark", "light");
    root.classList.add(dark ? "light" : "dark");
    localStorage.setItem("mlx-theme", dark ? "light" : "dark");
  });
}

startTheme();
startKey();
startChat();
startClassify();
startStatus();
startTabs();
loadModels();

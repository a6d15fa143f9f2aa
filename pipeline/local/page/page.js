// Draws every chart of the page. Colours come from the style sheet, so nothing is drawn again for
// dark or print.
const { theme, specs } = JSON.parse(document.getElementById("charts").textContent);
const drawn = Object.entries(specs).map(([id, spec]) =>
  vegaEmbed(document.getElementById(id), spec, {
    actions: false,
    config: theme,
    renderer: "svg",
    tooltip: { theme: "page" },
  }),
);
Promise.all(drawn).then(() => {
  document.documentElement.dataset.drawn = drawn.length;
});

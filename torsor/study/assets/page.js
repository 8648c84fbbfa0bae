"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const merge = (base, extra) => {
    const out = { ...base };
    for (const [key, value] of Object.entries(extra)) {
      const both = value && out[key] && typeof value === "object" && typeof out[key] === "object" && !Array.isArray(value);
      out[key] = both ? merge(out[key], value) : value;
    }
    return out;
  };
  const draw = () => {
    const style = getComputedStyle(root);
    const color = (name) => style.getPropertyValue("--" + name).trim();
    // A color "c3" in a figure is the fourth color of the page, light, dark or printed.
    const paint = (value) => {
      if (Array.isArray(value)) return value.map(paint);
      if (typeof value === "string") return /^c[0-7]$/.test(value) ? color(value) : value;
      if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, paint(v)]));
      return value;
    };
    const axis = { gridcolor: color("rule"), linecolor: color("rule"), zerolinecolor: color("rule"), tickcolor: color("rule"), automargin: true, title: { standoff: 10, font: { size: 13 } } };
    figures.forEach((figure, index) => {
      const place = document.getElementById("plot-" + index);
      const narrow = place.clientWidth < 480;
      const entries = figure.traces.filter((trace) => trace.showlegend !== false).length;
      place.style.height = narrow ? 300 + 20 * entries + "px" : "";
      const layout = {
        paper_bgcolor: color("card"), plot_bgcolor: color("card"),
        font: { family: "system-ui, sans-serif", size: 12, color: color("ink") },
        colorway: [...Array(8).keys()].map((i) => color("c" + i)),
        hoverlabel: { bgcolor: color("card"), bordercolor: color("rule"), font: { color: color("ink") } },
        margin: { l: 48, r: 12, t: 8, b: 44 },
        legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", font: { size: 12 } },
        xaxis: axis, yaxis: axis,
      };
      const extra = paint(figure.layout);
      for (const key of Object.keys(extra)) if (/^[xy]axis[0-9]+$/.test(key)) layout[key] = axis;
      Plotly.react(place, paint(figure.traces), merge(layout, extra), { responsive: true, displayModeBar: false });
    });
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", () => { root.classList.add("printing"); draw(); });
  addEventListener("afterprint", () => { root.classList.remove("printing"); draw(); });
})();

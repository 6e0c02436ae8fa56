// What on the page has too little contrast, by WCAG 2.2: texts 4.5 (large ones 3), fields and pictures 3.
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  // Computed once: a page has thousands of elements above its texts, and few colours.
  const once = (compute, known = new Map()) => (what) => {
    if (!known.has(what)) known.set(what, compute(what));
    return known.get(what);
  };
  const colour = once((text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  });
  const over = ([r, g, b, a], below) => [r, g, b].map((part, place) => part * a + below[place] * (1 - a));
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const ground = once((element) => {
    if (!element) return [255, 255, 255];
    const own = colour(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, ground(element.parentElement));
  });
  const opacity = once((element) => (element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1));
  const seen = (element) => {
    const { width, height } = element.getBoundingClientRect();
    return width > 1 && height > 1 && element.checkVisibility({ checkVisibilityCSS: true, checkOpacity: true });
  };
  const found = [];
  let looked = 0;
  const check = (what, front, back, least) => {
    looked += 1;
    const ratio = contrast(front, back);
    if (ratio < least) found.push(`${what}: ${ratio.toFixed(2)} of ${least}`);
  };
  const told = (element) => `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""} ${JSON.stringify((element.textContent || element.id).slice(0, 30))}`;
  const text = (element, style, what) => {
    const size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
    const back = ground(element);
    const [r, g, b, a] = colour(style.color);
    check(what, over([r, g, b, a * opacity(element)], back), back, size >= 24 || (size >= 18.66 && bold) ? 3 : 4.5);
  };

  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, :disabled, option, textarea") || !seen(element)) continue;
    text(element, getComputedStyle(element), `text ${told(element)}`);
  }
  for (const field of document.querySelectorAll("input:not([type=checkbox]), select, textarea")) {
    if (field.disabled || !seen(field)) continue;
    text(field, getComputedStyle(field), `value of ${told(field)}`);
    if (field.placeholder) text(field, getComputedStyle(field, "::placeholder"), `placeholder of ${told(field)}`);
    check(`border of ${told(field)}`, over(colour(getComputedStyle(field).borderTopColor), ground(field.parentElement)), ground(field.parentElement), 3);
  }

  const paints = (shape) => {
    const { fill, stroke } = getComputedStyle(shape);
    return [fill, stroke].map((paint) => (paint === "none" ? null : colour(paint).slice(0, 3)));
  };
  const empty = (shape) => {
    const { width, height } = shape.getBBox();
    return width === 0 && height === 0;
  };
  for (const picture of document.querySelectorAll("svg")) {
    if (!seen(picture)) continue;
    const back = ground(picture.parentElement), below = [];
    for (const shape of picture.querySelectorAll("path, rect, circle")) {
      if (empty(shape)) continue;
      const own = paints(shape).filter(Boolean);
      // Dots within a sign are of the ground's own colour.
      const cut = contrast(own[0], back) < 1.05;
      if (!cut) check(`picture ${told(shape)}`, own.reduce((a, b) => (contrast(a, back) > contrast(b, back) ? a : b)), back, 3);
      for (const other of below) check(`${told(shape)} on ${told(other.shape)}`, own.reduce((a, b) => (contrast(a, other.fill) > contrast(b, other.fill) ? a : b)), other.fill, 3);
      if (paints(shape)[0] && shape.classList.contains("area")) below.push({ shape, fill: paints(shape)[0] });
    }
  }
  for (const key of document.querySelectorAll("span.key")) {
    if (!seen(key) || !key.closest(".legend, #columns")) continue;
    const mark = getComputedStyle(key, "::before");
    const sides = [mark.backgroundColor, ...(parseFloat(mark.borderTopWidth) ? [mark.borderTopColor] : [])].map((one) => colour(one).slice(0, 3));
    const back = ground(key);
    check(`key ${told(key)}`, sides.reduce((a, b) => (contrast(a, back) > contrast(b, back) ? a : b)), back, 3);
  }
  return { looked, found };
}

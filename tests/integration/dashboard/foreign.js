// What a page of ours never has: elements and attributes that would run, load or send something.
() => {
  const elements = "main :is(script, img, object, embed, base, meta, link, style, template, plaintext, form:not(#form, dialog *))";
  const within = "svg :is(script, image, use, foreignObject), iframe:not(#evidently)";
  const ADDRESSES = ["href", "src", "action", "formaction"];
  const runs = ({ name, value }) => name.startsWith("on") || name === "style" || (ADDRESSES.includes(name) && /^\s*(javascript|data):/i.test(value));
  return [
    ...document.querySelectorAll(`${elements}, ${within}`),
    ...[...document.querySelectorAll("*")].filter((one) => [...one.attributes].some(runs)),
  ].map((one) => one.outerHTML.slice(0, 200));
}

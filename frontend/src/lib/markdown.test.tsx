import { render } from "@testing-library/react";
import { expect, it } from "vitest";
import { Markdown } from "./markdown";

const html = (text: string) => render(<Markdown text={text} />).container.innerHTML;

it("never lets HTML through", () => {
  const made = html('<img src=x onerror="alert(1)"> **<script>x</script>** `<b>`');
  expect(made).not.toMatch(/<(img|script|b)[ >]/);
  expect(made).toContain("&lt;img");
});

it("follows no address that could run something", () => {
  expect(html("[x](javascript:alert(1))")).not.toContain("<a");
  expect(html("[x](https://example.org/a_b)")).toContain(
    '<a href="https://example.org/a_b" target="_blank" rel="noreferrer noopener">x</a>',
  );
});

it("sets out blocks", () => {
  const made = html(
    "# T\n\ntext\nmore\n\n- a\n- b\n\n1. c\n\n> q\n\n```py\nx < 1\n```\n\n|a|b|\n|-|-|\n|1|2|",
  );
  for (const part of [
    "<h3>T</h3>",
    "text<br>more",
    "<ul>",
    "<ol>",
    "<blockquote>",
    "x &lt; 1",
    "<td>2</td>",
  ])
    expect(made).toContain(part);
});

it("emphasises words, not snake_case or 2 * 3 * 4", () => {
  expect(html("*a* _b_ **c** ~~d~~")).toContain(
    "<em>a</em> <em>b</em> <strong>c</strong> <s>d</s>",
  );
  expect(html("some_snake_case 2 * 3 * 4")).not.toContain("<em>");
});

it("copes with what is not finished yet", () => {
  expect(html("```js\nlet a = 1")).toContain("let a = 1");
  expect(html("**bold")).toContain("**bold");
  expect(html("- ")).toContain("-");
});

import { Card, Tabs, Text, Title } from "@mantine/core";
import { CodeTabs, CodeWell } from "../../components/Code";
import { useText } from "../../i18n";
import { type ChatRequest, elide } from "../../lib/chat";
import { chatSnippets, targetOf } from "../../lib/snippets";
import type { Sent } from "./useChat";

interface Props {
  preview: ChatRequest | null;
  /** Something is written that was not sent yet. */
  drafted: boolean;
  sent: Sent | null;
}

/** The request as JSON and as code, made from the very object that is sent; and what came back. */
export function RawPanel({ preview, drafted, sent }: Props) {
  const { t } = useText();
  const was = !drafted && sent !== null;
  const request = was ? sent.request : preview;
  const json = request ? JSON.stringify(request, null, 2) : "";
  const snippets = request ? chatSnippets(request, targetOf(window.location.origin)) : null;
  return (
    <Card padding="md" component="section" aria-labelledby="raw">
      <Title order={2} size="h5" id="raw" mb="xs">
        {t("playground.raw.title")}
      </Title>
      <Tabs defaultValue="code" keepMounted={false}>
        <Tabs.List mb="sm">
          <Tabs.Tab value="code">{t("playground.raw.code")}</Tabs.Tab>
          <Tabs.Tab value="request">{t("playground.raw.request")}</Tabs.Tab>
          <Tabs.Tab value="response">{t("playground.raw.response")}</Tabs.Tab>
        </Tabs.List>
        <Text size="xs" c="dimmed" mb={6}>
          {t(was ? "playground.raw.was" : "playground.raw.preview")}
        </Text>
        <Tabs.Panel value="code">
          {snippets && (
            <CodeTabs
              snippets={[
                { name: "curl", code: elide(snippets.curl), full: snippets.curl },
                { name: "Python", code: elide(snippets.python), full: snippets.python },
                { name: "JavaScript", code: elide(snippets.javascript), full: snippets.javascript },
              ]}
            />
          )}
        </Tabs.Panel>
        <Tabs.Panel value="request">
          <CodeWell text={elide(json)} full={json} label={t("playground.raw.request")} />
        </Tabs.Panel>
        <Tabs.Panel value="response">
          {sent ? (
            <>
              {sent.requestId && (
                <Text size="xs" c="dimmed" className="mono" mb={6}>
                  {t("common.requestId", { id: sent.requestId })}
                </Text>
              )}
              <CodeWell text={responseText(sent.raw)} label={t("playground.raw.response")} wrap />
            </>
          ) : (
            <Text size="sm" c="dimmed">
              {t("playground.raw.noResponse")}
            </Text>
          )}
        </Tabs.Panel>
      </Tabs>
    </Card>
  );
}

/** Events of a stream as they came, a whole answer set out. */
function responseText(raw: string[]): string {
  if (raw.length !== 1) return raw.map((data) => `data: ${data}`).join("\n\n");
  try {
    return JSON.stringify(JSON.parse(raw[0] ?? ""), null, 2);
  } catch {
    return raw[0] ?? "";
  }
}

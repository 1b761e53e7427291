import { Tabs, Text } from "@mantine/core";
import type { Model } from "../../api/types";
import { CodeWell } from "../../components/Code";
import { useText } from "../../i18n";
import { Details } from "./Details";
import { Endpoints } from "./Endpoints";
import { EngineLog } from "./EngineLog";
import { Timeline } from "./Timeline";

const TABS = ["details", "timeline", "log", "argv", "endpoints"] as const;

export function ModelTabs({ model }: { model: Model }) {
  const { t } = useText();
  return (
    <Tabs defaultValue="details" mt="sm" keepMounted={false}>
      <Tabs.List style={{ flexWrap: "wrap" }}>
        {TABS.map((name) => (
          <Tabs.Tab key={name} value={name}>
            {t(`models.tabs.${name}`)}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      <Tabs.Panel value="details" pt="md">
        <Details model={model} />
      </Tabs.Panel>
      <Tabs.Panel value="timeline" pt="md">
        <Timeline actions={model.runtime.timeline} />
      </Tabs.Panel>
      <Tabs.Panel value="log" pt="md">
        <EngineLog model={model} />
      </Tabs.Panel>
      <Tabs.Panel value="argv" pt="md">
        <Arguments model={model} />
      </Tabs.Panel>
      <Tabs.Panel value="endpoints" pt="md">
        <Endpoints model={model} />
      </Tabs.Panel>
    </Tabs>
  );
}

function Arguments({ model }: { model: Model }) {
  const { t } = useText();
  const running = model.replicas.filter((replica) => replica.argv.length > 0);
  if (running.length === 0)
    return (
      <Text size="sm" c="dimmed">
        {t("models.argv.empty")}
      </Text>
    );
  return running.map((replica) => (
    <div key={replica.name}>
      <Text size="sm" fw={600} mb={4}>
        {replica.name}
      </Text>
      <CodeWell
        label={replica.name}
        text={shellLines(replica.argv)}
        full={replica.argv.map(quoted).join(" ")}
      />
    </div>
  ));
}

const quoted = (word: string) =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`;

/** One option with its value per line. */
function shellLines(argv: string[]): string {
  return argv
    .map((word) => (word.startsWith("-") ? `\\\n  ${quoted(word)}` : quoted(word)))
    .join(" ");
}

import { Card, Chip, Group, Text, Title } from "@mantine/core";
import { useState } from "react";
import type { ServedModel } from "../../api/types";
import { CodeTabs } from "../../components/Code";
import { useText } from "../../i18n";
import { targetOf } from "../../lib/snippets";
import { snippetsOf, TASKS, type Task } from "./tasks";

export function TaskSnippets({ models }: { models: ServedModel[] }) {
  const { t } = useText();
  const [task, setTask] = useState<Task>("chat");
  const { kind, usual } = TASKS[task];
  const model = models.find((one) => one.kind === kind)?.id;
  const snippets = snippetsOf(task, model ?? usual, targetOf(window.location.origin));
  return (
    <Card component="section" aria-labelledby="snippets">
      <Title order={2} size="h4" id="snippets" mb="sm">
        {t("reference.snippets")}
      </Title>
      <Chip.Group value={task} onChange={(value) => setTask(value as Task)}>
        <Group gap={6} mb="md" role="radiogroup" aria-label={t("reference.task")}>
          {(Object.keys(TASKS) as Task[]).map((name) => (
            <Chip key={name} value={name} size="sm" radius="md">
              {t(`reference.tasks.${name}`)}
            </Chip>
          ))}
        </Group>
      </Chip.Group>
      {!model && (
        <Text size="sm" c="dimmed" mb="xs">
          {t("reference.noModelFor")}
        </Text>
      )}
      <CodeTabs
        snippets={[
          { name: "curl", code: snippets.curl },
          { name: "Python", code: snippets.python },
          { name: "JavaScript", code: snippets.javascript },
        ]}
      />
    </Card>
  );
}

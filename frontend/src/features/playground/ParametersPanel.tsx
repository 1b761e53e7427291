import {
  Button,
  Card,
  Collapse,
  Group,
  NumberInput,
  Select,
  SimpleGrid,
  Stack,
  Switch,
  Text,
  Textarea,
  Title,
  UnstyledButton,
} from "@mantine/core";
import { useState } from "react";
import type { ServedModel } from "../../api/types";
import { Icon } from "../../components/Icon";
import { StateBadge } from "../../components/StateBadge";
import { useText } from "../../i18n";
import type { Parameters } from "../../lib/chat";
import { EXAMPLE_TOOLS } from "./example-tools";

interface Props {
  parameters: Parameters;
  models: ServedModel[];
  /** Why no request can be made from these. */
  problem: string | null;
  onChange: (change: Partial<Parameters>) => void;
  onReset: () => void;
}

const NUMBERS = [
  { name: "temperature", min: 0, max: 2, step: 0.1 },
  { name: "topP", min: 0, max: 1, step: 0.05 },
  { name: "maxTokens", min: 1, max: 1_000_000, step: 64 },
  { name: "seed", min: 0, max: 2 ** 31, step: 1 },
] as const;

export function ParametersPanel({ parameters, models, problem, onChange, onReset }: Props) {
  const { t } = useText();
  const [tools, setTools] = useState(parameters.tools !== "");
  const model = models.find(({ id }) => id === parameters.model);
  return (
    <Card padding="md" component="section" aria-labelledby="parameters">
      <Group justify="space-between" mb="sm">
        <Title order={2} size="h5" id="parameters">
          {t("playground.parameters.title")}
        </Title>
        {model && <StateBadge state={model.state} />}
      </Group>
      <Stack gap="sm">
        <Select
          label={t("playground.parameters.model")}
          data={models.map(({ id }) => id)}
          value={parameters.model}
          allowDeselect={false}
          onChange={(value) => onChange({ model: value ?? "" })}
        />
        <Textarea
          label={t("playground.parameters.system")}
          autosize
          minRows={1}
          maxRows={8}
          value={parameters.system}
          onChange={(event) => onChange({ system: event.currentTarget.value })}
        />
        <SimpleGrid cols={2} spacing="sm">
          {NUMBERS.map(({ name, ...limits }) => (
            <NumberInput
              key={name}
              {...limits}
              label={t(`playground.parameters.${name}`)}
              placeholder={t("playground.parameters.default")}
              value={parameters[name] ?? ""}
              onChange={(value) => onChange({ [name]: value === "" ? null : Number(value) })}
            />
          ))}
        </SimpleGrid>
        <Group justify="space-between">
          <Switch
            label={t("playground.parameters.stream")}
            checked={parameters.stream}
            onChange={(event) => onChange({ stream: event.currentTarget.checked })}
          />
          <Button size="compact-sm" variant="subtle" onClick={onReset}>
            {t("playground.parameters.reset")}
          </Button>
        </Group>
        <div>
          <UnstyledButton className="more" onClick={() => setTools(!tools)} aria-expanded={tools}>
            <Icon name={tools ? "up" : "down"} size={16} />
            <Text size="sm" fw={550}>
              {t("playground.tools.title")}
            </Text>
          </UnstyledButton>
          <Collapse expanded={tools}>
            <Textarea
              mt="xs"
              label={t("playground.tools.title")}
              description={t("playground.tools.hint")}
              autosize
              minRows={4}
              maxRows={16}
              classNames={{ input: "mono" }}
              value={parameters.tools}
              onChange={(event) => onChange({ tools: event.currentTarget.value })}
              error={problem && t("playground.tools.invalid", { message: problem })}
            />
            <Button
              mt="xs"
              size="compact-sm"
              variant="default"
              onClick={() => onChange({ tools: EXAMPLE_TOOLS })}
            >
              {t("playground.tools.example")}
            </Button>
          </Collapse>
        </div>
      </Stack>
    </Card>
  );
}

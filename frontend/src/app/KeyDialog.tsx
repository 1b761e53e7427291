import { Alert, Button, Group, PasswordInput, Stack, Text } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { setKey, useKey } from "../api/key";
import { Dialog } from "../components/Dialog";
import { Icon } from "../components/Icon";
import { useText } from "../i18n";
import { type Rights, tryKey } from "./try-key";

export default function KeyDialog({ onClose }: { onClose: () => void }) {
  const { t } = useText();
  const { key, stored } = useKey();
  const [draft, setDraft] = useState(key);
  const [rights, setRights] = useState<Rights | "testing" | null>(null);

  const test = async () => {
    setRights("testing");
    setRights(await tryKey(draft.trim()));
  };
  const forget = () => {
    setDraft("");
    setRights(null);
    setKey("");
  };
  const save = (event: FormEvent) => {
    event.preventDefault();
    setKey(draft);
    onClose();
  };

  return (
    <Dialog onClose={onClose} title={t("shell.key.title")}>
      <form onSubmit={save}>
        <Stack>
          <Text size="sm" c="dimmed">
            {t("shell.key.body")}
          </Text>
          <PasswordInput
            label={t("shell.key.label")}
            value={draft}
            onChange={(event) => setDraft(event.currentTarget.value)}
            autoComplete="off"
            data-autofocus
            visibilityToggleButtonProps={{ "aria-label": t("shell.key.show") }}
          />
          <Text size="xs" c="dimmed" role="status">
            {key ? t("shell.key.current") : t("shell.key.missing")}{" "}
            {key && t(stored ? "shell.key.stored" : "shell.key.memory")}
          </Text>
          {rights && rights !== "testing" && <Outcome rights={rights} />}
          <Group justify="space-between">
            <Button variant="default" onClick={test} loading={rights === "testing"}>
              {t("shell.key.test")}
            </Button>
            <Group gap="xs">
              {key && (
                <Button variant="subtle" color="red" onClick={forget}>
                  {t("shell.key.forget")}
                </Button>
              )}
              <Button type="submit">{t("common.save")}</Button>
            </Group>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}

function Outcome({ rights }: { rights: Rights }) {
  const { t } = useText();
  const word = { yes: t("shell.key.yes"), open: t("shell.key.open_"), no: t("shell.key.no") };
  return (
    <Alert
      variant="outline"
      color={rights.problem ? "red" : "gray"}
      role="status"
      style={{ borderColor: "var(--line)" }}
    >
      {rights.problem ? (
        <Text size="sm">
          {rights.problem === "offline" ? t("common.unreachable") : rights.problem}
        </Text>
      ) : (
        <Stack gap={6}>
          {(["inference", "admin"] as const).map((right) => (
            <Group
              key={right}
              gap={8}
              style={{ color: `var(--${rights[right] === "no" ? "bad" : "ok"})` }}
            >
              <Icon name={rights[right] === "no" ? "close" : "check"} size={16} />
              <Text size="sm" c="var(--mantine-color-text)">
                {t("common.pair", { name: t(`shell.key.${right}`), value: word[rights[right]] })}
              </Text>
            </Group>
          ))}
        </Stack>
      )}
    </Alert>
  );
}

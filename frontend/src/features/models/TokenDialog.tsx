import { Alert, Button, Group, PasswordInput, Stack, Text } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { useSetToken, useToken } from "../../api/hub";
import type { TokenStatus } from "../../api/types";
import { Dialog } from "../../components/Dialog";
import { ErrorState } from "../../components/ErrorState";
import { Icon, type IconName } from "../../components/Icon";
import { useText } from "../../i18n";

/** Absent where the gateway has no such setting. */
export function TokenButton() {
  const { t } = useText();
  const { data, refetch } = useToken();
  const [open, setOpen] = useState(false);
  if (!data) return null;
  const tone = !data.present ? "--quiet" : data.valid === false ? "--bad" : "--ok";
  return (
    <>
      <Button
        variant="default"
        leftSection={<span className="dot" style={{ background: `var(${tone})` }} />}
        onClick={() => {
          setOpen(true);
          void refetch(); // licences are accepted elsewhere
        }}
      >
        {t("models.token.open")}
      </Button>
      {open && <TokenDialog status={data} onClose={() => setOpen(false)} />}
    </>
  );
}

function TokenDialog({ status, onClose }: { status: TokenStatus; onClose: () => void }) {
  const { t } = useText();
  const [draft, setDraft] = useState("");
  const { mutate, isPending, error } = useSetToken();
  const save = (event: FormEvent) => {
    event.preventDefault();
    mutate(draft.trim(), { onSuccess: () => setDraft("") });
  };
  return (
    <Dialog onClose={onClose} title={t("models.token.title")}>
      <form onSubmit={save}>
        <Stack>
          <Text size="sm" c="dimmed">
            {t("models.token.body")}
          </Text>
          <Validity status={status} />
          <Gated status={status} />
          <PasswordInput
            label={t("models.token.label")}
            value={draft}
            onChange={(event) => setDraft(event.currentTarget.value)}
            autoComplete="off"
            data-autofocus
            visibilityToggleButtonProps={{ "aria-label": t("shell.key.show") }}
          />
          {error && <ErrorState error={error} />}
          <Group justify="space-between">
            {status.present ? (
              <Button
                variant="subtle"
                color="red"
                c="var(--bad)"
                loading={isPending && !draft}
                onClick={() => mutate(null)}
              >
                {t("models.token.clear")}
              </Button>
            ) : (
              <span />
            )}
            <Button type="submit" loading={isPending} disabled={!draft.trim()}>
              {t("models.token.save")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}

function Validity({ status }: { status: TokenStatus }) {
  const { t } = useText();
  const [icon, tone, text]: [IconName, string, string] = !status.present
    ? ["info", "--quiet", t("models.token.absent")]
    : status.valid === null
      ? ["info", "--warn", t("models.token.unchecked")]
      : status.valid
        ? ["check", "--ok", t("models.token.valid", { name: status.name ?? "" })]
        : ["alert", "--bad", t("models.token.invalid")];
  return (
    <Alert variant="outline" color="gray" role="status" style={{ borderColor: "var(--line)" }}>
      <Group gap={8} wrap="nowrap">
        <span style={{ color: `var(${tone})` }}>
          <Icon name={icon} size={16} />
        </span>
        <Text size="sm">
          {text}
          {status.present &&
            ` (${t(status.source === "environment" ? "models.token.fromEnvironment" : "models.token.fromStore")})`}
        </Text>
      </Group>
    </Alert>
  );
}

function Gated({ status }: { status: TokenStatus }) {
  const { t } = useText();
  if (status.gated.length === 0) return null;
  return (
    <div>
      <Text size="sm" fw={600} mb={6}>
        {t("models.token.gated")}
      </Text>
      <Stack gap={8}>
        {status.gated.map(({ repo, url, accessible }) => (
          <Group key={repo} justify="space-between" gap="xs">
            <Text size="sm" className="mono break">
              {repo}
            </Text>
            <Group gap={10}>
              <Text size="xs" c={accessible ? "var(--ok)" : "var(--warn)"}>
                {t(
                  accessible === null
                    ? "models.token.unknown"
                    : accessible
                      ? "models.token.accessible"
                      : "models.token.locked",
                )}
              </Text>
              <a href={url} target="_blank" rel="noreferrer noopener" className="small-link">
                {t("models.token.licence")} <Icon name="external" size={13} />
              </a>
            </Group>
          </Group>
        ))}
      </Stack>
    </div>
  );
}
